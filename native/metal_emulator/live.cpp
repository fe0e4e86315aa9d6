// The table of counters of living objects.
#include "live.h"

#include <cstring>

#include "misuse.h"
#include "seams.h"

// What the GNU runtime allocates for its tables it never frees.
#if defined(__SANITIZE_ADDRESS__)
#define METAL_EMULATOR_LEAK_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define METAL_EMULATOR_LEAK_SANITIZER
#endif
#endif
#ifdef METAL_EMULATOR_LEAK_SANITIZER
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libobjc.so\n"; }
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }
#endif

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
