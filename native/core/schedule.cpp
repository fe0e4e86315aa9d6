// The entry to scheduling: refusals, waits, and what is pending on a stream.
#include "nitinol/schedule.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "nitinol/graph.h"
#include "planner.h"

namespace nitinol {

namespace {

std::atomic<bool> is_closed{false};
std::atomic<bool> is_forked{false};

// Looked at before any lock is touched: in a forked child the locks may be held by
// threads that do not exist there.
[[maybe_unused]] const int fork_handler =
    ::pthread_atfork(nullptr, nullptr, [] { is_forked.store(true, std::memory_order_relaxed); });

}  // namespace

bool forked() noexcept { return is_forked.load(std::memory_order_relaxed); }
void close() noexcept { is_closed.store(true, std::memory_order_release); }
bool closed() noexcept { return is_closed.load(std::memory_order_acquire); }

bool Evaluation::done() const noexcept {
  for (const auto& submission : waits_) {
    if (!submission->done.is_set()) return false;
  }
  return true;
}

bool Evaluation::wait(std::int64_t nanoseconds) noexcept {
  const Deadline deadline = deadline_after(nanoseconds);
  for (const auto& submission : waits_) {
    if (submission->done.is_set()) continue;
    const auto left = deadline - std::chrono::steady_clock::now();
    if (!submission->done.wait(std::max<std::int64_t>(
            0, std::chrono::duration_cast<std::chrono::nanoseconds>(left).count()))) {
      return false;
    }
  }
  return true;
}

ScheduleResult schedule(std::span<Node* const> roots, bool may_run_inline, Scope* scope) {
  ScheduleResult result;
  bool settled = true;
  for (Node* root : roots) {
    const State state = root->state();
    settled = settled && (state == State::ready || state == State::poisoned);
  }
  if (settled) return result;
  if (forked()) {
    result.refusal = Refusal::forked;
    return result;
  }
  if (closed()) {
    result.refusal = Refusal::closed;
    return result;
  }
  {
    std::lock_guard lock(graph_lock());
    result = Planner::shared().run(roots, may_run_inline, scope);
  }
  if (result.for_caller) result.for_caller->device->run_on_caller(*result.for_caller);
  return result;
}

Ref<Evaluation> Planner::pending(Device* device, Stream* stream, const Scope* scope) {
  auto evaluation = Ref<Evaluation>::adopt(new Evaluation);
  std::lock_guard lock(graph_lock());
  const auto add = [&](Stream* s) {
    for (Submission* at = s->first_unfinished; at; at = at->next_) {
      if (!scope || at->scope.get() == scope) {
        evaluation->waits_.push_back(Ref<Submission>::share(at));
      }
    }
  };
  const auto add_all = [&](Device& each) {
    for (Stream* s : each.streams_) add(s);
  };
  if (stream) {
    add(stream);
  } else if (device) {
    add_all(*device);
  } else {
    for (Device* each : Device::all()) add_all(*each);
  }
  return evaluation;
}

Ref<Evaluation> pending_work(Device* device, Stream* stream) {
  return Planner::pending(device, stream, nullptr);
}

Ref<Evaluation> pending_work(const Scope& scope) {
  return Planner::pending(nullptr, nullptr, &scope);
}

}  // namespace nitinol
