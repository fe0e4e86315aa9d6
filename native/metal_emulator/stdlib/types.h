// Metal's keywords, scalar and vector types, and their conversions.
#pragma once

// Address spaces are checked as types, by a pass that makes no code: clang's sanitizers look
// at the default address space only.
#if METAL_CHECKS_ADDRESS_SPACES
#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#else
#define device
#define constant const
#define threadgroup
#endif
#define thread
#define kernel static inline __attribute__((always_inline))

namespace metal {

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using half = _Float16;
using size_t = unsigned long;
using ptrdiff_t = long;
using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = uchar;
using uint16_t = ushort;
using uint32_t = uint;
using uint64_t = ulong;

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

template <bool condition, class A, class B>
struct conditional {
  using type = A;
};
template <class A, class B>
struct conditional<false, A, B> {
  using type = B;
};
template <bool condition, class A, class B>
using conditional_t = typename conditional<condition, A, B>::type;

namespace detail {

template <class T>
struct vector_traits {
  using element = T;
  static constexpr int size = 1;
};
template <class T, int N>
struct vector_traits<T __attribute__((ext_vector_type(N)))> {
  using element = T;
  static constexpr int size = N;
};

template <class T>
struct identity {
  using type = T;
};
template <bool condition, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  using type = T;
};
template <class A, class B>
inline constexpr bool same = false;
template <class A>
inline constexpr bool same<A, A> = true;

template <class T>
inline constexpr bool is_vector = vector_traits<T>::size > 1;
template <class T>
inline constexpr bool is_real = same<typename vector_traits<T>::element, float> ||
                                same<typename vector_traits<T>::element, half>;

// The signed integer as wide as T, which is what a comparison of vectors of T has.
template <int bytes>
struct signed_of_size;
template <>
struct signed_of_size<1> {
  using type = signed char;
};
template <>
struct signed_of_size<2> {
  using type = short;
};
template <>
struct signed_of_size<4> {
  using type = int;
};
template <>
struct signed_of_size<8> {
  using type = long;
};

template <class T, class Result, class A>
inline void append(Result& result, int& at, A value) {
  if constexpr (is_vector<A>) {
    for (int i = 0; i < vector_traits<A>::size; ++i) result[at++] = T(value[i]);
  } else {
    result[at++] = T(value);
  }
}

template <class... A>
inline constexpr int total_size = (vector_traits<A>::size + ... + 0);

}  // namespace detail

// clang's own vectors of bool are bits. One is made of a comparison too, which clang gives
// as integers.
template <int N>
struct bool_vector;

#define METAL_BOOL_VECTOR(N, members)                                               \
  template <>                                                                       \
  struct bool_vector<N> {                                                           \
    bool members;                                                                   \
    bool_vector() = default;                                                        \
    bool_vector(bool v) {                                                           \
      for (int i = 0; i < N; ++i) (*this)[i] = v;                                   \
    }                                                                               \
    template <class T>                                                              \
    bool_vector(vec<T, N> v) {                                                      \
      for (int i = 0; i < N; ++i) (*this)[i] = v[i] != 0;                           \
    }                                                                               \
    bool& operator[](int i) { return reinterpret_cast<bool*>(this)[i]; }            \
    bool operator[](int i) const { return reinterpret_cast<const bool*>(this)[i]; } \
  };
#define METAL_MEMBERS x, y
METAL_BOOL_VECTOR(2, METAL_MEMBERS)
#undef METAL_MEMBERS
#define METAL_MEMBERS x, y, z
METAL_BOOL_VECTOR(3, METAL_MEMBERS)
#undef METAL_MEMBERS
#define METAL_MEMBERS x, y, z, w
METAL_BOOL_VECTOR(4, METAL_MEMBERS)
#undef METAL_MEMBERS
#undef METAL_BOOL_VECTOR

#define METAL_BOOL_OPERATOR(op)                                           \
  template <int N>                                                        \
  inline bool_vector<N> operator op(bool_vector<N> a, bool_vector<N> b) { \
    bool_vector<N> result;                                                \
    for (int i = 0; i < N; ++i) result[i] = a[i] op b[i];                 \
    return result;                                                        \
  }
METAL_BOOL_OPERATOR(&&)
METAL_BOOL_OPERATOR(||)
METAL_BOOL_OPERATOR(&)
METAL_BOOL_OPERATOR(|)
METAL_BOOL_OPERATOR(^)
METAL_BOOL_OPERATOR(==)
METAL_BOOL_OPERATOR(!=)
#undef METAL_BOOL_OPERATOR
template <int N>
inline bool_vector<N> operator!(bool_vector<N> a) {
  bool_vector<N> result;
  for (int i = 0; i < N; ++i) result[i] = !a[i];
  return result;
}

namespace detail {
template <int N>
struct vector_traits<bool_vector<N>> {
  using element = bool;
  static constexpr int size = N;
};
}  // namespace detail

// What a vector's constructor does: one scalar is repeated, more are put one after another.
template <class T, int N, class... A>
inline __attribute__((always_inline)) auto make_vector(A... values) {
  using namespace detail;
  using Result = conditional_t<same<T, bool>, bool_vector<N>, vec<T, N>>;
  static_assert(sizeof...(A) == 0 || total_size<A...> == 1 || total_size<A...> == N,
                "wrong number of components");
  Result result = T(0);
  if constexpr (sizeof...(A) == 1 && total_size<A...> == 1) {
    (void)((result = Result(T(values))), ...);
  } else {
    int at = 0;
    (append<T>(result, at, values), ...);
  }
  return result;
}

// A vector without padding, aligned as its elements are.
template <class T, int N>
struct packed_vector {
  T elements[N];
  packed_vector() = default;
  packed_vector(vec<T, N> v) {
    for (int i = 0; i < N; ++i) elements[i] = v[i];
  }
  template <class... A, class = typename detail::enable_if<(sizeof...(A) > 1)>::type>
  packed_vector(A... values) : packed_vector(make_vector<T, N>(values...)) {}
  operator vec<T, N>() const {
    vec<T, N> v;
    for (int i = 0; i < N; ++i) v[i] = elements[i];
    return v;
  }
  T& operator[](int i) { return elements[i]; }
  const T& operator[](int i) const { return elements[i]; }
};

#define METAL_VECTORS(T)                     \
  using T##2 = vec<T, 2>;                    \
  using T##3 = vec<T, 3>;                    \
  using T##4 = vec<T, 4>;                    \
  using packed_##T##2 = packed_vector<T, 2>; \
  using packed_##T##3 = packed_vector<T, 3>; \
  using packed_##T##4 = packed_vector<T, 4>;
using bool2 = bool_vector<2>;
using bool3 = bool_vector<3>;
using bool4 = bool_vector<4>;
METAL_VECTORS(char)
METAL_VECTORS(uchar)
METAL_VECTORS(short)
METAL_VECTORS(ushort)
METAL_VECTORS(int)
METAL_VECTORS(uint)
METAL_VECTORS(long)
METAL_VECTORS(ulong)
METAL_VECTORS(half)
METAL_VECTORS(float)
#undef METAL_VECTORS

// `float4(a, b)` is a call; `float4` alone stays the type.
#define bool2(...) ::metal::make_vector<bool, 2>(__VA_ARGS__)
#define bool3(...) ::metal::make_vector<bool, 3>(__VA_ARGS__)
#define bool4(...) ::metal::make_vector<bool, 4>(__VA_ARGS__)
#define char2(...) ::metal::make_vector<char, 2>(__VA_ARGS__)
#define char3(...) ::metal::make_vector<char, 3>(__VA_ARGS__)
#define char4(...) ::metal::make_vector<char, 4>(__VA_ARGS__)
#define uchar2(...) ::metal::make_vector<::metal::uchar, 2>(__VA_ARGS__)
#define uchar3(...) ::metal::make_vector<::metal::uchar, 3>(__VA_ARGS__)
#define uchar4(...) ::metal::make_vector<::metal::uchar, 4>(__VA_ARGS__)
#define short2(...) ::metal::make_vector<short, 2>(__VA_ARGS__)
#define short3(...) ::metal::make_vector<short, 3>(__VA_ARGS__)
#define short4(...) ::metal::make_vector<short, 4>(__VA_ARGS__)
#define ushort2(...) ::metal::make_vector<::metal::ushort, 2>(__VA_ARGS__)
#define ushort3(...) ::metal::make_vector<::metal::ushort, 3>(__VA_ARGS__)
#define ushort4(...) ::metal::make_vector<::metal::ushort, 4>(__VA_ARGS__)
#define int2(...) ::metal::make_vector<int, 2>(__VA_ARGS__)
#define int3(...) ::metal::make_vector<int, 3>(__VA_ARGS__)
#define int4(...) ::metal::make_vector<int, 4>(__VA_ARGS__)
#define uint2(...) ::metal::make_vector<::metal::uint, 2>(__VA_ARGS__)
#define uint3(...) ::metal::make_vector<::metal::uint, 3>(__VA_ARGS__)
#define uint4(...) ::metal::make_vector<::metal::uint, 4>(__VA_ARGS__)
#define long2(...) ::metal::make_vector<long, 2>(__VA_ARGS__)
#define long3(...) ::metal::make_vector<long, 3>(__VA_ARGS__)
#define long4(...) ::metal::make_vector<long, 4>(__VA_ARGS__)
#define ulong2(...) ::metal::make_vector<::metal::ulong, 2>(__VA_ARGS__)
#define ulong3(...) ::metal::make_vector<::metal::ulong, 3>(__VA_ARGS__)
#define ulong4(...) ::metal::make_vector<::metal::ulong, 4>(__VA_ARGS__)
#define half2(...) ::metal::make_vector<::metal::half, 2>(__VA_ARGS__)
#define half3(...) ::metal::make_vector<::metal::half, 3>(__VA_ARGS__)
#define half4(...) ::metal::make_vector<::metal::half, 4>(__VA_ARGS__)
#define float2(...) ::metal::make_vector<float, 2>(__VA_ARGS__)
#define float3(...) ::metal::make_vector<float, 3>(__VA_ARGS__)
#define float4(...) ::metal::make_vector<float, 4>(__VA_ARGS__)

template <class T, class U>
inline __attribute__((always_inline)) T as_type(U value) {
  static_assert(sizeof(T) == sizeof(U), "as_type needs two types of one size");
  return __builtin_bit_cast(T, value);
}

template <class T, size_t N>
struct array {
  T elements[N];
  T& operator[](size_t i) { return elements[i]; }
  const T& operator[](size_t i) const { return elements[i]; }
  static constexpr size_t size() { return N; }
};

}  // namespace metal

// Metal has these names without a namespace.
using metal::as_type;
using metal::bool2;
using metal::bool3;
using metal::bool4;
using metal::char2;
using metal::char3;
using metal::char4;
using metal::float2;
using metal::float3;
using metal::float4;
using metal::half;
using metal::half2;
using metal::half3;
using metal::half4;
using metal::int2;
using metal::int3;
using metal::int4;
using metal::long2;
using metal::long3;
using metal::long4;
using metal::make_vector;
using metal::packed_char2;
using metal::packed_char3;
using metal::packed_char4;
using metal::packed_float2;
using metal::packed_float3;
using metal::packed_float4;
using metal::packed_half2;
using metal::packed_half3;
using metal::packed_half4;
using metal::packed_int2;
using metal::packed_int3;
using metal::packed_int4;
using metal::packed_long2;
using metal::packed_long3;
using metal::packed_long4;
using metal::packed_short2;
using metal::packed_short3;
using metal::packed_short4;
using metal::packed_uchar2;
using metal::packed_uchar3;
using metal::packed_uchar4;
using metal::packed_uint2;
using metal::packed_uint3;
using metal::packed_uint4;
using metal::packed_ulong2;
using metal::packed_ulong3;
using metal::packed_ulong4;
using metal::packed_ushort2;
using metal::packed_ushort3;
using metal::packed_ushort4;
using metal::ptrdiff_t;
using metal::short2;
using metal::short3;
using metal::short4;
using metal::size_t;
using metal::uchar;
using metal::uchar2;
using metal::uchar3;
using metal::uchar4;
using metal::uint;
using metal::uint2;
using metal::uint3;
using metal::uint4;
using metal::ulong;
using metal::ulong2;
using metal::ulong3;
using metal::ulong4;
using metal::ushort;
using metal::ushort2;
using metal::ushort3;
using metal::ushort4;
