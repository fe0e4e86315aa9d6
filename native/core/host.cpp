// The queue between device threads and the thread that runs user functions.
#include "nitinol/host.h"

#include <chrono>

namespace nitinol {

HostQueue& HostQueue::shared() noexcept {
  static auto* queue = new HostQueue;
  return *queue;
}

void HostQueue::call(HostCall& call) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (closed_) {
      call.fault.code = Code::host_callback;
      return;
    }
    (last_ ? last_->next : first_) = &call;
    last_ = &call;
    waited_for_.fetch_add(1, std::memory_order_relaxed);
  }
  changed_.notify_one();
  while (!call.finished.wait(1000000000)) {
  }
  waited_for_.fetch_sub(1, std::memory_order_relaxed);
}

HostCall* HostQueue::take(std::int64_t nanoseconds) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline_after(nanoseconds),
                      [this] { return first_ != nullptr || poked_ || closed_; });
  poked_ = false;
  HostCall* call = first_;
  if (call) {
    first_ = call->next;
    if (!first_) last_ = nullptr;
  }
  return call;
}

void HostQueue::poke() noexcept {
  {
    std::lock_guard lock(mutex_);
    poked_ = true;
  }
  changed_.notify_one();
}

void HostQueue::close() noexcept {
  HostCall* waiting = nullptr;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    waiting = first_;
    first_ = last_ = nullptr;
  }
  changed_.notify_all();
  while (waiting) {
    HostCall* next = waiting->next;  // its owner goes on as soon as it is set
    waiting->fault.code = Code::host_callback;
    waiting->finished.set();
    waiting = next;
  }
}

}  // namespace nitinol
