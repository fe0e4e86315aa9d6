// The choice of an instruction set, made once, on the first call. Not for simd/*.cpp themselves.
#pragma once

#include <atomic>

#include "cpu/simd/kernels.h"

namespace nitinol::cpu::simd {

enum class Isa : int { baseline, v3, v4 };

inline Isa best_isa() noexcept {
#if defined(__x86_64__)
  static const Isa best = __builtin_cpu_supports("x86-64-v4")   ? Isa::v4
                          : __builtin_cpu_supports("x86-64-v3") ? Isa::v3
                                                                : Isa::baseline;
  return best;
#else
  return Isa::baseline;
#endif
}

inline std::atomic<const Kernels*> chosen{nullptr};

// For tests: the results of another instruction set that the machine has as well.
inline const Kernels& choose(Isa isa) noexcept {
#define NITINOL_X(name)                                                                           \
  {name::row_kernels, name::quantized_kernels, name::attention_kernels, name::gemm_float_kernels, \
   name::gemm_double_kernels},
  static const Kernels all[] = {NITINOL_FOR_EACH_ISA(NITINOL_X)};
#undef NITINOL_X
  const Kernels& kernels = all[static_cast<int>(isa)];
  chosen.store(&kernels, std::memory_order_release);
  return kernels;
}

inline const Kernels& kernels() noexcept {
  const Kernels* p = chosen.load(std::memory_order_acquire);
  return p ? *p : choose(best_isa());
}

}  // namespace nitinol::cpu::simd
