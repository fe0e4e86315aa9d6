// The queues of what the other runtime is to be told of a device.
#include "nitinol/notice.h"

#include "nitinol/error.h"
#include "nitinol/host.h"

namespace nitinol {

void Notices::told() noexcept {
  any_.store(true, std::memory_order_release);
  HostQueue::shared().poke();
}

void Notices::failed(const Ref<Report>& report) noexcept {
  if (errors_wanted_.load(std::memory_order_relaxed) == 0) return;
  {
    std::lock_guard lock(mutex_);
    Report* entry = Ref<Report>(report).detach();
    entry->next_notice_ = nullptr;
    (latest_ ? latest_->next_notice_ : oldest_) = entry;
    latest_ = entry;
  }
  told();
}

void Notices::changed(Condition before, Condition now) noexcept {
  if (changes_wanted_.load(std::memory_order_relaxed) == 0) return;
  {
    std::lock_guard lock(mutex_);
    if (change_count_ == changes_.size()) {
      Change& last = changes_[(first_change_ + change_count_ - 1) % changes_.size()];
      last.now = now;
      if (last.before == now) --change_count_;
    } else {
      changes_[(first_change_ + change_count_++) % changes_.size()] = Change{before, now};
    }
  }
  told();
}

Ref<Report> Notices::take_error() noexcept {
  std::lock_guard lock(mutex_);
  any_.store(false, std::memory_order_relaxed);
  Report* entry = oldest_;
  if (!entry) return nullptr;
  oldest_ = entry->next_notice_;
  if (!oldest_) latest_ = nullptr;
  return Ref<Report>::adopt(entry);
}

bool Notices::take_change(Change& change) noexcept {
  std::lock_guard lock(mutex_);
  if (change_count_ == 0) return false;
  change = changes_[first_change_];
  first_change_ = (first_change_ + 1) % changes_.size();
  --change_count_;
  return true;
}

}  // namespace nitinol
