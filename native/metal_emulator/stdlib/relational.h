// Metal's relational functions: tests of numbers, and choices by them.
#pragma once

namespace metal {

template <class T>
inline __attribute__((always_inline)) auto isnan(T x) {
  static_assert(detail::is_real<T>);
  return detail::test([](auto v) { return v != v; }, x);
}
template <class T>
inline __attribute__((always_inline)) auto isinf(T x) {
  static_assert(detail::is_real<T>);
  return detail::test([](auto v) { return __builtin_fabsf(float(v)) == __builtin_inff(); }, x);
}
template <class T>
inline __attribute__((always_inline)) auto isfinite(T x) {
  static_assert(detail::is_real<T>);
  return detail::test([](auto v) { return __builtin_fabsf(float(v)) < __builtin_inff(); }, x);
}
template <class T>
inline __attribute__((always_inline)) auto isnormal(T x) {
  static_assert(detail::is_real<T>);
  return detail::test(
      [](auto v) {
        const float least = sizeof(v) == 2 ? 0x1p-14f : 0x1p-126f;
        return __builtin_fabsf(float(v)) >= least && __builtin_fabsf(float(v)) < __builtin_inff();
      },
      x);
}
template <class T>
inline __attribute__((always_inline)) auto signbit(T x) {
  static_assert(detail::is_real<T>);
  return detail::test([](auto v) { return bool(__builtin_signbitf(float(v))); }, x);
}
inline bool any(bool x) { return x; }
inline bool all(bool x) { return x; }
template <class T, int N>
inline bool any(vec<T, N> x) {
  bool result = false;
  for (int i = 0; i < N; ++i) result |= bool(x[i]);
  return result;
}
template <class T, int N>
inline bool all(vec<T, N> x) {
  bool result = true;
  for (int i = 0; i < N; ++i) result &= bool(x[i]);
  return result;
}
template <int N>
inline bool any(bool_vector<N> x) {
  bool result = false;
  for (int i = 0; i < N; ++i) result |= x[i];
  return result;
}
template <int N>
inline bool all(bool_vector<N> x) {
  bool result = true;
  for (int i = 0; i < N; ++i) result &= x[i];
  return result;
}
template <class T, int N>
inline __attribute__((always_inline)) vec<T, N> select(vec<T, N> no, vec<T, N> yes,
                                                       bool_vector<N> condition) {
  vec<T, N> result;
  for (int i = 0; i < N; ++i) result[i] = condition[i] ? yes[i] : no[i];
  return result;
}
template <class T>
inline __attribute__((always_inline)) T select(T no, T yes, bool condition) {
  return condition ? yes : no;
}
template <class T, class C, int N>
inline __attribute__((always_inline)) vec<T, N> select(vec<T, N> no, vec<T, N> yes,
                                                       vec<C, N> condition) {
  vec<T, N> result;
  for (int i = 0; i < N; ++i) result[i] = condition[i] ? yes[i] : no[i];
  return result;
}

}  // namespace metal
