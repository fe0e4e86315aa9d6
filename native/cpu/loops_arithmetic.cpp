// Arithmetic that NumPy's loops do slowly, with their results: float16, and division
// with floor or remainder in float32.
#include <cmath>

#include "cpu/half.h"
#include "cpu/loops_families.h"

namespace nitinol::cpu::loops {
namespace {

template <Op op>
NITINOL_CLONES int half_loop(void*, char* const* data, const std::intptr_t* n,
                             const std::intptr_t* strides, void*) noexcept {
  map2<float16, float16>(data, *n, strides, [](float16 a, float16 b) {
    const float x = to_float(a), y = to_float(b);
    if constexpr (op == Op::add) return to_half(x + y);
    if constexpr (op == Op::subtract) return to_half(x - y);
    if constexpr (op == Op::multiply) return to_half(x * y);
    if constexpr (op == Op::divide) return to_half(x / y);
  });
  return 0;
}

// fmod(a, b), b not zero. Where the quotient has at most 28 bits, it and its product
// with b are exact in float64: quotients of floats are no closer to an integer they
// aren't than 2^-24, so truncation finds the right one.
NITINOL_INLINE float fast_fmod(float a, float b) noexcept {
  if (std::fabs(a) < std::fabs(b)) return a;
  const double quotient = static_cast<double>(a) / static_cast<double>(b);
  if (!(std::fabs(quotient) < 0x1p28)) return std::fmod(a, b);
  const auto whole = static_cast<double>(static_cast<std::int32_t>(quotient));
  return static_cast<float>(static_cast<double>(a) - whole * static_cast<double>(b));
}

// As Python divides: the remainder has the sign of b, the quotient is an integer.
struct Divided {
  float quotient, remainder;
};

NITINOL_INLINE Divided divide_floor(float a, float b) noexcept {
  if (b == 0) return {a / b, std::fmod(a, b)};
  float remainder = fast_fmod(a, b);
  float quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0f, b);
  }
  if (quotient != 0) {
    float floor = quotient;
    if (std::fabs(quotient) < 0x1p23f) {
      floor = static_cast<float>(static_cast<std::int32_t>(quotient));
      if (floor > quotient) floor -= 1;
    }
    quotient = quotient - floor > 0.5f ? floor + 1 : floor;
  } else {
    quotient = std::copysign(0.0f, a / b);
  }
  return {quotient, remainder};
}

int floor_divide_loop(void*, char* const* data, const std::intptr_t* n,
                      const std::intptr_t* strides, void*) noexcept {
  map2<float, float>(data, *n, strides,
                     [](float a, float b) { return divide_floor(a, b).quotient; });
  return 0;
}

int remainder_loop(void*, char* const* data, const std::intptr_t* n, const std::intptr_t* strides,
                   void*) noexcept {
  map2<float, float>(data, *n, strides,
                     [](float a, float b) { return divide_floor(a, b).remainder; });
  return 0;
}

}  // namespace

StridedLoop arithmetic(Op op, DType dtype) noexcept {
  if (dtype == DType::float32) {
    if (op == Op::floor_divide) return floor_divide_loop;
    if (op == Op::remainder) return remainder_loop;
    return nullptr;
  }
  if (dtype != DType::float16) return nullptr;
  switch (op) {
    case Op::add:
      return half_loop<Op::add>;
    case Op::subtract:
      return half_loop<Op::subtract>;
    case Op::multiply:
      return half_loop<Op::multiply>;
    case Op::divide:
      return half_loop<Op::divide>;
    default:
      return nullptr;
  }
}

}  // namespace nitinol::cpu::loops
