// Notices: what happens to a device, for those who asked to be told.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "nitinol/policy.h"
#include "nitinol/ref.h"

namespace nitinol {

class Report;

// Filled by the resolver and by Health, emptied by the other runtime's thread (Python's notifier),
// which HostQueue::poke wakes. Nothing is kept for nobody, and being told is not
// observing.
class Notices {
 public:
  struct Change {
    Condition before;
    Condition now;
  };

  // How many want to be told, of failures and of changes.
  void listen_errors(int more) noexcept { errors_wanted_.fetch_add(more); }
  void listen_changes(int more) noexcept { changes_wanted_.fetch_add(more); }

  void failed(const Ref<Report>& report) noexcept;
  // In the order of the changes: each begins where the last one ended.
  void changed(Condition before, Condition now) noexcept;

  bool any() const noexcept { return any_.load(std::memory_order_acquire); }
  // The oldest that was not taken yet; null when there is none.
  Ref<Report> take_error() noexcept;
  // The same; false when there is none.
  bool take_change(Change& change) noexcept;

 private:
  void told() noexcept;

  std::atomic<int> errors_wanted_{0};
  std::atomic<int> changes_wanted_{0};
  std::atomic<bool> any_{false};
  std::mutex mutex_;
  Report* oldest_ = nullptr;  // owned, and so on through next_notice_
  Report* latest_ = nullptr;
  // A ring, because nothing may be allocated here. When it is full the last change takes
  // in the new one: the condition that is told last is always the right one.
  std::array<Change, 64> changes_;
  std::size_t first_change_ = 0;
  std::size_t change_count_ = 0;
};

}  // namespace nitinol
