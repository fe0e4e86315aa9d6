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

// -0.0 is the neutral element of addition: it keeps a sum of negative zeros negative.
template <class Acc>
constexpr Acc additive_identity() noexcept {
  if constexpr (std::is_integral_v<Acc>) {
    return 0;
  } else if constexpr (std::is_floating_point_v<Acc>) {
    return -Acc(0);
  } else {
    using Part = typename Acc::value_type;
    return Acc(-Part(0), -Part(0));
  }
}

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

// Whether a reduction takes the input as it is: integers of any width into integers,
// anything into its own dtype.
constexpr bool accumulates_directly(DType in, DType out) noexcept {
  return ((is_integer(in) || in == DType::bool_) && is_integer(out)) ||
         (in == out && in != DType::bool_);
}

// Calls body(launch), with the input converted to the output's dtype first unless it is
// taken directly; only an explicit dtype= asks for such pairs.
using Body = void (*)(const Launch&) noexcept;
void with_accumulator_input(const Launch& launch, bool directly, Body body) noexcept;

}  // namespace nitinol::cpu::kernels
