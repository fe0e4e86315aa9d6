// Integer power, sigmoid and erf.
#include <bit>
#include <cmath>

#include "cpu/half.h"
#include "cpu/loops_families.h"

namespace nitinol::cpu::loops {
namespace {

// Wraps, as the other integer operations do. The caller has ruled out exponents < 0.
template <class T>
NITINOL_INLINE T integer_power(T base, T exponent) noexcept {
  auto b = static_cast<std::uint64_t>(base);
  auto e = static_cast<std::uint64_t>(exponent);
  std::uint64_t result = 1;
  for (; e != 0; e >>= 1) {
    if (e & 1) result *= b;
    b *= b;
  }
  return static_cast<T>(result);
}

template <class T>
int power_loop(void* context, char* const* data, const std::intptr_t* dimensions,
               const std::intptr_t* strides, void*) noexcept {
  const std::intptr_t n = *dimensions;
  if constexpr (std::is_signed_v<T>) {
    for (std::intptr_t i = 0; i < n; ++i) {
      const T exponent = load<T>(data[1], i, strides[1]);
      if (exponent >= 0) continue;
      auto* own = static_cast<LoopContext*>(context);
      own->fault->raise(own->position + i, Code::negative_power, exponent);
      return 0;  // the lowest position is reported; nobody reads the output
    }
  }
  if (strides[1] == 0 && n > 0 && load<T>(data[1], 0, 0) == 2) {
    map2<T, T>(data, n, strides, [](T a, T) {
      return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(a));
    });
  } else {
    map2<T, T>(data, n, strides, integer_power<T>);
  }
  return 0;
}

// exp(x) for x <= 0: a power of two times a polynomial in what is left of half an
// octave. Below the smallest float the result is 0.
NITINOL_INLINE float exp_negative(float x) noexcept {
  x = x < -104.0f ? -104.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // the nearest integer in the low bits
  const float k = shifted - 12582912.0f;
  const float r = (x - k * 0.693145752f) - k * 1.42860677e-6f;
  float p = 1.98756906e-4f;
  p = p * r + 1.39819994e-3f;
  p = p * r + 8.33345205e-3f;
  p = p * r + 4.16657962e-2f;
  p = p * r + 1.66666657e-1f;
  p = p * r + 0.5f;
  p = (p * r * r + r) + 1.0f;
  // Two factors, for the power may be smaller than the smallest normal float.
  const auto exponent =
      std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(12582912.0f);
  const std::int32_t half = exponent >> 1;
  const float first = std::bit_cast<float>((half + 127) << 23);
  const float second = std::bit_cast<float>((exponent - half + 127) << 23);
  return p * first * second;
}

// Either side of zero by the exponential that can't overflow.
NITINOL_INLINE float sigmoid_of(float x) noexcept {
  const float magnitude = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
  const float e = exp_negative(-magnitude);
  const float numerator = x < 0 ? e : 1.0f;
  return numerator / (1.0f + e);
}

double sigmoid_of(double x) noexcept {
  const double e = std::exp(-std::fabs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

// A fit of erf(x) / x in x^2 below 1, of -log(1 - erf(x)) in x above, and 1 from 4 on:
// within 1.5 units in the last place.
NITINOL_INLINE float erf_of(float x) noexcept {
  const float magnitude = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
  const float s = x * x;
  float p = 7.88249711e-5f;
  p = p * s - 8.01885499e-4f;
  p = p * s + 5.18931194e-3f;
  p = p * s - 2.68543288e-2f;
  p = p * s + 1.12835975e-1f;
  p = p * s - 3.76126269e-1f;
  const float near = x + x * (p * s + 0.128379167f);
  const float t = magnitude > 4.0f ? 4.0f : magnitude;
  float q = 6.58285767e-8f;
  q = q * t - 3.09520458e-6f;
  q = q * t + 6.00687950e-5f;
  q = q * t - 6.73337544e-4f;
  q = q * t + 5.02104474e-3f;
  q = q * t - 2.69994971e-2f;
  q = q * t + 1.10907417e-1f;
  q = q * t + 6.31088868e-1f;
  q = q * t + 1.13060447f;
  q = q * t - 4.00500492e-4f;
  const float far = 1.0f - exp_negative(-q);
  const float signed_far = std::bit_cast<float>(std::bit_cast<std::uint32_t>(far) |
                                                (std::bit_cast<std::uint32_t>(x) & 0x80000000u));
  return magnitude >= 1.0f ? signed_far : near;
}

double erf_of(double x) noexcept { return std::erf(x); }

#define NITINOL_FLOAT_LOOPS(name)                                                     \
  NITINOL_CLONES int name##_half(void*, char* const* data, const std::intptr_t* n,    \
                                 const std::intptr_t* strides, void*) noexcept {      \
    map<float16, float16>(data, *n, strides,                                          \
                          [](float16 v) { return to_half(name##_of(to_float(v))); }); \
    return 0;                                                                         \
  }                                                                                   \
  NITINOL_CLONES int name##_float(void*, char* const* data, const std::intptr_t* n,   \
                                  const std::intptr_t* strides, void*) noexcept {     \
    map<float, float>(data, *n, strides, [](float v) { return name##_of(v); });       \
    return 0;                                                                         \
  }                                                                                   \
  int name##_double(void*, char* const* data, const std::intptr_t* n,                 \
                    const std::intptr_t* strides, void*) noexcept {                   \
    map<double, double>(data, *n, strides, [](double v) { return name##_of(v); });    \
    return 0;                                                                         \
  }                                                                                   \
  StridedLoop name##_loop(DType dtype) noexcept {                                     \
    return dtype == DType::float16   ? name##_half                                    \
           : dtype == DType::float32 ? name##_float                                   \
           : dtype == DType::float64 ? name##_double                                  \
                                     : nullptr;                                       \
  }

NITINOL_FLOAT_LOOPS(sigmoid)
NITINOL_FLOAT_LOOPS(erf)
#undef NITINOL_FLOAT_LOOPS

}  // namespace

StridedLoop power(DType dtype) noexcept {
  if (!is_integer(dtype)) return nullptr;
  return dispatch(dtype, []<class T>(std::type_identity<T>) -> StridedLoop {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return power_loop<T>;
    return nullptr;
  });
}

StridedLoop sigmoid(DType dtype) noexcept { return sigmoid_loop(dtype); }
StridedLoop erf(DType dtype) noexcept { return erf_loop(dtype); }

}  // namespace nitinol::cpu::loops
