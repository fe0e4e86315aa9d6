// The test seams of the emulator: plain C++, from any thread. Everything is off at the start;
// METAL_EMULATOR in the environment sets the same for a whole program (see seams_environment.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace metal_emulator {

// What befalls `times` things in a row, beginning with the `at`-th from now (1: the next).
struct Occasion {
  std::uint64_t at = 1;
  std::uint64_t times = 1;
};

struct CommandBufferFailure {
  Occasion occasion;  // counts commits
  std::string domain = "MTLCommandBufferErrorDomain";
  std::int64_t code = 1;
  // Code of an underlying error of the domain IOGPUCommandQueueErrorDomain.
  std::optional<std::int64_t> raw;
  // MTLCommandEncoderErrorState by encoder. Empty: the guilty one faulted (the last one when
  // the work is executed, else the first), those before completed, those after pending.
  std::vector<int> encoder_states;
  bool execute = false;  // do the work, then fail
};
void fail_command_buffers(const CommandBufferFailure& failure);

void fail_allocations(const Occasion& occasion);  // newBuffer... answers nil
void fail_libraries(const Occasion& occasion);
void fail_pipelines(const Occasion& occasion);
void fail_residency_sets(const Occasion& occasion);
// As on macOS 14: the device does not respond to newResidencySetWithDescriptor:error:.
void remove_residency_sets();
// The completed handlers are never called; the status changes as ever. Counts commits.
void drop_handlers(const Occasion& occasion);

// Completed handlers come up to this late, in an order of their own; 0 ends that. Only the delays
// are a function of the seed, since threads have a say too.
void disorder_handlers(std::uint64_t seed, std::uint64_t max_delay_us);

// No command buffer is started until release_gpu(); one that runs goes on.
void hold_gpu();
void release_gpu();

// recommendedMaxWorkingSetSize; 0 sets the default again.
void set_working_set(std::uint64_t bytes);

// The system says that it is short of memory: every dispatch source that listens for it is told,
// on a thread of its own. Returns when all of them have been.
enum class MemoryPressure { normal, warn, critical };
void raise_memory_pressure(MemoryPressure level);

// Forgets every failure, disorder and hold, the working set, and that residency sets are missing.
void reset_seams();
// As METAL_EMULATOR; throws std::invalid_argument with a sentence.
void configure(const std::string& text);

struct Counters {
  std::uint64_t command_buffers = 0;  // committed
  std::uint64_t encoders = 0;         // ended
  std::uint64_t dispatches = 0;
  std::uint64_t bytes_set = 0;  // by setBytes
  std::uint64_t bytes_blitted = 0;
  std::uint64_t buffers_allocated = 0;
  std::uint64_t bytes_allocated = 0;
  std::uint64_t libraries = 0;
  std::uint64_t fast_math_libraries = 0;  // compiled with fast math on, Apple's default
  std::uint64_t pipelines = 0;
  std::uint64_t residency_commits = 0;
};
Counters counters();
void reset_counters();

// From now on, which is before the first kernel is compiled, the bytes that dispatches read and
// write are counted: for each dispatch and each buffer bound to it every byte once, however often
// it is touched. Kernels run much slower then.
void measure_traffic();
struct Traffic {
  std::string kernel;
  int buffer = 0;  // its index
  std::uint64_t dispatches = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
};
std::vector<Traffic> traffic();  // by kernel, then buffer

// What the residency sets hold by now, as committed.
struct Residency {
  std::int64_t allocations = 0;
  std::int64_t bytes = 0;
  std::int64_t requested = 0;  // sets with a standing request
};
Residency residency();

// Objects alive: of one class ("EmulatedBuffer", "NSError", "Block"), or of all that have any.
std::int64_t live_objects(const char* class_name);
std::vector<std::pair<std::string, std::int64_t>> live_objects();
// Objects autoreleased so far on a thread without a pool: leaks on a thread that never ends.
std::uint64_t autoreleased_without_pool_count();

}  // namespace metal_emulator
