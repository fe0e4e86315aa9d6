// Scaled dot-product attention with grouped queries, for float16, float32 and float64.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// softmax(scale * q k^T + mask) v. A query that sees no key (all of them masked, beyond the causal
// limit or with a score of -inf) gives zeros; NaN in a visible score gives NaN. Keys at or beyond
// the number of valid keys are never read. Keys and values in float16 are read as they lie, beside
// queries of float32 too, and summed up in float32.
void attention(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
