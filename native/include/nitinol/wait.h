// Signal: a one-shot event that is set without a lock and waited for in slices.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace nitinol {

using Deadline = std::chrono::steady_clock::time_point;

// `nanoseconds` from now, or a century where that is sooner: sums must not overflow.
inline Deadline deadline_after(std::int64_t nanoseconds) noexcept {
  constexpr std::int64_t century = std::int64_t{100} * 366 * 24 * 3600 * 1000000000;
  return std::chrono::steady_clock::now() +
         std::chrono::nanoseconds(nanoseconds < century ? nanoseconds : century);
}

// A futex where the system has one: a condition variable would need a lock in the
// completion handler, and would not end early when a Unix signal arrives.
class Signal {
 public:
  bool is_set() const noexcept { return (word_.load(std::memory_order_acquire) & 1u) != 0; }
  void set() noexcept;
  // True when set. False when `nanoseconds` passed or a Unix signal came first.
  bool wait(std::int64_t nanoseconds) noexcept;

 private:
  // Bit 0: set. Bit 1: somebody sleeps (a wake-up without a sleeper costs 300 ns).
  std::atomic<std::uint32_t> word_{0};
};

}  // namespace nitinol
