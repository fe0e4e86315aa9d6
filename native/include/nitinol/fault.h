// Fault: what a kernel or a driver writes when a unit of work fails. Plain data,
// no allocation, no lock that a handler could meet.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace nitinol {

// One spelling everywhere; X(name) in the order of the numbers Python sees.
#define NITINOL_CODES(X)     \
  X(none)                    \
  X(internal)                \
  X(timeout)                 \
  X(page_fault)              \
  X(access_revoked)          \
  X(not_permitted)           \
  X(out_of_memory)           \
  X(invalid_resource)        \
  X(memoryless)              \
  X(device_removed)          \
  X(stack_overflow)          \
  X(innocent_victim)         \
  X(impacting_interactivity) \
  X(submissions_ignored)     \
  X(singular_matrix)         \
  X(not_positive_definite)   \
  X(index_out_of_range)      \
  X(negative_power)          \
  X(host_callback)           \
  X(io)

enum class Code : std::uint8_t {
#define NITINOL_X(name) name,
  NITINOL_CODES(NITINOL_X)
#undef NITINOL_X
      count_
};

const char* name(Code code) noexcept;
// Code::none when `text` names no code.
Code code_from_name(const char* text) noexcept;

// What `args` holds, by code (Python forms the sentence from them):
//   index_out_of_range     index, axis, size of that axis
//   singular_matrix        matrix of the batch (flat), 0-based pivot
//   not_positive_definite  matrix of the batch (flat), order of the leading minor
//   negative_power         exponent
//   out_of_memory          bytes wanted, bytes in use, limit
//   not_permitted          failures, milliseconds: the culprit budget suspended the device
//   codes of a lost device 1: not submitted, because it was lost before
//   io                     byte offset, bytes wanted, bytes read; native = errno (0: short file)
//
// Whose number `native` is.
enum class Domain : std::uint8_t {
  none,            // nobody's: the code says all
  command_buffer,  // MTLCommandBufferError; `raw` is the number of the driver below
  unknown,         // of a domain that this library does not know
};

struct Fault {
  Code code = Code::none;
  std::int32_t injection = 0;  // the number of the one that asked for it; 0: it is real
  std::int32_t native = 0;
  std::int64_t raw = 0;
  std::int64_t args[4] = {0, 0, 0, 0};
  Domain domain = Domain::none;
};

// The fault slot of one running unit. Several threads of one kernel may report;
// the report with the lowest position is kept, so that what is raised does not
// depend on which thread came first.
class FaultSlot {
 public:
  void raise(std::int64_t position, Code code, std::int64_t a0 = 0, std::int64_t a1 = 0,
             std::int64_t a2 = 0, std::int32_t native = 0) noexcept {
    while (lock_.test_and_set(std::memory_order_acquire)) {
    }
    if (position < position_ || fault_.code == Code::none) {
      position_ = position;
      fault_ = Fault{code, 0, native, 0, {a0, a1, a2, 0}, Domain::none};
      failed_.store(true, std::memory_order_relaxed);
    }
    lock_.clear(std::memory_order_release);
  }
  bool failed() const noexcept { return failed_.load(std::memory_order_relaxed); }
  // Only when no thread of the kernel runs any more.
  const Fault& get() const noexcept { return fault_; }

 private:
  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  std::atomic<bool> failed_{false};
  std::int64_t position_ = std::numeric_limits<std::int64_t>::max();
  Fault fault_;
};

}  // namespace nitinol
