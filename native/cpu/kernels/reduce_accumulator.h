// What sums and products accumulate in: integers of every width in 64 bits, where
// wrapping gives the same bits as wrapping in the output's width; float16 in float32.
#pragma once

#include <complex>
#include <cstring>
#include <type_traits>

#include "cpu/half.h"
#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

template <class T>
struct Accumulator {
  using In = T;
  using Acc = std::conditional_t<std::is_integral_v<T>, std::uint64_t,
                                 std::conditional_t<std::is_same_v<T, float16>, float, T>>;
  static constexpr bool exact = std::is_integral_v<T>;

  static Acc load(In v) noexcept {
    if constexpr (std::is_same_v<T, float16>) {
      return to_float(v);
    } else if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
      return static_cast<Acc>(static_cast<std::int64_t>(v));
    } else {
      return static_cast<Acc>(v);
    }
  }
  static void store(char* out, std::int64_t i, Acc v, std::size_t item) noexcept {
    if constexpr (std::is_integral_v<T>) {
      // Little-endian: the low bytes come first.
      std::memcpy(out + i * static_cast<std::int64_t>(item), &v, item);
    } else if constexpr (std::is_same_v<T, float16>) {
      reinterpret_cast<float16*>(out)[i] = to_half(v);
    } else {
      reinterpret_cast<T*>(out)[i] = v;
    }
  }
};

// As NumPy multiplies: no recovery of infinities, which would cost a call per element.
template <class C>
NITINOL_INLINE C complex_multiply(C a, C b) noexcept {
  return C(a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real());
}

template <class Acc>
NITINOL_INLINE Acc multiply(Acc a, Acc b) noexcept {
  if constexpr (std::is_arithmetic_v<Acc>) {
    return a * b;
  } else {
    return complex_multiply(a, b);
  }
}

// Calls body(launch) with an input that accumulates straight into the output's dtype:
// integers of any width into integers, anything into its own dtype. Other pairs, which
// only an explicit dtype= asks for, are converted to the output's dtype first.
using Body = void (*)(const Launch&) noexcept;
void with_accumulator_input(const Launch& launch, Body body) noexcept;

}  // namespace nitinol::cpu::kernels
