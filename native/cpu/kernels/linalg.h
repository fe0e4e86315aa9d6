// inv, solve, cholesky and det: LAPACK on every matrix of a batch.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void inv(const Launch& launch) noexcept;
void solve(const Launch& launch) noexcept;
void cholesky(const Launch& launch) noexcept;
void det(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
