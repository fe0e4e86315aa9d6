// Injector: which unit a planned failure strikes.
#include "nitinol/inject.h"

#include <algorithm>

namespace nitinol {

int Injector::add(const InjectionRule& rule) {
  std::lock_guard lock(mutex_);
  rules_.emplace_back(next_, rule);
  active_.store(static_cast<int>(rules_.size()), std::memory_order_relaxed);
  return next_++;
}

InjectionRule Injector::remove(int number) {
  std::lock_guard lock(mutex_);
  InjectionRule rule;
  const auto at = std::find_if(rules_.begin(), rules_.end(),
                               [&](const auto& entry) { return entry.first == number; });
  if (at != rules_.end()) {
    rule = at->second;
    rules_.erase(at);
  }
  active_.store(static_cast<int>(rules_.size()), std::memory_order_relaxed);
  return rule;
}

bool Injector::holds(int number) const noexcept {
  std::lock_guard lock(mutex_);
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const auto& entry) { return entry.first == number; });
}

Fault Injector::draw(Phase& phase) noexcept {
  Fault fault;
  std::lock_guard lock(mutex_);
  for (auto& [number, rule] : rules_) {
    ++rule.seen;
    const bool hit = rule.seen >= rule.at && rule.seen - rule.at < rule.times;
    // Every rule counts every unit; one unit is struck by one of them.
    if (hit && fault.code == Code::none) {
      ++rule.fired;
      fault.code = rule.code;
      fault.injection = number;
      fault.raw = rule.raw;
      phase = rule.phase;
    }
  }
  return fault;
}

}  // namespace nitinol
