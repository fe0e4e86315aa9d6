// Injector: failures on purpose, counted over the units that start with healthy
// inputs. Part of the product: users test their recovery with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "nitinol/error.h"
#include "nitinol/fault.h"

namespace nitinol {

struct InjectionRule {
  Code code = Code::internal;
  Phase phase = Phase::completion;
  std::uint64_t at = 1;     // the first unit to fail, counted from 1
  std::uint64_t times = 1;  // how many in a row
  std::int64_t raw = 0;
  std::uint64_t seen = 0;
  std::uint64_t fired = 0;
};

class Injector {
 public:
  bool active() const noexcept { return active_.load(std::memory_order_relaxed) != 0; }
  int add(const InjectionRule& rule);  // returns its number
  InjectionRule remove(int number);
  bool holds(int number) const noexcept;  // was it added, and not removed?
  // Called once for each unit that starts with healthy inputs: the fault to strike
  // it with (Code::none: none) and the phase.
  Fault draw(Phase& phase) noexcept;

 private:
  std::atomic<int> active_{0};
  mutable std::mutex mutex_;
  std::vector<std::pair<int, InjectionRule>> rules_;
  int next_ = 1;
};

}  // namespace nitinol
