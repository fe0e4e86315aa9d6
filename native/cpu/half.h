// Conversions between float16 and float32 or float64 without branches, which
// compilers turn into vector code on machines that have no instruction for them.
#pragma once

#include <bit>
#include <cstdint>

#include "nitinol/dtype.h"

namespace nitinol::cpu {

[[gnu::always_inline]] inline float half_bits_to_float(std::uint16_t half) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t shifted = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  const std::uint32_t exponent = shifted & (0x7c00u << 13);
  const std::uint32_t normal = shifted + (112u << 23);
  // Infinity and NaN take the largest exponent; subnormals are renormalised by a subtraction.
  const std::uint32_t special = shifted + (224u << 23);
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(
      std::bit_cast<float>(shifted + (113u << 23)) - std::bit_cast<float>(113u << 23));
  std::uint32_t bits = exponent == 0 ? subnormal : normal;
  bits = exponent == (0x7c00u << 13) ? special : bits;
  return std::bit_cast<float>(bits | sign);
}

// Rounds to nearest, ties to even.
[[gnu::always_inline]] inline std::uint16_t float_to_half_bits(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t a = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t normal = (a + 0xc8000fffu + ((a >> 13) & 1u)) >> 13;
  // One unit in the last place of 0.5 is the spacing of subnormal halves.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(a < 0x38800000u ? a : 0u) + 0.5f) -
      0x3f000000u;
  std::uint32_t half = a < 0x38800000u ? subnormal : normal;
  half = a >= 0x47800000u ? 0x7c00u : half;
  half = a > 0x7f800000u ? 0x7e00u : half;
  return static_cast<std::uint16_t>(half | sign);
}

// Through float32 rounded to odd, so that the second rounding is the only one.
[[gnu::always_inline]] inline std::uint16_t double_to_half_bits(double value) noexcept {
  const float nearest = static_cast<float>(value);
  const double back = nearest;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  const double above = back < 0 ? -back : back;
  const double wanted = value < 0 ? -value : value;
  bits -= above > wanted ? 1u : 0u;
  bits |= back != value ? 1u : 0u;
  return float_to_half_bits(std::bit_cast<float>(bits));
}

[[gnu::always_inline]] inline float to_float(float16 h) noexcept {
  return half_bits_to_float(std::bit_cast<std::uint16_t>(h));
}
[[gnu::always_inline]] inline float16 to_half(float f) noexcept {
  return std::bit_cast<float16>(float_to_half_bits(f));
}
[[gnu::always_inline]] inline float16 to_half(double d) noexcept {
  return std::bit_cast<float16>(double_to_half_bits(d));
}

}  // namespace nitinol::cpu
