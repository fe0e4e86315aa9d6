// Watches, from one submission of their evaluation to the next.
#include "nitinol/watch.h"

#include <atomic>

#include "nitinol/host.h"
#include "nitinol/schedule.h"

namespace nitinol {

namespace {

std::atomic<Watch*> fired{nullptr};

// In place of a list, once the submission is done: nothing can be hung there any more.
Watch* closed_list() noexcept {
  static std::byte mark[alignof(Watch)];
  return reinterpret_cast<Watch*>(mark);
}

}  // namespace

Watch::Watch(Ref<Evaluation> evaluation, void* target) noexcept
    : evaluation_(std::move(evaluation)), target_(target) {}

Watch::~Watch() = default;

void Watch::advance() noexcept {
  const auto& waits = evaluation_->waits_;
  while (at_ < waits.size()) {
    std::atomic<Watch*>& list = waits[at_]->watches_;
    ++at_;
    next_ = list.load(std::memory_order_acquire);
    while (next_ != closed_list()) {
      // Once it hangs there, it is the resolver's.
      if (list.compare_exchange_weak(next_, this, std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
        return;
      }
    }
  }
  next_ = fired.load(std::memory_order_relaxed);
  while (!fired.compare_exchange_weak(next_, this, std::memory_order_release,
                                      std::memory_order_relaxed)) {
  }
  HostQueue::shared().poke();
}

void Watch::resolved(Submission& submission) noexcept {
  Watch* watch = submission.watches_.exchange(closed_list(), std::memory_order_acq_rel);
  while (watch) {
    Watch* next = watch->next_;
    watch->advance();
    watch = next;
  }
}

Watch* Watch::take_fired() noexcept {
  Watch* newest = fired.exchange(nullptr, std::memory_order_acquire);
  Watch* oldest = nullptr;
  while (newest) {
    Watch* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

}  // namespace nitinol
