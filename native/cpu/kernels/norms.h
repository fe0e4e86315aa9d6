// rms_norm and layer_norm over the last axis, for float16, float32 and float64.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void rms_norm(const Launch& launch) noexcept;  // x / sqrt(mean(x^2) + eps) * weight
void layer_norm(
    const Launch& launch) noexcept;  // (x - mean) / sqrt(variance + eps) * weight + bias

}  // namespace nitinol::cpu::kernels
