// Fused programs printed as Metal kernels: casts, faults, and programs of any shape, length and
// number of operands against the CPU's interpreter.
#include <algorithm>
#include <functional>
#include <utility>

#include "cpu/program.h"
#include "program_run.h"

using namespace nitinol;
using namespace nitinol::metal::testing;
using nitinol::cpu::testing::generator;
using nitinol::cpu::testing::pick;
using nitinol::cpu::testing::random_array;
using nitinol::cpu::testing::random_shape;

namespace {

// Every pair of dtypes, with what the CPU makes of it, bit for bit.
void test_casts() {
  for (const DType in : dtypes) {
    const std::int64_t n = 600;
    Array x = random_array(in, {n}, true);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::size_t at = static_cast<std::size_t>(i) * itemsize(in);
      const std::uint64_t bits = generator() >> pick(0, 63);
      if (is_integer(in)) std::memcpy(x.storage.data() + at, &bits, itemsize(in));
      const double v = i < 30    ? (i % 2 ? -1 : 1) * std::ldexp(1.0, static_cast<int>(5 * (i / 2)))
                       : i < 60  ? std::ldexp(1.0, static_cast<int>(i)) - 1
                       : i == 60 ? std::nan("")
                       : i == 61 ? HUGE_VAL
                       : i == 62 ? -HUGE_VAL
                                 : std::ldexp(static_cast<double>(pick(-1000, 1000)),
                                              static_cast<int>(pick(-20, 56)));
      if (in == DType::float16 || in == DType::float32) set(x, static_cast<std::size_t>(i), v);
      if (in == DType::complex64) {
        x.data<complex64>()[i] = {static_cast<float>(i % 5 == 0 ? 0 : v),
                                  static_cast<float>(i % 2)};
      }
    }
    for (const DType out : dtypes) {
      Target expected(out, {n}), got(out, {n});
      Instruction step{Op::cast, in, out, 1, 1, {0, 0, 0}};
      Program program;
      program.code = {&step, 1};
      program.inputs = program.outputs = 1;
      const cpu::View from = x.view(), to = expected.array.view();
      FaultSlot fault;
      cpu::run_program(program, {&from, 1}, {&to, 1}, fault);
      CHECK(run_op(Op::cast, in, out, {&x}, got).failure.code == Code::none);
      check_same(expected, got, {}, std::string("cast from ") + name(in));
    }
  }
}

// Integer powers, and which element is told when an exponent is negative.
void test_power() {
  for (const DType dtype : dtypes) {
    if (!is_integer(dtype)) continue;
    Array x = random_array(dtype, {500}, true), y = random_array(dtype, {500}, true);
    Target expected(dtype, {500}), got(dtype, {500});
    Instruction step{Op::power, dtype, dtype, 2, 2, {0, 1, 0}};
    Program program;
    program.code = {&step, 1};
    program.inputs = 2;
    program.outputs = 1;
    const cpu::View in[] = {x.view(), y.view()}, out = expected.array.view();
    FaultSlot fault;
    cpu::run_program(program, in, {&out, 1}, fault);
    CHECK(run_op(Op::power, dtype, dtype, {&x, &y}, got).fault == 0xffffffffu);
    check_same(expected, got, {}, "power");
    if (!is_signed_integer(dtype)) continue;
    for (const std::int64_t place : {470, 123, 499}) {
      std::memset(y.storage.data() + static_cast<std::size_t>(place) * itemsize(dtype), 0xff,
                  itemsize(dtype));
    }
    CHECK(run_op(Op::power, dtype, dtype, {&x, &y}, got).fault == 123);
  }
}

// Loops in the shape of NumPy's for the CPU's interpreter; 64-bit integers wrap.
template <class F>
int loop(void*, char* const* data, const std::intptr_t* count, const std::intptr_t* strides,
         void*) {
  for (std::intptr_t i = 0; i < *count; ++i) {
    const auto x = *reinterpret_cast<std::uint64_t*>(data[0] + i * strides[0]);
    const auto y = *reinterpret_cast<std::uint64_t*>(data[1] + i * strides[1]);
    *reinterpret_cast<std::uint64_t*>(data[2] + i * strides[2]) = F{}(x, y);
  }
  return 0;
}

// Once: what is registered a second time leaves the first to leak.
void register_loops() {
  static bool done = false;
  if (std::exchange(done, true)) return;
  cpu::register_loop(Op::bitwise_xor, DType::uint64,
                     {loop<std::bit_xor<std::uint64_t>>, nullptr, nullptr, false});
  cpu::register_loop(Op::add, DType::uint64,
                     {loop<std::plus<std::uint64_t>>, nullptr, nullptr, false});
  cpu::register_loop(Op::multiply, DType::uint64,
                     {loop<std::multiplies<std::uint64_t>>, nullptr, nullptr, false});
}

// Any broadcasting, layout, number of operands and length; dtypes are mixed by casts.
void test_random_programs() {
  register_loops();
  constexpr Op ops[] = {Op::bitwise_xor, Op::add, Op::multiply};
  for (int round = 0; round < 16; ++round) {
    const bool many = round % 4 == 3;
    Shape shape = random_shape(static_cast<int>(pick(0, 4)), round % 5 == 0 ? 30 : 6);
    if (round == 6) shape = Shape(40, 1), shape[3] = 3, shape[20] = 4, shape[39] = 2;
    const auto inputs = static_cast<std::uint16_t>(many ? pick(30, 80) : pick(2, 6));
    const auto outputs = static_cast<std::uint16_t>(many ? pick(1, 40) : pick(1, 3));
    const auto registers = static_cast<std::uint16_t>(many ? pick(2, 60) : 3);
    std::vector<Array> arrays;
    for (int i = 0; i < inputs; ++i) {
      Shape own = shape;
      while (!own.empty() && pick(0, 4) == 0) own.erase(own.begin());
      for (std::int64_t& extent : own) extent = pick(0, 4) == 0 ? 1 : extent;
      // The first is the condition of where.
      arrays.push_back(random_array(i == 0 ? DType::bool_ : DType::uint64, own, pick(0, 1)));
    }
    std::vector<Instruction> code;
    std::vector<std::uint16_t> known;
    for (std::uint16_t i = 1; i < inputs; ++i) known.push_back(i);
    std::vector<DType> holds(std::size_t{inputs} + outputs + registers, DType::uint64);
    const auto any = [&] {
      return known[static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(known.size()) - 1))];
    };
    const std::int64_t length = many ? pick(100, 300) : pick(1, 20);
    for (std::int64_t k = 0; k < length + outputs; ++k) {
      const auto target = static_cast<std::uint16_t>(
          k >= length ? inputs + (k - length) : inputs + outputs + pick(0, registers - 1));
      Instruction step{ops[pick(0, 2)], DType::uint64, DType::uint64, 2, target, {any(), any(), 0}};
      // A register holds another dtype of its size for a while.
      if (k < length && pick(0, 5) == 0) {
        step = {Op::cast, DType::uint64, DType::int64, 1, target, {any(), 0, 0}};
      }
      if (pick(0, 9) == 0) {
        step = {Op::where, DType::uint64, DType::uint64, 3, target, {0, any(), any()}};
      }
      for (int s = step.op == Op::where ? 1 : 0; s < step.arity; ++s) {
        std::uint16_t& source = step.source[s];
        while (holds[source] != step.in) source = static_cast<std::uint16_t>(pick(1, inputs - 1));
      }
      holds[target] = step.out;
      code.push_back(step);
      if (std::find(known.begin(), known.end(), target) == known.end()) known.push_back(target);
    }
    const std::vector<DType> room(registers, DType::uint64);
    Program program;
    program.code = code;
    program.registers = room;
    program.inputs = inputs;
    program.outputs = outputs;
    std::vector<Target> expected, got;
    for (int i = 0; i < outputs; ++i) {
      expected.emplace_back(DType::uint64, shape);
      got.emplace_back(DType::uint64, shape);
    }
    std::vector<Array*> in;
    std::vector<cpu::View> views, targets;
    for (Array& a : arrays) in.push_back(&a), views.push_back(a.view());
    for (Target& t : expected) targets.push_back(t.array.view());
    FaultSlot fault;
    cpu::run_program(program, views, targets, fault);
    CHECK(!fault.failed());
    const Run run = run_on_metal(program, in, got);
    CHECK(run.failure.code == Code::none && run.fault == 0xffffffffu);
    for (int i = 0; i < outputs; ++i) {
      check_same(expected[static_cast<std::size_t>(i)], got[static_cast<std::size_t>(i)], {},
                 "program " + std::to_string(round));
    }
  }
}

// So many strided operands of so many dimensions that their strides are more than a kernel may
// get: some are copied first. And a sum of more operands than a kernel may have.
void test_many_operands() {
  register_loops();
  struct Case {
    int inputs;
    Shape shape;
    int dispatches;  // at least
  };
  for (const Case& c : {Case{27, Shape(19, 2), 2}, Case{90, {3, 5}, 4}}) {
    std::vector<Array> arrays;
    for (int i = 0; i < c.inputs; ++i) {
      Array a = random_array(DType::uint64, {64}, true);
      Shape strides(c.shape.size(), 0);
      std::int64_t step = 1;
      for (int k = 0; k < 3 && c.shape.size() > 3; ++k, step *= 2) {
        strides[static_cast<std::size_t>(pick(0, 18))] = step;
      }
      a.layout = Layout(c.shape, strides, pick(0, 40));
      arrays.push_back(std::move(a));
    }
    std::vector<Instruction> code;
    const auto n = static_cast<std::uint16_t>(c.inputs);
    for (std::uint16_t i = 1; i < n; ++i) {
      const auto before = static_cast<std::uint16_t>(i == 1 ? 0 : n + 1);
      const auto target = static_cast<std::uint16_t>(i + 1 == n ? n : n + 1);
      code.push_back({Op::add, DType::uint64, DType::uint64, 2, target, {before, i, 0}});
    }
    const DType room = DType::uint64;
    Program program;
    program.code = code;
    program.registers = {&room, 1};
    program.inputs = n;
    program.outputs = 1;
    Target expected(DType::uint64, c.shape);
    std::vector<Target> got;
    got.emplace_back(DType::uint64, c.shape);
    std::vector<Array*> in;
    std::vector<cpu::View> views;
    for (Array& a : arrays) in.push_back(&a), views.push_back(a.view());
    const cpu::View to = expected.array.view();
    FaultSlot fault;
    cpu::run_program(program, views, {&to, 1}, fault);
    const Run run = run_on_metal(program, in, got);
    CHECK(run.failure.code == Code::none && run.dispatches >= c.dispatches);
    check_same(expected, got[0], {}, "many operands");
  }
}

// Equal structures give equal texts, whatever the shapes; unlike ones don't.
void test_texts() {
  const auto text = [](const Shape& shape, bool dense) {
    Array x = cpu::testing::empty(DType::float32, shape), y = x;
    if (!dense) {
      Shape strides(shape.size(), 1);
      for (std::size_t d = shape.size() - 1; d-- > 0;)
        strides[d] = strides[d + 1] * (shape[d + 1] + 1);
      x.layout = Layout(shape, strides, 0);
      x.storage.resize(1 << 16);
    }
    Target out(DType::float32, shape);
    return run_op(Op::add, DType::float32, DType::float32, {&x, &y}, out).text;
  };
  CHECK(text({7, 5}, true) == text({100}, true));
  CHECK(text({7, 5}, false) == text({3, 9}, false));
  CHECK(text({7, 5}, true) != text({7, 5}, false));
}

void test_refusals() {
  Array x = random_array(DType::float64, {4}, true);
  Target out(DType::float64, {4});
  CHECK(run_op(Op::exp, DType::float64, DType::float64, {&x}, out).failure.code == Code::internal);
  Array z = random_array(DType::complex64, {4}, true);
  Target bools(DType::bool_, {4});
  CHECK(run_op(Op::less, DType::complex64, DType::bool_, {&z, &z}, bools).failure.code ==
        Code::internal);
  Array empty = random_array(DType::float32, {0, 3}, true);
  Target none(DType::float32, {0, 3});
  CHECK(run_op(Op::exp, DType::float32, DType::float32, {&empty}, none).dispatches == 0);
}

}  // namespace

int main(int count, char** names) {
  run_tests(count, names,
            {
                {"casts", test_casts},
                {"power", test_power},
                {"random_programs", test_random_programs},
                {"many_operands", test_many_operands},
                {"texts", test_texts},
                {"refusals", test_refusals},
            });
}
