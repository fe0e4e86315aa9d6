// Room: the wait of a thread that starts work faster than a stream can do it.
#pragma once

#include <chrono>
#include <cstdint>

#include "nitinol/device.h"
#include "nitinol/ref.h"
#include "nitinol/submission.h"

namespace nitinol {

// A stream has room while few submissions are queued on it: some more than the device takes at
// once where they and what is in memory exceed its limit together, and `queue_limit()` at most.
//
// Device work ends by itself, so a full stream is waited for. A function of the user's may wait
// for the very thread that waits here. So while one is being carried out anywhere, and nothing of
// this stream ends, a wait is given up in the end, and as much again may be queued before the next
// one, which then takes twice as long: too much in the queue is better than a deadlock.
class Room {
 public:
  explicit Room(Stream& stream) noexcept : stream_(stream) {}
  // True when there is room, or this wait was given up. False after `nanoseconds`, a Unix signal,
  // or sooner: then ask again. Takes the graph lock unless the queue is nearly empty.
  bool wait(std::int64_t nanoseconds) noexcept;

 private:
  Ref<Submission> look(bool& there, std::chrono::nanoseconds& patience) noexcept;

  using Clock = std::chrono::steady_clock;
  Stream& stream_;
  std::uint64_t ended_ = 0;  // of the stream's submissions, when it was looked at last
  Clock::time_point stuck_since_ = Clock::now();
};

// Tests fill streams sooner.
void set_queue_limit(std::uint32_t submissions) noexcept;
std::uint32_t queue_limit() noexcept;

}  // namespace nitinol
