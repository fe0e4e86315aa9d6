// Signal: a one-shot event that is set without a lock and waited for in slices.
#pragma once

#include <atomic>
#include <cstdint>

namespace nitinol {

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
