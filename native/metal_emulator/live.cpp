// The table of counters of living objects.
#include "live.h"

#include <cstring>

#include "misuse.h"
#include "seams.h"

namespace metal_emulator {
namespace {

struct Entry {
  std::atomic<const char*> name{nullptr};
  std::atomic<std::int64_t> count{0};
};

// Filled from the front; entries never move, so that objects can keep a pointer.
constinit Entry entries[128];

}  // namespace

constinit std::atomic<std::uint64_t> autoreleased_without_pool{0};

std::atomic<std::int64_t>* live_counter(const char* class_name) noexcept {
  for (Entry& entry : entries) {
    const char* name = entry.name.load(std::memory_order_acquire);
    if (name == nullptr && entry.name.compare_exchange_strong(name, class_name)) {
      return &entry.count;
    }
    if (name == class_name || std::strcmp(name, class_name) == 0) {
      return &entry.count;
    }
  }
  misuse("More than 128 classes have been instantiated.");
}

std::int64_t live_objects(const char* class_name) {
  return live_counter(class_name)->load(std::memory_order_acquire);
}

std::vector<std::pair<std::string, std::int64_t>> live_objects() {
  std::vector<std::pair<std::string, std::int64_t>> result;
  for (const Entry& entry : entries) {
    const char* name = entry.name.load(std::memory_order_acquire);
    if (name == nullptr) {
      break;
    }
    if (const std::int64_t count = entry.count.load(std::memory_order_acquire); count != 0) {
      result.emplace_back(name, count);
    }
  }
  return result;
}

}  // namespace metal_emulator
