// The state of the test seams.
#include "seams.h"

#include <unistd.h>

#include <mutex>
#include <random>

#include "live.h"
#include "seams_internal.h"

namespace metal_emulator {

constinit AtomicCounters totals;

namespace {

// Events of one kind, and those among them that something befalls.
template <typename T>
class Schedule {
 public:
  void add(const Occasion& occasion, T what) {
    const std::uint64_t first = seen_ + (occasion.at == 0 ? 1 : occasion.at);
    windows_.push_back({first, first + occasion.times, std::move(what)});
  }
  // The first thing planned for the event that happens now.
  std::optional<T> next() {
    ++seen_;
    for (std::size_t i = 0; i < windows_.size(); ++i) {
      const Window& window = windows_[i];
      if (window.first <= seen_ && seen_ < window.end) {
        std::optional<T> what = window.what;
        if (seen_ + 1 == window.end) {
          windows_.erase(windows_.begin() + static_cast<std::ptrdiff_t>(i));
        }
        return what;
      }
    }
    return std::nullopt;
  }
  void clear() { windows_.clear(); }

 private:
  struct Window {
    std::uint64_t first;
    std::uint64_t end;
    T what;
  };
  std::uint64_t seen_ = 0;
  std::vector<Window> windows_;
};

struct Seams {
  std::mutex mutex;
  Schedule<CommandBufferFailure> command_buffers;
  Schedule<bool> dropped;
  Schedule<bool> allocations;
  Schedule<bool> libraries;
  Schedule<bool> pipelines;
  Schedule<bool> residency_sets;
  std::mt19937_64 random;
  std::uint64_t max_delay_us = 0;
  std::uint64_t working_set = 0;
  bool has_residency_sets = true;
};

// Immortal: GPU threads run to the very end.
Seams& seams() {
  static Seams& instance = *new Seams;
  return instance;
}

bool next(Schedule<bool> Seams::* schedule) {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  return (own.*schedule).next().has_value();
}

void add(Schedule<bool> Seams::* schedule, const Occasion& occasion) {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  (own.*schedule).add(occasion, true);
}

}  // namespace

void fail_command_buffers(const CommandBufferFailure& failure) {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  own.command_buffers.add(failure.occasion, failure);
}
void fail_allocations(const Occasion& occasion) { add(&Seams::allocations, occasion); }
void fail_libraries(const Occasion& occasion) { add(&Seams::libraries, occasion); }
void fail_pipelines(const Occasion& occasion) { add(&Seams::pipelines, occasion); }
void fail_residency_sets(const Occasion& occasion) { add(&Seams::residency_sets, occasion); }
void drop_handlers(const Occasion& occasion) { add(&Seams::dropped, occasion); }

void disorder_handlers(std::uint64_t seed, std::uint64_t max_delay_us) {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  own.random.seed(seed);
  own.max_delay_us = max_delay_us;
}

void set_working_set(std::uint64_t bytes) {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  own.working_set = bytes;
}

void remove_residency_sets() {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  own.has_residency_sets = false;
}

void reset_seams() {
  {
    Seams& own = seams();
    std::lock_guard lock(own.mutex);
    own.command_buffers.clear();
    own.dropped.clear();
    own.allocations.clear();
    own.libraries.clear();
    own.pipelines.clear();
    own.residency_sets.clear();
    own.max_delay_us = 0;
    own.working_set = 0;
    own.has_residency_sets = true;
  }
  release_gpu();
}

bool allocation_fails() { return next(&Seams::allocations); }
bool library_fails() { return next(&Seams::libraries); }
bool pipeline_fails() { return next(&Seams::pipelines); }
bool residency_set_fails() { return next(&Seams::residency_sets); }

bool has_residency_sets() {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  return own.has_residency_sets;
}

CommitPlan plan_commit() {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  CommitPlan plan;
  plan.failure = own.command_buffers.next();
  plan.drop_handlers = own.dropped.next().has_value();
  return plan;
}

std::chrono::microseconds handler_delay() {
  Seams& own = seams();
  std::lock_guard lock(own.mutex);
  if (own.max_delay_us == 0) {
    return {};
  }
  return std::chrono::microseconds(own.random() % (own.max_delay_us + 1));
}

std::uint64_t working_set() {
  {
    Seams& own = seams();
    std::lock_guard lock(own.mutex);
    if (own.working_set != 0) {
      return own.working_set;
    }
  }
  // As Apple's devices do, about: two thirds of the memory.
  return static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) / 3 * 2;
}

// clang-format off
#define METAL_EMULATOR_COUNTERS(X) \
  X(command_buffers) \
  X(encoders) \
  X(dispatches) \
  X(bytes_set) \
  X(bytes_blitted) \
  X(buffers_allocated) \
  X(bytes_allocated) \
  X(libraries) \
  X(fast_math_libraries) \
  X(pipelines) \
  X(residency_commits)
// clang-format on

Counters counters() {
  Counters result;
#define X(name) result.name = totals.name.load(std::memory_order_relaxed);
  METAL_EMULATOR_COUNTERS(X)
#undef X
  return result;
}

void reset_counters() {
#define X(name) totals.name.store(0, std::memory_order_relaxed);
  METAL_EMULATOR_COUNTERS(X)
#undef X
}

std::uint64_t autoreleased_without_pool_count() {
  return autoreleased_without_pool.load(std::memory_order_relaxed);
}

}  // namespace metal_emulator
