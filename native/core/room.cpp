// How much may be queued on a stream, and when a wait for less is given up.
#include "nitinol/room.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>

#include "nitinol/graph.h"
#include "nitinol/host.h"
#include "nitinol/schedule.h"

namespace nitinol {

namespace {

std::atomic<std::uint32_t> limit{1024};

// For a queue that has just reached its bound.
constexpr std::chrono::milliseconds least_patience{100};

// So that the device finds the next submission as soon as it has ended one.
std::uint32_t busy_queue(const Stream& stream) noexcept { return stream.device->depth() + 1; }

std::uint32_t allowed(const Stream& stream) noexcept {
  const std::uint32_t few = busy_queue(stream);
  const MemoryStats memory = stream.device->memory.stats();
  const bool full = stream.planned_bytes > memory.limit - std::min(memory.in_use, memory.limit);
  return full ? few : std::max(few, queue_limit());
}

}  // namespace

void set_queue_limit(std::uint32_t submissions) noexcept {
  limit.store(submissions, std::memory_order_relaxed);
}
std::uint32_t queue_limit() noexcept { return limit.load(std::memory_order_relaxed); }

// The submission to wait for, unless there is room.
Ref<Submission> Room::look(bool& there, std::chrono::nanoseconds& patience) noexcept {
  std::lock_guard lock(graph_lock());
  const std::uint32_t queued = stream_.unresolved.load(std::memory_order_relaxed);
  const std::uint32_t most = allowed(stream_);
  const bool given_up = stream_.ended == stream_.given_up_at && queued <= stream_.let_pass;
  there = queued <= most || given_up;
  if (there) return nullptr;

  const Clock::time_point now = Clock::now();
  if (ended_ != stream_.ended || !HostQueue::shared().busy()) stuck_since_ = now;
  ended_ = stream_.ended;
  patience = stuck_since_ + least_patience * (queued / most) - now;
  if (patience.count() <= 0) {
    stream_.given_up_at = stream_.ended;
    stream_.let_pass = 2 * std::min(queued, std::numeric_limits<std::uint32_t>::max() / 2);
    there = true;
    return nullptr;
  }
  // A quarter of the queue, so that a wake-up is not needed for every submission.
  // Counted from the end: before them are some that are resolved and not yet done.
  Submission* until = stream_.last_unfinished;
  for (std::uint32_t i = 0; i < most - most / 4; ++i) until = until->previous_;
  return Ref<Submission>::share(until);
}

bool Room::wait(std::int64_t nanoseconds) noexcept {
  if (stream_.unresolved.load(std::memory_order_relaxed) <= busy_queue(stream_)) return true;
  const Deadline deadline = deadline_after(nanoseconds);
  for (;;) {
    if (closed()) return true;
    bool there = false;
    std::chrono::nanoseconds patience{};
    const Ref<Submission> until = look(there, patience);
    if (there) return true;
    const std::chrono::nanoseconds left = deadline - Clock::now();
    if (left.count() <= 0 || !until->done.wait(std::min(left, patience).count())) return false;
  }
}

}  // namespace nitinol
