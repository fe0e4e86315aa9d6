// The element types of arrays, their sizes and their C++ types.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace nitinol {

using float16 = _Float16;
using complex64 = std::complex<float>;
using complex128 = std::complex<double>;

// The order is the promotion order inside each kind; Python code relies on the
// numbers, so new types go at the end.
enum class DType : std::uint8_t {
  bool_,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  float32,
  float64,
  complex64,
  complex128,
};

inline constexpr int dtype_count = 14;

namespace detail {
// At namespace scope: a local array would be made anew by every call.
inline constexpr std::uint8_t item_sizes[dtype_count] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 8, 16};
}  // namespace detail

constexpr std::size_t itemsize(DType t) noexcept { return detail::item_sizes[static_cast<int>(t)]; }

constexpr const char* name(DType t) noexcept {
  constexpr const char* names[dtype_count] = {
      "bool",   "int8",   "int16",   "int32",   "int64",   "uint8",     "uint16",
      "uint32", "uint64", "float16", "float32", "float64", "complex64", "complex128"};
  return names[static_cast<int>(t)];
}

constexpr bool is_signed_integer(DType t) noexcept { return t >= DType::int8 && t <= DType::int64; }
constexpr bool is_unsigned_integer(DType t) noexcept {
  return t >= DType::uint8 && t <= DType::uint64;
}
constexpr bool is_integer(DType t) noexcept { return t >= DType::int8 && t <= DType::uint64; }
constexpr bool is_real_floating(DType t) noexcept {
  return t >= DType::float16 && t <= DType::float64;
}
constexpr bool is_complex(DType t) noexcept { return t >= DType::complex64; }

// Calls f(std::type_identity<T>{}) with the C++ type of `t`.
template <class F>
constexpr decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::bool_:
      return f(std::type_identity<bool>{});
    case DType::int8:
      return f(std::type_identity<std::int8_t>{});
    case DType::int16:
      return f(std::type_identity<std::int16_t>{});
    case DType::int32:
      return f(std::type_identity<std::int32_t>{});
    case DType::int64:
      return f(std::type_identity<std::int64_t>{});
    case DType::uint8:
      return f(std::type_identity<std::uint8_t>{});
    case DType::uint16:
      return f(std::type_identity<std::uint16_t>{});
    case DType::uint32:
      return f(std::type_identity<std::uint32_t>{});
    case DType::uint64:
      return f(std::type_identity<std::uint64_t>{});
    case DType::float16:
      return f(std::type_identity<float16>{});
    case DType::float32:
      return f(std::type_identity<float>{});
    case DType::float64:
      return f(std::type_identity<double>{});
    case DType::complex64:
      return f(std::type_identity<complex64>{});
    case DType::complex128:
      break;
  }
  return f(std::type_identity<complex128>{});
}

}  // namespace nitinol
