// Vectors of the native width, in the namespace of the instruction set being compiled for.
//
// Every simd/*.cpp is compiled once for each instruction set, with -DNITINOL_ISA=baseline, v3 or v4
// (x86-64, -march=x86-64-v3, -march=x86-64-v4; elsewhere baseline alone) and -ffp-contract=fast.
// Those files and this header call no inline function of the standard library: the linker keeps
// one copy of such a function, and it could be one that needs instructions the machine lacks.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef NITINOL_ISA
#define NITINOL_ISA baseline
#endif

#if defined(__AVX512F__)
#define NITINOL_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define NITINOL_VECTOR_BYTES 32
#else
#define NITINOL_VECTOR_BYTES 16
#endif

#define NITINOL_INLINE static inline __attribute__((always_inline))

namespace nitinol::cpu::simd::NITINOL_ISA {

constexpr int lanes = NITINOL_VECTOR_BYTES / 4;

using F = float __attribute__((vector_size(NITINOL_VECTOR_BYTES)));
using I = std::int32_t __attribute__((vector_size(NITINOL_VECTOR_BYTES)));

constexpr float infinity = __builtin_huge_valf();

NITINOL_INLINE F splat(float x) { return x - F{}; }
NITINOL_INLINE I splat(std::int32_t x) { return x - I{}; }
NITINOL_INLINE F load(const float* p) {
  F x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
NITINOL_INLINE void store(float* p, F x) { __builtin_memcpy(p, &x, sizeof x); }

// The first n < lanes elements; the other lanes hold `fill`.
NITINOL_INLINE F load_part(const float* p, std::int64_t n, float fill) {
  F x = splat(fill);
  for (int i = 0; i < lanes; ++i) {
    if (i < n) x[i] = p[i];
  }
  return x;
}
NITINOL_INLINE void store_part(float* p, F x, std::int64_t n) {
  for (int i = 0; i < lanes; ++i) {
    if (i < n) p[i] = x[i];
  }
}

NITINOL_INLINE I as_int(F x) { return reinterpret_cast<I>(x); }
NITINOL_INLINE F as_float(I x) { return reinterpret_cast<F>(x); }

// NaN in x is passed over, as in `x > y ? x : y`.
NITINOL_INLINE F maximum(F x, F y) { return x > y ? x : y; }

template <int Distance, int... Lane>
NITINOL_INLINE F exchange(F x, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(x, x, (Lane ^ Distance)...);
}
// Lane i gets lane i ^ Distance.
template <int Distance>
NITINOL_INLINE F exchange(F x) {
  return exchange<Distance>(x, std::make_integer_sequence<int, lanes>{});
}

template <int Distance = lanes / 2>
NITINOL_INLINE float sum_lanes(F x) {
  x += exchange<Distance>(x);
  if constexpr (Distance > 1) {
    return sum_lanes<Distance / 2>(x);
  } else {
    return x[0];
  }
}
template <int Distance = lanes / 2>
NITINOL_INLINE float max_lanes(F x) {
  x = maximum(x, exchange<Distance>(x));
  if constexpr (Distance > 1) {
    return max_lanes<Distance / 2>(x);
  } else {
    return x[0];
  }
}

// exp within 1.1 ulp (the tests measure it), gradual underflow included; exp(-inf) is 0, overflow
// gives inf, NaN stays NaN. exp(x) = 2^n exp(r), |r| <= ln(2) / 2.
NITINOL_INLINE F exp(F x) {
  const F high = splat(89.0f), low = splat(-104.0f);
  x = x > high ? high : x;  // NaN passes both
  x = x < low ? low : x;
  const F shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F shifted = x * splat(1.44269504f) + shifter;
  const F n = shifted - shifter;
  F r = x - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  // A minimax fit of (exp(r) - 1 - r) / r^2.
  F p = splat(0x1.6a23d0p-10f);
  p = p * r + splat(0x1.123a20p-7f);
  p = p * r + splat(0x1.5558f2p-5f);
  p = p * r + splat(0x1.555492p-3f);
  p = p * r + splat(0x1.fffffcp-2f);
  p = p * (r * r) + r;
  p = p + splat(1.0f);
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xffff, p, n);  // (the unmasked one makes g++ 12 warn)
#else
  // 2^n in two factors: n reaches 128 and -150, which no single float power of two does.
  const I exponent = as_int(shifted) - as_int(shifter);
  const I half = exponent >> 1;
  return p * as_float((half + 127) << 23) * as_float((exponent - half + 127) << 23);
#endif
}

// float16 to float32, of the 16 bits at p.
NITINOL_INLINE float half_to_float(const void* p) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
#if defined(__F16C__)
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
#elif defined(__aarch64__)
  _Float16 h;
  __builtin_memcpy(&h, &bits, sizeof h);
  return static_cast<float>(h);
#else
  // The float with these exponent and mantissa bits is 2^112 too small, subnormals included.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
  float x = __builtin_bit_cast(float, magnitude) * 0x1p112f;
  if (magnitude >= 0x0f800000u) x = __builtin_bit_cast(float, magnitude | 0x7f800000u);
  return bits & 0x8000 ? -x : x;
#endif
}

// The same as of floats, for float16.
NITINOL_INLINE F load(const _Float16* p) {
#if defined(__AVX512F__)
  // (the unmasked one makes g++ 12 warn)
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  F x;
  for (int i = 0; i < lanes; ++i) x[i] = half_to_float(p + i);
  return x;
#endif
}
NITINOL_INLINE F load_part(const _Float16* p, std::int64_t n, float fill) {
  F x = splat(fill);
  for (int i = 0; i < lanes; ++i) {
    if (i < n) x[i] = half_to_float(p + i);
  }
  return x;
}

}  // namespace nitinol::cpu::simd::NITINOL_ISA
