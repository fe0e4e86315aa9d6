// Reports, poison, and the per-device record.
#include "nitinol/error.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "nitinol/device.h"
#include "nitinol/schedule.h"
#include "nitinol/submission.h"

namespace nitinol {

bool Report::operator<(const Report& other) const noexcept {
  if (device != other.device) return std::strcmp(device->name(), other.device->name()) < 0;
  return std::tie(submission, unit) < std::tie(other.submission, other.unit);
}

Ref<Poison> Poison::merge(const Ref<Poison>& a, const Ref<Poison>& b) {
  if (!a || a == b) return b;
  if (!b) return a;
  const auto less = [](const Ref<Report>& x, const Ref<Report>& y) { return *x < *y; };
  if (std::includes(a->roots_.begin(), a->roots_.end(), b->roots_.begin(), b->roots_.end(), less)) {
    return a;
  }
  auto merged = Ref<Poison>::adopt(new Poison);
  std::set_union(a->roots_.begin(), a->roots_.end(), b->roots_.begin(), b->roots_.end(),
                 std::back_inserter(merged->roots_), less);
  if (merged->roots_.size() == b->roots_.size()) return b;
  return merged;
}

namespace {

bool may_be_taken(const Report& report, Observer by) noexcept {
  return !report.scope || by == Observer::printed ||
         (by == Observer::drained && report.scope->abandoned());
}

}  // namespace

void ErrorRecord::push_completed(Submission* submission) noexcept {
  submission->next_completed_ = completed_.load(std::memory_order_relaxed);
  while (!completed_.compare_exchange_weak(submission->next_completed_, submission,
                                           std::memory_order_release, std::memory_order_relaxed)) {
  }
}

Submission* ErrorRecord::take_completed() noexcept {
  Submission* newest = completed_.exchange(nullptr, std::memory_order_acquire);
  Submission* oldest = nullptr;
  while (newest) {
    Submission* next = newest->next_completed_;
    newest->next_completed_ = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

void ErrorRecord::push(Ref<Report> report) noexcept {
  by_code_[static_cast<int>(report->fault.code)].fetch_add(1, std::memory_order_relaxed);
  // Counted before anybody can observe it, so that no reader counts more than struck.
  struck_.fetch_add(1, std::memory_order_release);
  Report* entry = report.detach();
  entry->next_ = unobserved_.load(std::memory_order_relaxed);
  while (!unobserved_.compare_exchange_weak(entry->next_, entry, std::memory_order_release,
                                            std::memory_order_relaxed)) {
  }
}

bool ErrorRecord::keep_reserve() noexcept {
  if (reserve_) return true;
  try {
    reserve_ = Ref<Poison>::adopt(new Poison(Ref<Report>::adopt(new Report)));
    spent_ = nullptr;
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

Ref<Poison> ErrorRecord::blank() noexcept {
  try {
    return Ref<Poison>::adopt(new Poison(Ref<Report>::adopt(new Report)));
  } catch (const std::bad_alloc&) {
    if (reserve_) spent_ = reserve_;
    return std::move(reserve_);
  }
}

bool ErrorRecord::observe(const Report& report, Observer by) noexcept {
  if (!report.observe(by)) return false;
  const std::uint64_t n = observed_[static_cast<int>(by)].fetch_add(1, std::memory_order_release);
  // Those who raise keep the record short: nobody may ever drain it.
  if (n % 32 == 31 && !forked()) sweep();
  return true;
}

void ErrorRecord::sweep() noexcept {
  std::lock_guard lock(readers_);
  Report* list = unobserved_.exchange(nullptr, std::memory_order_acquire);
  while (list) {
    Report* next = list->next_;
    if (list->observer() != Observer::nobody) {
      list->release();
    } else {
      list->next_ = unobserved_.load(std::memory_order_relaxed);
      while (!unobserved_.compare_exchange_weak(list->next_, list, std::memory_order_release,
                                                std::memory_order_relaxed)) {
      }
    }
    list = next;
  }
}

std::vector<Ref<Report>> ErrorRecord::unobserved(Observer by, std::int64_t stream) {
  std::vector<Ref<Report>> found;
  {
    std::lock_guard lock(readers_);
    for (Report* r = unobserved_.load(std::memory_order_acquire); r; r = r->next_) {
      const bool wanted = stream < 0 || r->stream == static_cast<std::uint32_t>(stream);
      if (wanted && r->observer() == Observer::nobody && may_be_taken(*r, by)) {
        found.push_back(Ref<Report>::share(r));
      }
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Ref<Report>& x, const Ref<Report>& y) { return *x < *y; });
  return found;
}

std::vector<Ref<Report>> ErrorRecord::collect(Observer by, std::int64_t stream) {
  std::vector<Ref<Report>> found = unobserved(by, stream);
  std::erase_if(found, [&](const Ref<Report>& report) { return !observe(*report, by); });
  sweep();
  return found;
}

ErrorCounts ErrorRecord::counts() const noexcept {
  // Acquired, so that what was observed is also seen to have struck.
  const auto seen = [this](Observer by) {
    return observed_[static_cast<int>(by)].load(std::memory_order_acquire);
  };
  ErrorCounts c{};
  c.raised = seen(Observer::raised);
  c.drained = seen(Observer::drained);
  c.collected = seen(Observer::collected);
  c.printed = seen(Observer::printed);
  c.recovered = recovered_.load(std::memory_order_acquire);
  c.retried = retried_.load(std::memory_order_relaxed);
  c.suppressed = suppressed_.load(std::memory_order_relaxed);
  c.struck = struck_.load(std::memory_order_acquire);
  c.unobserved = c.struck - c.recovered - c.raised - c.drained - c.collected - c.printed;
  return c;
}

}  // namespace nitinol
