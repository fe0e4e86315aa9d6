// The list of a scope's reports: filled by the resolver, read by whoever holds the scope.
#include "nitinol/scope.h"

#include <algorithm>

#include "nitinol/error.h"

namespace nitinol {

void Scope::add(const Ref<Report>& report) noexcept {
  std::lock_guard lock(mutex_);
  if (abandoned()) return;
  report->next_in_scope_ = newest_;
  newest_ = Ref<Report>(report).detach();
}

std::vector<Ref<Report>> Scope::reports() const {
  std::vector<Ref<Report>> found;
  {
    std::lock_guard lock(mutex_);
    for (Report* r = newest_; r; r = r->next_in_scope_) found.push_back(Ref<Report>::share(r));
  }
  std::sort(found.begin(), found.end(),
            [](const Ref<Report>& x, const Ref<Report>& y) { return *x < *y; });
  return found;
}

void Scope::abandon() noexcept {
  Report* list = nullptr;
  {
    std::lock_guard lock(mutex_);
    abandoned_.store(true, std::memory_order_release);
    list = std::exchange(newest_, nullptr);
  }
  // Outside the lock: a report that goes drops its reference to this scope.
  while (list) {
    Report* next = list->next_in_scope_;
    list->release();
    list = next;
  }
}

}  // namespace nitinol
