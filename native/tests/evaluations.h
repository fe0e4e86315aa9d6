// Waits for evaluations that fail the test when the end doesn't come.
#pragma once

#include "check.h"
#include "nitinol/schedule.h"

namespace nitinol::testing {

constexpr std::int64_t second = 1000000000;

inline void wait(const Ref<Evaluation>& evaluation) {
  for (int slices = 0; evaluation && !evaluation->wait(second / 10); ++slices) CHECK(slices < 1200);
}
inline void wait(const ScheduleResult& result) {
  CHECK(result.refusal == Refusal::none);
  wait(result.evaluation);
}

}  // namespace nitinol::testing
