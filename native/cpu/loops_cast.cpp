// Casts between every pair of dtypes. A float outside the range of an integer has no
// value there in C++; here it gets the one that C and NumPy give on x86-64: it is cut to
// int32 for targets up to int32 and to int64 for uint32 and int64, where what doesn't
// fit and NaN become the smallest number, and the low bits are kept. uint64 takes
// numbers from 2^63 on as well.
#include <limits>

#include "cpu/half.h"
#include "cpu/loops_families.h"

namespace nitinol::cpu::loops {
namespace {

template <class T>
inline constexpr bool is_half = std::is_same_v<T, float16>;
template <class T>
inline constexpr bool is_complex_type = requires(T v) { v.real(); };

// Cut towards zero; what doesn't fit becomes the smallest integer.
template <class I, class F>
NITINOL_INLINE I cut(F v) noexcept {
  constexpr F low = static_cast<F>(std::numeric_limits<I>::min());
  // For int32 in double, -2147483648.5 is still in range.
  constexpr bool exact = std::numeric_limits<F>::digits > std::numeric_limits<I>::digits;
  const int above = exact ? v > low - 1 : v >= low;
  const int below = v < -low;
  return static_cast<I>((above & below) != 0 ? v : low);
}

template <class To, class F>
NITINOL_INLINE To to_integer(F v) noexcept {
  if constexpr (std::is_same_v<To, std::uint64_t>) {
    constexpr F half = static_cast<F>(std::uint64_t{1} << 63);
    const bool upper = v >= half;
    const auto low = static_cast<std::uint64_t>(cut<std::int64_t>(upper ? v - half : v));
    return low ^ (upper ? std::uint64_t{1} << 63 : 0);
  } else if constexpr (sizeof(To) == 8 || std::is_same_v<To, std::uint32_t>) {
    return static_cast<To>(cut<std::int64_t>(v));
  } else {
    return static_cast<To>(cut<std::int32_t>(v));
  }
}

template <class To, class From>
NITINOL_INLINE To convert(From v) noexcept {
  if constexpr (std::is_same_v<To, From>) {
    return v;
  } else if constexpr (std::is_same_v<To, bool>) {
    if constexpr (is_complex_type<From>) {
      return v.real() != 0 || v.imag() != 0;
    } else if constexpr (is_half<From>) {
      return (std::bit_cast<std::uint16_t>(v) & 0x7fffu) != 0;
    } else {
      return v != 0;
    }
  } else if constexpr (is_complex_type<From> && is_complex_type<To>) {
    using Part = typename To::value_type;
    return To(static_cast<Part>(v.real()), static_cast<Part>(v.imag()));
  } else if constexpr (is_complex_type<From>) {
    return convert<To>(v.real());
  } else if constexpr (is_complex_type<To>) {
    return To(convert<typename To::value_type>(v), 0);
  } else if constexpr (is_half<From>) {
    return convert<To>(to_float(v));
  } else if constexpr (is_half<To>) {
    // Integers that float32 rounds are infinite as float16.
    if constexpr (std::is_same_v<From, double>) {
      return to_half(v);
    } else {
      return to_half(static_cast<float>(v));
    }
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return to_integer<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <class From, class To>
int cast_loop(void*, char* const* data, const std::intptr_t* n, const std::intptr_t* strides,
              void*) noexcept {
  map<From, To>(data, *n, strides, [](From v) { return convert<To>(v); });
  return 0;
}

// The pairs that models use most, for the machine at hand.
template <class From, class To>
NITINOL_CLONES int fast_cast_loop(void*, char* const* data, const std::intptr_t* n,
                                  const std::intptr_t* strides, void*) noexcept {
  map<From, To>(data, *n, strides, [](From v) { return convert<To>(v); });
  return 0;
}

template <class From, class To>
constexpr bool worth_clones =
    (is_half<From> && std::is_same_v<To, float>) || (is_half<To> && std::is_same_v<From, float>);

}  // namespace

StridedLoop cast(DType in, DType out) noexcept {
  return dispatch(in, [&]<class From>(std::type_identity<From>) -> StridedLoop {
    return dispatch(out, []<class To>(std::type_identity<To>) -> StridedLoop {
      if constexpr (worth_clones<From, To>) {
        return fast_cast_loop<From, To>;
      } else {
        return cast_loop<From, To>;
      }
    });
  });
}

}  // namespace nitinol::cpu::loops
