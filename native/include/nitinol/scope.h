// Scope: collects the failures of the work that was submitted while it was current.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "nitinol/ref.h"

namespace nitinol {

class Report;

// Submissions and reports refer to their scope, the scope to its reports. `abandon`
// ends that circle: whoever made the scope calls it, once.
class Scope : public Counted<Scope>, public Census<Scope> {
 public:
  explicit Scope(std::string name) : name_(std::move(name)) {}
  const std::string& name() const noexcept { return name_; }

  // From the resolver, before the failed slots are published.
  void add(const Ref<Report>& report) noexcept;
  // What was collected so far, observed or not, oldest first.
  std::vector<Ref<Report>> reports() const;
  // Nobody can ask it any more: it lets go of its reports. Those that nobody observed
  // are the device's to give out, as if they had no scope.
  void abandon() noexcept;
  bool abandoned() const noexcept { return abandoned_.load(std::memory_order_acquire); }

 private:
  friend class Counted<Scope>;
  ~Scope() = default;

  const std::string name_;
  mutable std::mutex mutex_;
  Report* newest_ = nullptr;  // owned, and so on through next_in_scope_
  std::atomic<bool> abandoned_{false};
};

}  // namespace nitinol
