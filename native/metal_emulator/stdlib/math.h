// Metal's math, common and geometric functions.
#pragma once

namespace metal {

namespace detail {
template <class T>
using real = typename enable_if<is_real<T>, T>::type;
template <class T>
using real_vector = typename enable_if<is_real<T> && is_vector<T>, T>::type;
template <class T>
using element_of = typename vector_traits<T>::element;
template <class T>
using integer = typename enable_if<!is_real<T>, T>::type;

// f of every element, computed in float.
template <class T, class F>
inline __attribute__((always_inline)) T map(F f, T x) {
  if constexpr (is_vector<T>) {
    T result;
    for (int i = 0; i < vector_traits<T>::size; ++i) result[i] = element_of<T>(f(float(x[i])));
    return result;
  } else {
    return T(f(float(x)));
  }
}
template <class T, class F>
inline __attribute__((always_inline)) T map(F f, T x, T y) {
  if constexpr (is_vector<T>) {
    T result;
    for (int i = 0; i < vector_traits<T>::size; ++i) {
      result[i] = element_of<T>(f(float(x[i]), float(y[i])));
    }
    return result;
  } else {
    return T(f(float(x), float(y)));
  }
}
// f of every element in the element's own type.
template <class T, class F>
inline __attribute__((always_inline)) T map_elements(F f, T x) {
  if constexpr (is_vector<T>) {
    T result;
    for (int i = 0; i < vector_traits<T>::size; ++i) result[i] = f(element_of<T>(x[i]));
    return result;
  } else {
    return f(x);
  }
}
// Where f holds.
template <class T, class F>
inline __attribute__((always_inline)) auto test(F f, T x) {
  if constexpr (is_vector<T>) {
    bool_vector<vector_traits<T>::size> result;
    for (int i = 0; i < vector_traits<T>::size; ++i) result[i] = f(element_of<T>(x[i]));
    return result;
  } else {
    return bool(f(x));
  }
}
}  // namespace detail

#define METAL_ELEMENTWISE(name, builtin)                            \
  template <class T>                                                \
  inline __attribute__((always_inline)) detail::real<T> name(T x) { \
    return builtin(x);                                              \
  }
#define METAL_UNARY(name, builtin)                                  \
  template <class T>                                                \
  inline __attribute__((always_inline)) detail::real<T> name(T x) { \
    return detail::map([](float v) { return builtin(v); }, x);      \
  }
#define METAL_BINARY(name, builtin)                                                            \
  template <class T>                                                                           \
  inline __attribute__((always_inline)) detail::real<T> name(T x, T y) {                       \
    return detail::map([](float a, float b) { return builtin(a, b); }, x, y);                  \
  }                                                                                            \
  template <class T>                                                                           \
  inline __attribute__((always_inline)) detail::real_vector<T> name(T x,                       \
                                                                    detail::element_of<T> y) { \
    return name(x, T(y));                                                                      \
  }
#define METAL_TRANSCENDENTAL                            \
  METAL_UNARY(acos, __builtin_acosf)                    \
  METAL_UNARY(acosh, __builtin_acoshf)                  \
  METAL_UNARY(asin, __builtin_asinf)                    \
  METAL_UNARY(asinh, __builtin_asinhf)                  \
  METAL_UNARY(atan, __builtin_atanf)                    \
  METAL_UNARY(atanh, __builtin_atanhf)                  \
  METAL_UNARY(cos, __builtin_cosf)                      \
  METAL_UNARY(cosh, __builtin_coshf)                    \
  METAL_UNARY(exp, __builtin_expf)                      \
  METAL_UNARY(exp2, __builtin_exp2f)                    \
  METAL_UNARY(exp10, detail::exp10)                     \
  METAL_UNARY(log, __builtin_logf)                      \
  METAL_UNARY(log2, __builtin_log2f)                    \
  METAL_UNARY(log10, __builtin_log10f)                  \
  METAL_UNARY(sin, __builtin_sinf)                      \
  METAL_UNARY(sinh, __builtin_sinhf)                    \
  METAL_UNARY(sqrt, __builtin_sqrtf)                    \
  METAL_UNARY(rsqrt, detail::rsqrt)                     \
  METAL_UNARY(tan, __builtin_tanf)                      \
  METAL_UNARY(tanh, __builtin_tanhf)                    \
  METAL_UNARY(sinpi, detail::sinpi)                     \
  METAL_UNARY(cospi, detail::cospi)                     \
  METAL_BINARY(atan2, __builtin_atan2f)                 \
  METAL_BINARY(fmod, __builtin_fmodf)                   \
  METAL_BINARY(pow, __builtin_powf)                     \
  METAL_BINARY(powr, __builtin_powf)                    \
  METAL_ELEMENTWISE(ceil, __builtin_elementwise_ceil)   \
  METAL_ELEMENTWISE(floor, __builtin_elementwise_floor) \
  METAL_ELEMENTWISE(rint, __builtin_elementwise_rint)   \
  METAL_ELEMENTWISE(round, __builtin_elementwise_round) \
  METAL_ELEMENTWISE(trunc, __builtin_elementwise_trunc) \
  METAL_ELEMENTWISE(fabs, __builtin_elementwise_abs)

namespace detail {
inline float exp10(float x) { return __builtin_powf(10.0f, x); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float sinpi(float x) {
  return __builtin_sinf(3.14159265358979323846f * __builtin_fmodf(x, 2.0f));
}
inline float cospi(float x) {
  return __builtin_cosf(3.14159265358979323846f * __builtin_fmodf(x, 2.0f));
}
}  // namespace detail

// One implementation serves for all: the emulator has no less accurate one.
METAL_TRANSCENDENTAL
namespace precise {
METAL_TRANSCENDENTAL
}
namespace fast {
METAL_TRANSCENDENTAL
}

METAL_UNARY(logb, __builtin_logbf)
METAL_BINARY(fdim, __builtin_fdimf)
METAL_BINARY(copysign, __builtin_copysignf)
METAL_BINARY(nextafter, __builtin_nextafterf)

// min, max and abs are of integers and of reals; a NaN gives way to a number. They are
// spelled out: of two zeros a builtin takes one or the other, as the compiler likes.
namespace detail {
inline float smaller_of(float a, float b) { return a < b || b != b ? a : b; }
inline float larger_of(float a, float b) { return a > b || b != b ? a : b; }
template <class T>
inline __attribute__((always_inline)) T smaller(T a, T b) {
  if constexpr (is_real<T>) {
    return map([](float x, float y) { return smaller_of(x, y); }, a, b);
  } else {
    return __builtin_elementwise_min(a, b);
  }
}
template <class T>
inline __attribute__((always_inline)) T larger(T a, T b) {
  if constexpr (is_real<T>) {
    return map([](float x, float y) { return larger_of(x, y); }, a, b);
  } else {
    return __builtin_elementwise_max(a, b);
  }
}
template <class T>
using vector_only = typename enable_if<is_vector<T>, T>::type;
}  // namespace detail

#define METAL_MINMAX(name, implementation)                                                     \
  template <class T>                                                                           \
  inline __attribute__((always_inline)) T name(T a, T b) {                                     \
    return implementation(a, b);                                                               \
  }                                                                                            \
  template <class T>                                                                           \
  inline __attribute__((always_inline)) detail::vector_only<T> name(T a,                       \
                                                                    detail::element_of<T> b) { \
    return implementation(a, T(b));                                                            \
  }                                                                                            \
  template <class T>                                                                           \
  inline __attribute__((always_inline)) detail::vector_only<T> name(detail::element_of<T> a,   \
                                                                    T b) {                     \
    return implementation(T(a), b);                                                            \
  }
METAL_MINMAX(min, detail::smaller)
METAL_MINMAX(max, detail::larger)
METAL_MINMAX(fmin, detail::smaller)
METAL_MINMAX(fmax, detail::larger)

template <class T>
inline T min3(T a, T b, T c) {
  return min(a, min(b, c));
}
template <class T>
inline T max3(T a, T b, T c) {
  return max(a, max(b, c));
}
template <class T>
inline T median3(T a, T b, T c) {
  return max(min(a, b), min(max(a, b), c));
}
template <class T>
inline __attribute__((always_inline)) T clamp(T x, T low, T high) {
  return min(max(x, low), high);
}
template <class T>
inline __attribute__((always_inline)) detail::vector_only<T> clamp(T x, detail::element_of<T> low,
                                                                   detail::element_of<T> high) {
  return min(max(x, T(low)), T(high));
}
template <class T>
inline __attribute__((always_inline)) detail::real<T> saturate(T x) {
  return clamp(x, T(0), T(1));
}
template <class T>
inline __attribute__((always_inline)) T abs(T x) {
  if constexpr (detail::is_real<T> || (T(-1) < T(0))) {
    return __builtin_elementwise_abs(x);
  } else {
    return x;
  }
}
template <class T, int N>
inline __attribute__((always_inline)) vec<T, N> abs(vec<T, N> x) {
  if constexpr (detail::is_real<T> || T(-1) < T(0)) {
    return __builtin_elementwise_abs(x);
  } else {
    return x;
  }
}
template <class T>
inline __attribute__((always_inline)) detail::real<T> fma(T a, T b, T c) {
  return __builtin_elementwise_fma(a, b, c);
}
template <class T>
inline detail::real<T> sign(T x) {
  return detail::map([](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : v == 0 ? v : 0.0f; }, x);
}
template <class T>
inline detail::real<T> fract(T x) {
  return detail::map(
      [](float v) { return detail::smaller_of(v - __builtin_floorf(v), 0x1.fffffep-1f); }, x);
}
template <class T>
inline detail::real<T> mix(T x, T y, T a) {
  return x + (y - x) * a;
}
template <class T>
inline detail::real_vector<T> mix(T x, T y, detail::element_of<T> a) {
  return x + (y - x) * a;
}
template <class T>
inline detail::real<T> step(T edge, T x) {
  return detail::map([](float e, float v) { return v < e ? 0.0f : 1.0f; }, edge, x);
}
template <class T>
inline detail::real<T> smoothstep(T low, T high, T x) {
  const T t = saturate((x - low) / (high - low));
  return t * t * (T(3) - T(2) * t);
}
template <class T>
inline detail::real<T> sincos(T x, T& cosine) {
  cosine = cos(x);
  return sin(x);
}
template <class T>
inline detail::real<T> modf(T x, T& whole) {
  whole = trunc(x);
  return copysign(x - whole, x);
}
inline float modf(float x, float& whole) {
  whole = __builtin_truncf(x);
  return __builtin_copysignf(__builtin_isinf(x) ? 0.0f : x - whole, x);
}
inline float frexp(float x, int& exponent) { return __builtin_frexpf(x, &exponent); }
inline float ldexp(float x, int exponent) { return __builtin_ldexpf(x, exponent); }
inline half ldexp(half x, int exponent) { return half(__builtin_ldexpf(x, exponent)); }
inline int ilogb(float x) { return __builtin_ilogbf(x); }

// --- geometric ---
template <class T, int N>
inline T dot(vec<T, N> a, vec<T, N> b) {
  T result = a[0] * b[0];
  for (int i = 1; i < N; ++i) result += a[i] * b[i];
  return result;
}
template <class T, int N>
inline T length_squared(vec<T, N> a) {
  return dot(a, a);
}
template <class T, int N>
inline T length(vec<T, N> a) {
  return sqrt(dot(a, a));
}
template <class T, int N>
inline T distance(vec<T, N> a, vec<T, N> b) {
  return length(a - b);
}
template <class T, int N>
inline vec<T, N> normalize(vec<T, N> a) {
  return a * rsqrt(dot(a, a));
}
template <class T>
inline vec<T, 3> cross(vec<T, 3> a, vec<T, 3> b) {
  return a.yzx * b.zxy - a.zxy * b.yzx;
}

}  // namespace metal
