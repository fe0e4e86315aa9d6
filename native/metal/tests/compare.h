// What tests of kernels compare with: outputs of the CPU and of the emulated Metal, element by
// element; and the choice of tests on the command line.
#pragma once

#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
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

// The allowed difference: `relative` of the expected number, and `absolute`.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

inline bool near(double expected, double got, Tolerance t) {
  if (std::isnan(expected) || std::isnan(got)) return std::isnan(expected) && std::isnan(got);
  if (expected == got) return true;
  if (std::isinf(expected) || std::isinf(got)) return false;
  return std::fabs(expected - got) <= t.relative * std::fabs(expected) + t.absolute;
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

// The first `bytes` of dense arrays.
inline void check_near(const Array& expected, const Array& got, std::size_t bytes, Tolerance t,
                       const std::string& what) {
  const std::size_t item = itemsize(expected.dtype);
  for (std::size_t i = 0; i < bytes; i += item) {
    const char* a = expected.storage.data() + i;
    const char* b = got.storage.data() + i;
    if (near_elements(a, b, expected.dtype, t)) continue;
    std::fprintf(stderr, "%s: element %zu of %s is %s on Metal and %s on the CPU\n", what.c_str(),
                 i / item, name(expected.dtype), text_of(b, expected.dtype).c_str(),
                 text_of(a, expected.dtype).c_str());
    std::abort();
  }
}

inline void check_same(const Target& cpu_result, const Target& metal_result, Tolerance t,
                       const std::string& what) {
  check_near(cpu_result.array, metal_result.array, cpu_result.bytes, t, what);
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

struct NamedTest {
  const char* name;
  void (*run)();
};

// The one that the command line names, or all.
inline void run_tests(int count, char** names, std::initializer_list<NamedTest> tests) {
  for (const NamedTest& test : tests) {
    if (count > 1 && std::string(names[1]) != test.name) continue;
    std::fprintf(stderr, "%s\n", test.name);
    test.run();
  }
}

}  // namespace nitinol::metal::testing
