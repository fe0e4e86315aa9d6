// Metal's integer functions.
#pragma once

namespace metal {

namespace detail {
// Of a scalar a builtin would first make an int; of a vector's elements it does not.
template <class F, class T, class... A>
inline __attribute__((always_inline)) T unpromoted(F f, T x, A... more) {
  if constexpr (is_vector<T>) {
    return f(x, more...);
  } else {
    return f(vec<T, 2>(x), vec<T, 2>(more)...)[0];
  }
}
}  // namespace detail
template <class T>
inline detail::integer<T> popcount(T x) {
  return detail::map_elements(
      [](auto v) {
        using V = decltype(v);
        return V(__builtin_popcountl(ulong(v) & (~0ul >> (64 - 8 * sizeof(V)))));
      },
      x);
}
template <class T>
inline detail::integer<T> clz(T x) {
  return detail::map_elements(
      [](auto v) {
        using V = decltype(v);
        const ulong bits = ulong(v) & (~0ul >> (64 - 8 * sizeof(V)));
        return V(bits == 0 ? 8 * sizeof(V) : __builtin_clzl(bits) - (64 - 8 * sizeof(V)));
      },
      x);
}
template <class T>
inline detail::integer<T> ctz(T x) {
  return detail::map_elements(
      [](auto v) {
        using V = decltype(v);
        const ulong bits = ulong(v) & (~0ul >> (64 - 8 * sizeof(V)));
        return V(bits == 0 ? 8 * sizeof(V) : __builtin_ctzl(bits));
      },
      x);
}
template <class T>
inline detail::integer<T> reverse_bits(T x) {
  return detail::unpromoted([](auto v) { return __builtin_elementwise_bitreverse(v); }, x);
}
namespace detail {
template <class T>
inline T high_product(T a, T b) {
  if constexpr (sizeof(T) < 8) {
    using wide = conditional_t<(T(-1) < T(0)), long, ulong>;
    return T((wide(a) * wide(b)) >> (8 * sizeof(T)));
  } else if constexpr (T(-1) < T(0)) {
    return T((__int128(a) * __int128(b)) >> 64);
  } else {
    return T((static_cast<unsigned __int128>(a) * b) >> 64);
  }
}
}  // namespace detail
template <class T>
inline detail::integer<T> mulhi(T a, T b) {
  if constexpr (detail::is_vector<T>) {
    T result;
    for (int i = 0; i < detail::vector_traits<T>::size; ++i) {
      result[i] = detail::high_product<detail::element_of<T>>(a[i], b[i]);
    }
    return result;
  } else {
    return detail::high_product(a, b);
  }
}
template <class T>
inline detail::integer<T> madhi(T a, T b, T c) {
  return mulhi(a, b) + c;
}
template <class T>
inline T rotate(T x, T count) {
  constexpr ulong bits = 8 * sizeof(T);
  const ulong value = ulong(x) & (~0ul >> (64 - bits));
  const ulong by = ulong(count) & (bits - 1);
  return by == 0 ? x : T((value << by) | (value >> (bits - by)));
}
template <class T, int N>
inline vec<T, N> rotate(vec<T, N> x, vec<T, N> count) {
  vec<T, N> result;
  for (int i = 0; i < N; ++i) result[i] = rotate<T>(x[i], count[i]);
  return result;
}
template <class T>
inline T extract_bits(T x, uint offset, uint bits) {
  if (bits == 0) return T(0);
  const uint width = 8 * sizeof(T);
  const uint above = width - bits - offset;
  return T(T(x << above) >> (width - bits));
}
template <class T>
inline T insert_bits(T base, T insert, uint offset, uint bits) {
  if (bits == 0) return base;
  const ulong mask = (~0ul >> (64 - bits)) << offset;
  return T((ulong(base) & ~mask) | ((ulong(insert) << offset) & mask));
}
template <class T>
inline detail::integer<T> addsat(T a, T b) {
  return detail::unpromoted([](auto x, auto y) { return __builtin_elementwise_add_sat(x, y); }, a,
                            b);
}
template <class T>
inline detail::integer<T> subsat(T a, T b) {
  return detail::unpromoted([](auto x, auto y) { return __builtin_elementwise_sub_sat(x, y); }, a,
                            b);
}
template <class T>
inline auto absdiff(T a, T b) {
  using U = __make_unsigned(T);
  return a > b ? U(U(a) - U(b)) : U(U(b) - U(a));
}
template <class T>
inline detail::integer<T> hadd(T a, T b) {
  return (a & b) + ((a ^ b) >> T(1));
}
template <class T>
inline detail::integer<T> rhadd(T a, T b) {
  return (a | b) - ((a ^ b) >> T(1));
}
template <class T>
inline detail::integer<T> mul24(T a, T b) {
  return a * b;
}
template <class T>
inline detail::integer<T> mad24(T a, T b, T c) {
  return a * b + c;
}

}  // namespace metal
