// all and any.
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/reduce_tree.h"

namespace nitinol::cpu::kernels {
namespace {

// Truth of elements as unsigned words that are zero but for the bits outside `mask`
// (the signs of floating zeros): every bit set for true, so that loads keep the width.
template <class Word, Word mask, bool is_all>
struct Truth {
  using In = Word;
  using Acc = Word;
  static constexpr bool exact = true;
  static constexpr bool sequential = false;
  static constexpr bool cloned = false;
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

void all(const Launch& launch) noexcept { truth<true>(launch); }
void any(const Launch& launch) noexcept { truth<false>(launch); }

}  // namespace nitinol::cpu::kernels
