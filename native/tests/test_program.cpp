// Tests of fused programs on the CPU: whatever is broadcast, packed, cut into blocks or spread over
// threads, each element is what recursion over the program says.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "cpu/pool.h"
#include "cpu/program.h"

using namespace nitinol;
using namespace nitinol::cpu;

namespace {

// Loops in the shape of NumPy's; 64-bit integers wrap.
template <class F>
int binary(void*, char* const* data, const std::intptr_t* count, const std::intptr_t* strides,
           void*) {
  for (std::intptr_t i = 0; i < *count; ++i) {
    const auto x = *reinterpret_cast<std::uint64_t*>(data[0] + i * strides[0]);
    const auto y = *reinterpret_cast<std::uint64_t*>(data[1] + i * strides[1]);
    *reinterpret_cast<std::uint64_t*>(data[2] + i * strides[2]) = F{}(x, y);
  }
  return 0;
}
using U = std::uint64_t;
struct Xor {
  U operator()(U x, U y) const { return x ^ y; }
};
struct Or {
  U operator()(U x, U y) const { return x | (y + 1); }
};

std::uint64_t apply(Op op, std::uint64_t x, std::uint64_t y) {
  return op == Op::bitwise_xor ? Xor{}(x, y) : Or{}(x, y);
}

struct Array {
  std::vector<std::uint64_t> storage;
  Layout layout;
  View view() {
    return {reinterpret_cast<char*>(storage.data() + layout.offset()), &layout, DType::uint64};
  }
  // With the indices of an array of this shape.
  std::uint64_t at(std::span<const std::int64_t> shape, std::int64_t flat) const {
    std::int64_t place = layout.offset();
    for (int axis = static_cast<int>(shape.size()) - 1; axis >= 0; --axis) {
      const int own = axis - static_cast<int>(shape.size()) + layout.ndim();
      const std::int64_t index = flat % shape[axis];
      flat /= shape[axis];
      if (own >= 0 && layout.shape(own) != 1) place += index * layout.stride(own);
    }
    return storage[static_cast<std::size_t>(place)];
  }
};

// Broadcast, flipped, with gaps, or as it lies.
Array operand(std::mt19937& random, std::span<const std::int64_t> shape) {
  Array made;
  std::vector<std::int64_t> own(shape.begin(), shape.end());
  while (!own.empty() && random() % 4 == 0) own.erase(own.begin());
  std::vector<std::int64_t> strides(own.size());
  std::int64_t step = 1;
  std::int64_t offset = 0;
  const bool plain = random() % 2;
  for (std::size_t axis = own.size(); axis-- > 0;) {
    if (!plain && random() % 4 == 0) own[axis] = 1;
    strides[axis] = step;
    if (!plain && random() % 4 == 0) strides[axis] = 0;
    if (!plain && random() % 4 == 0) {
      offset += (own[axis] - 1) * step;
      strides[axis] = -step;
    }
    step *= own[axis];
    if (!plain && random() % 3 == 0) step += 2;
  }
  made.storage.resize(static_cast<std::size_t>(step) + 1);
  for (std::uint64_t& x : made.storage) x = random();
  made.layout = Layout(own, strides, offset);
  return made;
}

void test_random(unsigned seed) {
  std::fprintf(stderr, "test_random: seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 60; ++round) {
    set_concurrency(1 + round % 3);
    std::vector<std::int64_t> shape;
    const bool large = round % 6 == 0;
    for (unsigned n = random() % (large ? 2 : 4); n > 0; --n) {
      shape.push_back(1 + random() % (large ? 60 : 9));
    }
    if (large) shape.push_back(300);
    const auto inputs = static_cast<std::uint16_t>(1 + random() % 5);
    const auto outputs = static_cast<std::uint16_t>(1 + random() % 3);
    const std::uint16_t registers = 3;
    std::vector<Array> arrays;
    std::vector<View> in, out;
    for (int i = 0; i < inputs; ++i) arrays.push_back(operand(random, shape));
    for (int i = 0; i < outputs; ++i) {
      Array made;
      made.layout = Layout(shape);
      made.storage.assign(static_cast<std::size_t>(made.layout.size()) + 1, 99);
      arrays.push_back(std::move(made));
    }
    for (int i = 0; i < inputs + outputs; ++i) {
      (i < inputs ? in : out).push_back(arrays[static_cast<std::size_t>(i)].view());
    }
    // Registers are overwritten at will, in place too; each output is written once, then read.
    std::vector<Instruction> code;
    std::vector<std::uint16_t> known;
    for (std::uint16_t i = 0; i < inputs; ++i) known.push_back(i);
    const std::size_t length = 3 + random() % (large ? 10 : 40);
    for (std::size_t k = 0; k < length + outputs; ++k) {
      const auto target = static_cast<std::uint16_t>(
          k >= length ? inputs + k - length : inputs + outputs + random() % registers);
      Instruction step{random() % 2 ? Op::bitwise_xor : Op::bitwise_or,
                       DType::uint64,
                       DType::uint64,
                       2,
                       target,
                       {known[random() % known.size()], known[random() % known.size()], 0}};
      code.push_back(step);
      if (std::find(known.begin(), known.end(), target) == known.end()) known.push_back(target);
    }
    const std::vector<DType> room(registers, DType::uint64);
    Program program;
    program.code = code;
    program.registers = room;
    program.inputs = inputs;
    program.outputs = outputs;
    FaultSlot fault;
    run_program(program, in, out, fault);
    CHECK(!fault.failed());
    const std::int64_t size = out[0].layout->size();
    std::vector<std::uint64_t> slot(std::size_t{inputs} + outputs + registers);
    for (std::int64_t e = 0; e < size; ++e) {
      for (std::size_t i = 0; i < inputs; ++i) slot[i] = arrays[i].at(shape, e);
      for (const Instruction& step : code) {
        slot[step.target] = apply(step.op, slot[step.source[0]], slot[step.source[1]]);
      }
      for (std::size_t i = inputs; i < std::size_t{inputs} + outputs; ++i) {
        CHECK(arrays[i].storage[static_cast<std::size_t>(e)] == slot[i]);
      }
    }
    for (std::size_t i = inputs; i < arrays.size(); ++i) CHECK(arrays[i].storage.back() == 99);
  }
}

// No loop for an operation is a fault, and so is what a loop of ours reports, wherever the block.
void test_faults() {
  Instruction step{Op::gather, DType::uint64, DType::uint64, 2, 1, {0, 0, 0}};
  Program program;
  program.code = {&step, 1};
  program.inputs = program.outputs = 1;
  Array x, y;
  const std::int64_t shape[] = {20000};
  x.layout = y.layout = Layout(shape);
  x.storage.assign(20000, 3);
  y.storage.assign(20000, 0);
  const View in = x.view(), out = y.view();
  {
    FaultSlot fault;
    run_program(program, {&in, 1}, {&out, 1}, fault);
    CHECK(fault.failed() && fault.get().code == Code::internal);
  }
  // The first of several negative exponents is told, on any number of threads.
  x.storage[17000] = static_cast<std::uint64_t>(-5);
  x.storage[19999] = static_cast<std::uint64_t>(-7);
  step = {Op::power, DType::int64, DType::int64, 2, 1, {0, 0, 0}};
  for (int threads = 1; threads < 4; ++threads) {
    set_concurrency(threads);
    FaultSlot fault;
    run_program(program, {&in, 1}, {&out, 1}, fault);
    CHECK(fault.failed() && fault.get().code == Code::negative_power);
    CHECK(fault.get().args[0] == -5);
  }
}

}  // namespace

int main() {
  register_loop(Op::bitwise_xor, DType::uint64, {binary<Xor>, nullptr, nullptr, false});
  register_loop(Op::bitwise_or, DType::uint64, {binary<Or>, nullptr, nullptr, false});
  test_random(5);
  test_random(std::random_device{}());
  test_faults();
}
