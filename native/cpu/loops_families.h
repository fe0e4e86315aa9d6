// The families of own loops, a function each, and what their loops share.
#pragma once

#include <cstdint>

#include "cpu/kernels/iterate.h"
#include "cpu/loops.h"

namespace nitinol::cpu::loops {

// null where the family has no loop for the dtypes.
StridedLoop cast(DType in, DType out) noexcept;
StridedLoop where(DType dtype) noexcept;
StridedLoop complex_part(Op op, DType in) noexcept;
StridedLoop power(DType dtype) noexcept;
StridedLoop sigmoid(DType dtype) noexcept;
StridedLoop erf(DType dtype) noexcept;
StridedLoop arithmetic(Op op, DType dtype) noexcept;

template <class T>
NITINOL_INLINE T load(const char* p, std::intptr_t i, std::intptr_t stride) noexcept {
  return *reinterpret_cast<const T*>(p + i * stride);
}

// out[i] = f(x[i]), with a loop of its own where both lie side by side.
template <class In, class Out, class F>
NITINOL_INLINE void map(char* const* data, std::intptr_t n, const std::intptr_t* strides,
                        F f) noexcept {
  const char* x = data[0];
  char* out = data[1];
  if (strides[0] == sizeof(In) && strides[1] == sizeof(Out)) {
    const In* from = reinterpret_cast<const In*>(x);
    Out* to = reinterpret_cast<Out*>(out);
    for (std::intptr_t i = 0; i < n; ++i) to[i] = f(from[i]);
  } else {
    for (std::intptr_t i = 0; i < n; ++i) {
      *reinterpret_cast<Out*>(out + i * strides[1]) = f(load<In>(x, i, strides[0]));
    }
  }
}

// out[i] = f(x[i], y[i]), with loops of their own for dense operands and for a dense
// one beside one that stays the same.
template <class In, class Out, class F>
NITINOL_INLINE void map2(char* const* data, std::intptr_t n, const std::intptr_t* strides,
                         F f) noexcept {
  const char* x = data[0];
  const char* y = data[1];
  char* out = data[2];
  constexpr std::intptr_t item = sizeof(In);
  Out* to = reinterpret_cast<Out*>(out);
  const In* a = reinterpret_cast<const In*>(x);
  const In* b = reinterpret_cast<const In*>(y);
  const bool dense = strides[2] == sizeof(Out);
  if (dense && strides[0] == item && strides[1] == item) {
    for (std::intptr_t i = 0; i < n; ++i) to[i] = f(a[i], b[i]);
  } else if (dense && strides[0] == item && strides[1] == 0 && n > 0) {
    const In scalar = *b;
    for (std::intptr_t i = 0; i < n; ++i) to[i] = f(a[i], scalar);
  } else if (dense && strides[0] == 0 && strides[1] == item && n > 0) {
    const In scalar = *a;
    for (std::intptr_t i = 0; i < n; ++i) to[i] = f(scalar, b[i]);
  } else {
    for (std::intptr_t i = 0; i < n; ++i) {
      *reinterpret_cast<Out*>(out + i * strides[2]) =
          f(load<In>(x, i, strides[0]), load<In>(y, i, strides[1]));
    }
  }
}

}  // namespace nitinol::cpu::loops
