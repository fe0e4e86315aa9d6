// Runs one op by the CPU's kernel and by Metal's (through the emulator's compiler), on the same
// arrays, and compares what they leave.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "compare.h"

namespace nitinol::metal::testing {

using cpu::testing::pick;
using cpu::testing::product;
using cpu::testing::random_array;
using cpu::testing::random_shape;

struct Case {
  Op op;
  std::vector<Array*> inputs;
  Shape shape;  // of the output
  DType dtype;
  std::vector<std::int64_t> ints{};
  std::vector<double> floats{};
  bool in_place = false;  // inputs[0] is dense, and the output takes over its elements
};

struct Result {
  Array expected, got;
  Fault fault;             // of the CPU
  std::uint32_t position;  // in Metal's fault word
  int dispatches;

  bool failed() const { return position != 0xffffffffu; }
};

inline Result run_both(const Case& c) {
  constexpr std::size_t guard = 64;
  Result result;
  Params params;
  params.ints = c.ints;
  params.floats = c.floats;

  Array expected = c.in_place ? *c.inputs[0] : cpu::testing::empty(c.dtype, c.shape);
  const std::vector<char> before = expected.storage;
  std::vector<cpu::View> views;
  for (Array* a : c.inputs) views.push_back(a->view());
  if (c.in_place) views[0] = expected.view();
  const cpu::View out = expected.view();
  FaultSlot slot;
  cpu::find_kernel(c.op)(cpu::Launch{params, views, out, slot, c.in_place});
  result.fault = slot.failed() ? slot.get() : Fault{};

  // What lies around the output must stay as it is.
  std::vector<char> storage(expected.storage.size() + 2 * guard, 0x3c);
  if (c.in_place) std::copy(before.begin(), before.end(), storage.begin() + guard);
  std::vector<Operand> operands;
  for (Array* a : c.inputs) operands.push_back(operand_of(*a));
  const Operand output{storage.data(), guard, &expected.layout, c.dtype};
  if (c.in_place) operands[0] = output;
  DirectEncoder encoder;
  const Kernel kernel = find_kernel(c.op);
  CHECK(kernel != nullptr);
  kernel(Launch{params, operands, output, c.in_place, encoder});
  if (encoder.failed()) {
    std::fprintf(stderr, "%s: failed with %s\n", describe(c.op, c.inputs).c_str(),
                 name(encoder.failure.code));
    CHECK(false);
  }
  for (std::size_t i = 0; i < guard; ++i) {
    CHECK(storage[i] == 0x3c && storage[storage.size() - 1 - i] == 0x3c);
  }
  result.position = encoder.fault_word;
  result.dispatches = encoder.dispatches;
  result.got = expected;
  std::copy_n(storage.begin() + guard, expected.storage.size(), result.got.storage.begin());
  result.expected = std::move(expected);
  return result;
}

// Without an error. Tolerance 0: the same bits; otherwise so much of the expected value, and of 1.
inline Result check(const Case& c, double tolerance, const char* what) {
  Result r = run_both(c);
  if (r.fault.code != Code::none || r.failed()) {
    std::fprintf(stderr, "%s: %s on the CPU, position %u on Metal\n", what, name(r.fault.code),
                 r.position);
    CHECK(false);
  }
  const std::size_t bytes = r.expected.storage.size();
  check_near(r.expected, r.got, bytes, {tolerance, tolerance}, what);
  if (tolerance == 0 && r.expected.storage != r.got.storage) {
    std::fprintf(stderr, "%s: other bits\n", what);
    CHECK(false);
  }
  return r;
}

// Both must agree that a fault was met; without one the outputs must be near.
inline void compare(Op op, const std::vector<Array*>& inputs, DType dtype, const Shape& shape,
                    std::vector<std::int64_t> ints = {}, std::vector<double> floats = {},
                    Tolerance tolerance = {}) {
  const Result r = run_both({op, inputs, shape, dtype, std::move(ints), std::move(floats)});
  const std::string what = describe(op, inputs);
  if ((r.fault.code != Code::none) != r.failed()) {
    std::fprintf(stderr, "%s: fault word %x on Metal, %s on the CPU\n", what.c_str(), r.position,
                 name(r.fault.code));
    CHECK(false);
  }
  if (!r.failed()) check_near(r.expected, r.got, r.expected.storage.size(), tolerance, what);
}

// Both report an error, Metal at this position.
inline void check_fault(const Case& c, Code code, std::uint64_t position) {
  const Result result = run_both(c);
  CHECK(result.fault.code == code);
  CHECK(result.position == position);
}

template <class T>
Array array_of(DType dtype, const Shape& shape, const std::vector<T>& values) {
  Array a = cpu::testing::empty(dtype, shape);
  CHECK(a.storage.size() == values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(a.storage.data(), values.data(), a.storage.size());
  return a;
}

inline Array scalar(std::int64_t value) {
  return array_of<std::int64_t>(DType::int64, {}, {value});
}

inline DType one_of(std::initializer_list<DType> dtypes) {
  return dtypes.begin()[pick(0, static_cast<std::int64_t>(dtypes.size()) - 1)];
}

// Numbers in [low, high), any strides unless dense.
inline Array random_numbers(DType dtype, const Shape& shape, double low, double high,
                            bool dense = false) {
  Array a = random_array(dtype, shape, dense);
  std::uniform_real_distribution<double> values(low, high);
  auto& generator = cpu::testing::generator;
  dispatch(dtype, [&]<class T>(std::type_identity<T>) {
    for (std::size_t i = 0; i < a.storage.size() / sizeof(T); ++i) {
      if constexpr (requires(T v) { v.real(); }) {
        using Real = typename T::value_type;
        a.data<T>()[i] = {static_cast<Real>(values(generator)),
                          static_cast<Real>(values(generator))};
      } else {
        a.data<T>()[i] = static_cast<T>(values(generator));
      }
    }
  });
  return a;
}

}  // namespace nitinol::metal::testing
