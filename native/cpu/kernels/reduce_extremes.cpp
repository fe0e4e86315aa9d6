// max, min, all and any.
#include <limits>

#include "cpu/half.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/reduce_tree.h"

namespace nitinol::cpu::kernels {
namespace {

// float16 is compared as float32, bool as a byte.
template <class T>
using Comparable = std::conditional_t<
    std::is_same_v<T, float16>, float,
    std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>>;

template <class T, bool is_max>
struct Extreme {
  using In = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;
  using Acc = Comparable<T>;
  static constexpr bool exact = true;
  static constexpr bool sequential = false;
  static Acc identity() noexcept {
    using L = std::numeric_limits<Acc>;
    if constexpr (L::has_infinity) return is_max ? -L::infinity() : L::infinity();
    return is_max ? L::lowest() : L::max();
  }
  static Acc empty() noexcept { return identity(); }
  static Acc load(In v) noexcept {
    if constexpr (std::is_same_v<T, float16>) {
      return to_float(v);
    } else {
      return v;
    }
  }
  static Acc combine(Acc a, Acc b) noexcept {
    const bool better = is_max ? b > a : b < a;
    if constexpr (std::is_floating_point_v<Acc>) {
      // A NaN takes over, and nothing compares better than a NaN afterwards.
      return better | (b != b) ? b : a;
    } else {
      return better ? b : a;
    }
  }
  // Looks for NaN beside the chain of comparisons, which is then one instruction a step.
  static NITINOL_INLINE Acc block(const In* x, std::int64_t n) noexcept
    requires(std::is_floating_point_v<Acc>)
  {
    constexpr int width = lanes<Extreme>;
    using Flag = std::conditional_t<sizeof(Acc) == 4, std::int32_t, std::int64_t>;
    Acc best[width];
    Flag nan[width];
    for (int j = 0; j < width; ++j) best[j] = identity();
    for (int j = 0; j < width; ++j) nan[j] = 0;
    const std::int64_t full = n / width * width;
#pragma GCC unroll 1
    for (std::int64_t i = 0; i < full; i += width) {
      for (int j = 0; j < width; ++j) {
        const Acc v = load(x[i + j]);
        best[j] = (is_max ? v > best[j] : v < best[j]) ? v : best[j];
        nan[j] |= v != v ? Flag(-1) : Flag(0);
      }
    }
    const int rest = static_cast<int>(n - full);
#pragma GCC unroll 1
    for (int j = 0; j < rest; ++j) best[j] = combine(best[j], load(x[full + j]));
    for (int half = width / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) {
        best[j] = combine(best[j], best[j + half]);
        nan[j] |= nan[j + half];
      }
    }
    return nan[0] ? std::numeric_limits<Acc>::quiet_NaN() : best[0];
  }
  static void store(char* out, std::int64_t i, Acc v, std::size_t) noexcept {
    if constexpr (std::is_same_v<T, float16>) {
      reinterpret_cast<float16*>(out)[i] = to_half(v);
    } else {
      reinterpret_cast<In*>(out)[i] = v;
    }
  }
};

// Truth of elements as unsigned words that are zero but for the bits outside `mask`
// (the signs of floating zeros): every bit set for true, so that loads keep the width.
template <class Word, Word mask, bool is_all>
struct Truth {
  using In = Word;
  using Acc = Word;
  static constexpr bool exact = true;
  static constexpr bool sequential = false;
  static Acc identity() noexcept { return is_all ? static_cast<Acc>(~Acc(0)) : Acc(0); }
  static Acc empty() noexcept { return identity(); }
  static Acc load(In v) noexcept { return (v & mask) != 0 ? static_cast<Acc>(~Acc(0)) : Acc(0); }
  static Acc combine(Acc a, Acc b) noexcept { return static_cast<Acc>(is_all ? a & b : a | b); }
  static void store(char* out, std::int64_t i, Acc v, std::size_t) noexcept {
    reinterpret_cast<std::uint8_t*>(out)[i] = v != 0;
  }
};

// complex128: two words.
template <bool is_all>
struct TruthOfPair : Truth<std::uint64_t, ~std::uint64_t(0), is_all> {
  using In = complex128;
  static std::uint64_t load(const In& v) noexcept {
    return v.real() != 0 || v.imag() != 0 ? ~std::uint64_t(0) : 0;
  }
};

template <bool is_max>
void extreme(const Launch& launch) noexcept {
  if (is_complex(launch.inputs[0].dtype)) return refuse(launch);
  dispatch(launch.inputs[0].dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (!requires(T v) { v.real(); }) reduce<Extreme<T, is_max>>(launch);
  });
}

template <bool is_all>
void truth(const Launch& launch) noexcept {
  const auto run = [&]<class Word, Word mask>(std::integral_constant<Word, mask>) {
    reduce<Truth<Word, mask, is_all>>(launch);
  };
  switch (launch.inputs[0].dtype) {
    case DType::bool_:
    case DType::int8:
    case DType::uint8:
      return run(std::integral_constant<std::uint8_t, 0xff>{});
    case DType::int16:
    case DType::uint16:
      return run(std::integral_constant<std::uint16_t, 0xffff>{});
    case DType::float16:
      return run(std::integral_constant<std::uint16_t, 0x7fff>{});
    case DType::int32:
    case DType::uint32:
      return run(std::integral_constant<std::uint32_t, 0xffffffffu>{});
    case DType::float32:
      return run(std::integral_constant<std::uint32_t, 0x7fffffffu>{});
    case DType::int64:
    case DType::uint64:
      return run(std::integral_constant<std::uint64_t, 0xffffffffffffffffu>{});
    case DType::float64:
      return run(std::integral_constant<std::uint64_t, 0x7fffffffffffffffu>{});
    case DType::complex64:
      return run(std::integral_constant<std::uint64_t, 0x7fffffff7fffffffu>{});
    case DType::complex128:
      break;
  }
  reduce<TruthOfPair<is_all>>(launch);
}

}  // namespace

void max(const Launch& launch) noexcept { extreme<true>(launch); }
void min(const Launch& launch) noexcept { extreme<false>(launch); }
void all(const Launch& launch) noexcept { truth<true>(launch); }
void any(const Launch& launch) noexcept { truth<false>(launch); }

}  // namespace nitinol::cpu::kernels
