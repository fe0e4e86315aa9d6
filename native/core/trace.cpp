// The list of refused donations, and the names of the reasons.
#include "nitinol/trace.h"

#include <array>
#include <new>
#include <utility>

namespace nitinol {

const char* name(Refused reason) noexcept {
  static constexpr std::array<const char*, static_cast<std::size_t>(Refused::count_)> names = {
      "no",     "nothing", "borrowed", "elsewhere", "exported",  "part",
      "handle", "view",    "graph",    "unknown",   "in_flight",
  };
  return names[static_cast<std::size_t>(reason)];
}

RefusedDonations& RefusedDonations::shared() noexcept {
  static auto* list = new RefusedDonations;
  return *list;
}

void RefusedDonations::add(const Entry& entry) noexcept {
  constexpr std::size_t most = 1000;
  std::lock_guard lock(mutex_);
  if (entries_.size() == most) return;
  try {
    entries_.push_back(entry);
    any_.store(true, std::memory_order_relaxed);
  } catch (const std::bad_alloc&) {
    // It is told to help, and nothing depends on it.
  }
}

std::vector<RefusedDonations::Entry> RefusedDonations::take() {
  std::lock_guard lock(mutex_);
  any_.store(false, std::memory_order_relaxed);
  return std::exchange(entries_, {});
}

}  // namespace nitinol
