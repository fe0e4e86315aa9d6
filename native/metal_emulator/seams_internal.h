// What the emulator itself asks of the seams, and the counters it adds to.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "seams.h"

namespace metal_emulator {

// Each of these counts one event.
bool allocation_fails();
bool library_fails();
bool pipeline_fails();
bool residency_set_fails();

struct CommitPlan {
  std::optional<CommandBufferFailure> failure;
  bool drop_handlers = false;
};
CommitPlan plan_commit();

std::chrono::microseconds handler_delay();
std::uint64_t working_set();
bool has_residency_sets();
// METAL_EMULATOR of the environment, once.
void configure_from_environment();

struct AtomicCounters {
  std::atomic<std::uint64_t> command_buffers{0};
  std::atomic<std::uint64_t> encoders{0};
  std::atomic<std::uint64_t> dispatches{0};
  std::atomic<std::uint64_t> bytes_set{0};
  std::atomic<std::uint64_t> bytes_blitted{0};
  std::atomic<std::uint64_t> buffers_allocated{0};
  std::atomic<std::uint64_t> bytes_allocated{0};
  std::atomic<std::uint64_t> libraries{0};
  std::atomic<std::uint64_t> fast_math_libraries{0};
  std::atomic<std::uint64_t> pipelines{0};
  std::atomic<std::uint64_t> residency_commits{0};
};
extern AtomicCounters totals;

inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t amount = 1) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

}  // namespace metal_emulator
