// The table of Metal's error numbers, row by row, with numbers that nobody knows.
#include <cstdint>
#include <limits>

#include "check.h"
#include "metal/errors.h"
#include "nitinol/policy.h"

using namespace nitinol;
using namespace nitinol::metal;

namespace {

constexpr std::int64_t no_raw = -1;
constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

struct Row {
  std::int64_t code;
  std::int64_t raw;
  Code expected;
  bool retryable;
  Condition condition;  // of the device after it
};

constexpr Row rows[] = {
    {1, no_raw, Code::internal, true, Condition::degraded},
    {1, 5, Code::innocent_victim, true, Condition::degraded},
    {1, 14, Code::impacting_interactivity, true, Condition::degraded},
    {1, 2, Code::timeout, false, Condition::degraded},
    {1, 3, Code::timeout, false, Condition::degraded},
    {1, 4, Code::submissions_ignored, false, Condition::lost},
    {1, 6, Code::not_permitted, true, Condition::suspended},
    {1, 8, Code::out_of_memory, true, Condition::degraded},
    {1, 9, Code::invalid_resource, false, Condition::degraded},
    {1, 11, Code::page_fault, false, Condition::degraded},
    {2, no_raw, Code::timeout, false, Condition::degraded},
    {2, 2, Code::timeout, false, Condition::degraded},
    {2, 3, Code::timeout, false, Condition::degraded},
    // What Metal names is not renamed: only what it merges is looked up below.
    {2, 5, Code::timeout, false, Condition::degraded},
    {3, no_raw, Code::page_fault, false, Condition::degraded},
    {3, 11, Code::page_fault, false, Condition::degraded},
    {4, no_raw, Code::access_revoked, false, Condition::lost},
    {4, 4, Code::submissions_ignored, false, Condition::lost},
    {4, 5, Code::access_revoked, false, Condition::lost},
    {7, no_raw, Code::not_permitted, true, Condition::suspended},
    {7, 6, Code::not_permitted, true, Condition::suspended},
    {8, no_raw, Code::out_of_memory, true, Condition::degraded},
    {8, 8, Code::out_of_memory, true, Condition::degraded},
    {9, no_raw, Code::invalid_resource, false, Condition::degraded},
    {9, 9, Code::invalid_resource, false, Condition::degraded},
    {10, no_raw, Code::memoryless, false, Condition::degraded},
    {11, no_raw, Code::device_removed, false, Condition::lost},
    {12, no_raw, Code::stack_overflow, false, Condition::degraded},
    // Numbers that nobody knows.
    {0, no_raw, Code::internal, true, Condition::degraded},
    {5, no_raw, Code::internal, true, Condition::degraded},
    {6, no_raw, Code::internal, true, Condition::degraded},
    {13, no_raw, Code::internal, true, Condition::degraded},
    {-7, no_raw, Code::internal, true, Condition::degraded},
    {largest, no_raw, Code::internal, true, Condition::degraded},
    {1, 0, Code::internal, true, Condition::degraded},
    {1, 99, Code::internal, true, Condition::degraded},
    {1, largest, Code::internal, true, Condition::degraded},
    {13, 5, Code::innocent_victim, true, Condition::degraded},
};

void every_row() {
  for (const Row& row : rows) {
    const DriverError error{true, row.code, row.raw != no_raw, row.raw};
    const Fault fault = fault_of(error);
    CHECK(classify(error) == row.expected);
    CHECK(fault.code == row.expected);
    CHECK(fault.domain == Domain::command_buffer);
    CHECK(fault.native == static_cast<std::int32_t>(row.code));
    CHECK(fault.raw == (row.raw == no_raw ? 0 : row.raw));
    CHECK(fault.injection == 0);
    CHECK(retryable(fault.code) == row.retryable);
    CHECK(after_failure(Condition::ok, fault.code) == row.condition);
    CHECK(ends_device(fault.code) == (row.condition == Condition::lost));
  }
}

void unknown_domains() {
  // The number of a foreign domain means nothing here; the driver's still does.
  for (std::int64_t code : {std::int64_t{2}, std::int64_t{4}, std::int64_t{8}, largest}) {
    CHECK(classify({false, code, false, 0}) == Code::internal);
    CHECK(classify({false, code, true, 5}) == Code::innocent_victim);
    CHECK(classify({false, code, true, 77}) == Code::internal);
    CHECK(fault_of({false, code, false, 0}).domain == Domain::unknown);
  }
}

void never_none() {
  for (std::int64_t code = -20; code < 40; ++code) {
    for (std::int64_t raw = -20; raw < 40; ++raw) {
      CHECK(classify({true, code, true, raw}) != Code::none);
      CHECK(classify({false, code, true, raw}) != Code::none);
    }
  }
}

void refusals() {
  CHECK(refusal_after(Code::device_removed) == Code::device_removed);
  CHECK(refusal_after(Code::access_revoked) == Code::submissions_ignored);
  CHECK(refusal_after(Code::submissions_ignored) == Code::submissions_ignored);
  CHECK(!ends_device(Code::not_permitted));
  CHECK(!ends_device(Code::innocent_victim));
}

}  // namespace

int main() {
  every_row();
  unknown_domains();
  never_none();
  refusals();
}
