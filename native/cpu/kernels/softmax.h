// softmax and logsumexp over the last axis, for float16, float32 and float64.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// A row of -inf alone, one with +inf and one with NaN give NaN, as exp(x - max) / sum does.
void softmax(const Launch& launch) noexcept;
// -inf for an empty row and for one of -inf alone.
void logsumexp(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
