// Runs a kernel on the CPU and on the emulated Metal, over the same arrays, and compares.
#pragma once

#include <cmath>
#include <complex>
#include <cstdlib>
#include <vector>

#include "cpu/kernel.h"
#include "direct_encoder.h"
#include "tests/arrays.h"

namespace nitinol::metal::testing {

using cpu::testing::Array;
using cpu::testing::Shape;

// NITINOL_TEST_SAMPLE=n: one n-th of the random cases, where most need a kernel of their own and
// the compiler takes its time for each.
inline int rounds(int all) {
  const char* const text = std::getenv("NITINOL_TEST_SAMPLE");
  const int part = text ? std::atoi(text) : 1;
  return part > 1 ? (all + part - 1) / part : all;
}

inline Operand operand_of(Array& a) {
  Operand operand;
  operand.buffer = a.storage.data();
  operand.offset = static_cast<std::size_t>(a.layout.offset()) * itemsize(a.dtype);
  operand.layout = &a.layout;
  operand.dtype = a.dtype;
  return operand;
}

// An output with a margin behind it, filled so that what is not written, or written
// beyond the end, shows.
struct Target {
  Array array;
  std::size_t bytes;

  Target(DType dtype, const Shape& shape) : array(cpu::testing::empty(dtype, shape)) {
    bytes = array.storage.size();
    array.storage.assign(bytes + 64, static_cast<char>(0xb7));
  }
  bool margin_intact() const {
    for (std::size_t i = bytes; i < array.storage.size(); ++i) {
      if (array.storage[i] != static_cast<char>(0xb7)) return false;
    }
    return true;
  }
};

// The allowed difference: `relative` of the larger number, and `absolute`.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

inline bool near(double a, double b, Tolerance t) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == b) return true;
  if (std::isinf(a) || std::isinf(b)) return false;
  return std::fabs(a - b) <= t.relative * std::fmax(std::fabs(a), std::fabs(b)) + t.absolute;
}

inline bool near_elements(const char* a, const char* b, DType dtype, Tolerance t) {
  switch (dtype) {
    case DType::float16:
      return near(cpu::to_float(*reinterpret_cast<const float16*>(a)),
                  cpu::to_float(*reinterpret_cast<const float16*>(b)), t);
    case DType::float32:
      return near(*reinterpret_cast<const float*>(a), *reinterpret_cast<const float*>(b), t);
    case DType::complex64:
      return near(*reinterpret_cast<const float*>(a), *reinterpret_cast<const float*>(b), t) &&
             near(*reinterpret_cast<const float*>(a + 4), *reinterpret_cast<const float*>(b + 4),
                  t);
    default:
      return std::memcmp(a, b, itemsize(dtype)) == 0;
  }
}

inline std::string text_of(const char* p, DType dtype) {
  char text[80];
  if (dtype == DType::complex64) {
    std::snprintf(text, sizeof text, "%.9g%+.9gj",
                  static_cast<double>(*reinterpret_cast<const float*>(p)),
                  static_cast<double>(*reinterpret_cast<const float*>(p + 4)));
  } else {
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_integral_v<T>) {
        std::snprintf(text, sizeof text, "%lld",
                      static_cast<long long>(*reinterpret_cast<const T*>(p)));
      } else if constexpr (!requires(T v) { v.real(); }) {
        std::snprintf(text, sizeof text, "%.9g",
                      static_cast<double>(*reinterpret_cast<const T*>(p)));
      }
    });
  }
  return text;
}

inline void check_same(const Target& cpu_result, const Target& metal_result, Tolerance t,
                       const std::string& what) {
  const DType dtype = cpu_result.array.dtype;
  const std::size_t item = itemsize(dtype);
  for (std::size_t i = 0; i < cpu_result.bytes; i += item) {
    const char* expected = cpu_result.array.storage.data() + i;
    const char* got = metal_result.array.storage.data() + i;
    if (near_elements(expected, got, dtype, t)) continue;
    std::fprintf(stderr, "%s: element %zu of %s is %s on Metal and %s on the CPU\n", what.c_str(),
                 i / item, name(dtype), text_of(got, dtype).c_str(),
                 text_of(expected, dtype).c_str());
    std::abort();
  }
  if (!metal_result.margin_intact()) {
    std::fprintf(stderr, "%s: written behind the end of the output\n", what.c_str());
    std::abort();
  }
}

inline std::string describe(Op op, const std::vector<Array*>& inputs) {
  std::string what = info(op).name;
  for (const Array* a : inputs) {
    what += std::string(" ") + name(a->dtype) + "(";
    for (int d = 0; d < a->layout.ndim(); ++d) {
      what += std::to_string(a->layout.shape(d)) + "@" + std::to_string(a->layout.stride(d)) + " ";
    }
    what += ")";
  }
  return what;
}

struct Result {
  Fault cpu;
  std::uint32_t metal_fault = 0xffffffffu;
  int dispatches = 0;
};

// Both must agree that a fault was met; without one the outputs must be near.
inline Result compare(Op op, const std::vector<Array*>& inputs, DType dtype, const Shape& shape,
                      std::vector<std::int64_t> ints = {}, std::vector<double> floats = {},
                      Tolerance tolerance = {}) {
  Target expected(dtype, shape), got(dtype, shape);
  Result result;
  result.cpu = cpu::testing::run(cpu::find_kernel(op), inputs, expected.array, ints, floats);
  Params params;
  params.ints = std::move(ints);
  params.floats = std::move(floats);
  std::vector<Operand> operands;
  for (Array* a : inputs) operands.push_back(operand_of(*a));
  const Operand output = operand_of(got.array);
  DirectEncoder encoder;
  const Kernel kernel = find_kernel(op);
  CHECK(kernel != nullptr);
  kernel(Launch{params, operands, output, false, encoder});
  const std::string what = describe(op, inputs);
  if (encoder.failed()) {
    std::fprintf(stderr, "%s: failed with %s\n", what.c_str(), name(encoder.failure.code));
    std::abort();
  }
  result.metal_fault = encoder.fault_word;
  result.dispatches = encoder.dispatches;
  const bool cpu_failed = result.cpu.code != Code::none;
  if (cpu_failed != (encoder.fault_word != 0xffffffffu)) {
    std::fprintf(stderr, "%s: fault word %x on Metal, %s on the CPU\n", what.c_str(),
                 encoder.fault_word, name(result.cpu.code));
    std::abort();
  }
  if (!cpu_failed) check_same(expected, got, tolerance, what);
  return result;
}

}  // namespace nitinol::metal::testing
