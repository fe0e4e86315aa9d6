// Running a fused program: block by block, so that registers stay in the cache.
#include "program.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>

#include "pool.h"

namespace nitinol::cpu {

namespace {

std::atomic<const Loop*> registered[op_count][dtype_count];

constexpr int max_slots = 5 * max_instructions;  // three operands, an output, a register each
// What the registers and operands of a block may take: most of a first-level cache.
constexpr std::int64_t block_bytes = 40 * 1024;
constexpr std::int64_t min_block = 256;
constexpr std::int64_t max_block = 8192;
// Below this a hand-over to another thread costs more than it saves.
constexpr std::int64_t grain_work = 48 * 1024;

struct Slot {
  char* base;            // element 0; of a register, its offset from the registers' start
  std::int64_t step;     // bytes from element to element inside a block
  std::int64_t advance;  // bytes from the start of a block per element before it
  const Layout* gather;  // not null: an input that is copied to a register block by block
};

// Copies elements [begin, end) of the row-major walk over `shape` from a strided or
// broadcast operand into a dense block.
template <std::size_t size>
void pack(const Layout& source, std::span<const std::int64_t> shape, const char* base,
          std::int64_t begin, std::int64_t end, char* target) noexcept {
  const int ndim = static_cast<int>(shape.size());
  const int lead = ndim - source.ndim();
  std::array<std::int64_t, max_ndim> index;
  std::array<std::int64_t, max_ndim> stride;
  std::int64_t rest = begin;
  const char* at = base;
  for (int axis = ndim - 1; axis >= 0; --axis) {
    const bool moves = axis >= lead && source.shape(axis - lead) != 1;
    stride[axis] = moves ? source.stride(axis - lead) * static_cast<std::int64_t>(size) : 0;
    index[axis] = rest % shape[axis];
    rest /= shape[axis];
    at += index[axis] * stride[axis];
  }
  const std::int64_t inner = stride[ndim - 1];
  while (begin < end) {
    const std::int64_t run = std::min(end - begin, shape[ndim - 1] - index[ndim - 1]);
    if (inner == static_cast<std::int64_t>(size)) {
      std::memcpy(target, at, static_cast<std::size_t>(run) * size);
      target += run * static_cast<std::int64_t>(size);
    } else {
      const char* element = at;
      for (std::int64_t i = 0; i < run; ++i, element += inner, target += size) {
        std::memcpy(target, element, size);
      }
    }
    begin += run;
    // To the first element of the next row.
    at -= index[ndim - 1] * inner;
    index[ndim - 1] = 0;
    for (int axis = ndim - 2; axis >= 0; --axis) {
      at += stride[axis];
      if (++index[axis] < shape[axis]) break;
      at -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

void pack(DType dtype, const Layout& source, std::span<const std::int64_t> shape, const char* base,
          std::int64_t begin, std::int64_t end, char* target) noexcept {
  switch (itemsize(dtype)) {
    case 1:
      return pack<1>(source, shape, base, begin, end, target);
    case 2:
      return pack<2>(source, shape, base, begin, end, target);
    case 4:
      return pack<4>(source, shape, base, begin, end, target);
    case 8:
      return pack<8>(source, shape, base, begin, end, target);
    default:
      return pack<16>(source, shape, base, begin, end, target);
  }
}

// Everything about one run of one program that its blocks share.
class Run {
 public:
  Run(const Program& program, std::span<const View> inputs, std::span<const View> outputs,
      FaultSlot& fault) noexcept
      : program_(program), inputs_(inputs), outputs_(outputs), fault_(fault) {}

  void start() noexcept;

 private:
  bool find_loops() noexcept;
  void place() noexcept;
  void blocks(std::int64_t begin, std::int64_t end, char* registers) noexcept;
  void chunk(std::int64_t begin, std::int64_t end) noexcept;

  const Program& program_;
  std::span<const View> inputs_;
  std::span<const View> outputs_;
  FaultSlot& fault_;
  std::int64_t size_ = 0;
  std::int64_t block_ = 0;
  std::int64_t register_bytes_ = 0;
  int slots_ = 0;
  // Not initialised: most programs use a few of them.
  std::array<Slot, max_slots> slot_;
  std::array<Loop, max_instructions> loop_;
};

bool Run::find_loops() noexcept {
  for (std::size_t i = 0; i < program_.code.size(); ++i) {
    const Instruction& step = program_.code[i];
    loop_[i] = loop_for(step.op, step.in, step.out);
    if (!loop_[i].run) {
      fault_.raise(0, Code::internal, static_cast<int>(step.op), static_cast<int>(step.in));
      return false;
    }
  }
  return true;
}

// Decides the block size, then where each slot lies.
void Run::place() noexcept {
  std::int64_t width = 0;  // bytes that one element of a block takes over all slots
  slots_ = program_.inputs + program_.outputs + static_cast<int>(program_.registers.size());
  const auto packed = [&](const View& input) {
    return input.layout->size() != 1 &&
           !(input.layout->contiguous() && input.layout->size() == size_);
  };
  for (const View& input : inputs_) {
    if (input.layout->size() != 1) width += static_cast<std::int64_t>(itemsize(input.dtype));
  }
  for (const View& output : outputs_) width += static_cast<std::int64_t>(itemsize(output.dtype));
  for (DType dtype : program_.registers) width += static_cast<std::int64_t>(itemsize(dtype));
  const auto fitting = std::bit_floor(
      static_cast<std::uint64_t>(block_bytes / std::max<std::int64_t>(1, width)) | 1);
  block_ = std::clamp(static_cast<std::int64_t>(fitting), min_block, max_block);
  block_ = std::min(block_, size_);

  int at = 0;
  std::int64_t offset = 0;
  const auto reserve = [&](DType dtype) {
    const std::int64_t here = offset;
    offset += (block_ * static_cast<std::int64_t>(itemsize(dtype)) + 63) / 64 * 64;
    return reinterpret_cast<char*>(here);  // made absolute by each thread
  };
  for (const View& input : inputs_) {
    const auto item = static_cast<std::int64_t>(itemsize(input.dtype));
    Slot& slot = slot_[at++];
    if (packed(input)) {
      slot = {reserve(input.dtype), item, 0, input.layout};
    } else if (input.layout->size() == 1) {
      slot = {input.data, 0, 0, nullptr};
    } else {
      slot = {input.data, item, item, nullptr};
    }
  }
  for (const View& output : outputs_) {
    const auto item = static_cast<std::int64_t>(itemsize(output.dtype));
    slot_[at++] = {output.data, item, item, nullptr};
  }
  for (DType dtype : program_.registers) {
    slot_[at++] = {reserve(dtype), static_cast<std::int64_t>(itemsize(dtype)), 0, nullptr};
  }
  register_bytes_ = offset;
}

void Run::blocks(std::int64_t begin, std::int64_t end, char* registers) noexcept {
  const int first_register = program_.inputs + program_.outputs;
  const auto address = [&](int s, std::int64_t element) {
    const Slot& slot = slot_[s];
    if (s >= first_register || slot.gather) {
      return registers + reinterpret_cast<std::intptr_t>(slot.base);
    }
    return slot.base + element * slot.advance;
  };
  for (std::int64_t at = begin; at < end; at += block_) {
    const std::intptr_t count = std::min(block_, end - at);
    for (int i = 0; i < program_.inputs; ++i) {
      if (!slot_[i].gather) continue;
      pack(inputs_[i].dtype, *slot_[i].gather, outputs_[0].layout->shape(), inputs_[i].data, at,
           at + count, address(i, at));
    }
    LoopContext context{&fault_, at};
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const Instruction& step = program_.code[i];
      char* data[4];
      std::intptr_t strides[4];
      for (int k = 0; k < step.arity; ++k) {
        data[k] = address(step.source[k], at);
        strides[k] = slot_[step.source[k]].step;
      }
      data[step.arity] = address(step.target, at);
      strides[step.arity] = slot_[step.target].step;
      const Loop& loop = loop_[i];
      loop.run(loop.own ? static_cast<void*>(&context) : loop.context, data, &count, strides,
               loop.auxiliary);
    }
  }
}

void Run::chunk(std::int64_t begin, std::int64_t end) noexcept {
  constexpr std::int64_t on_stack = 4096;
  if (register_bytes_ <= on_stack) {
    alignas(64) char registers[on_stack];
    blocks(begin, end, registers);
    return;
  }
  const Scratch registers(static_cast<std::size_t>(register_bytes_));
  if (!registers) {
    fault_.raise(begin, Code::out_of_memory, register_bytes_);
    return;
  }
  blocks(begin, end, registers.as());
}

void Run::start() noexcept {
  size_ = outputs_[0].layout->size();
  if (size_ == 0 || !find_loops()) return;
  place();
  const auto steps = static_cast<std::int64_t>(program_.code.size());
  // Whole blocks a chunk, so that the cuts between blocks do not depend on it.
  const std::int64_t per_block = block_ * (steps + 1);
  const std::int64_t blocks_per_chunk = std::max<std::int64_t>(1, grain_work / per_block);
  const std::int64_t grain = blocks_per_chunk * block_;
  if (grain >= size_) {
    chunk(0, size_);
    return;
  }
  parallel_for(size_, grain, [this](std::int64_t begin, std::int64_t end) { chunk(begin, end); });
}

}  // namespace

void register_loop(Op op, DType in, const Loop& loop) {
  auto* entry = new Loop(loop);
  const Loop* before = registered[static_cast<int>(op)][static_cast<int>(in)].exchange(
      entry, std::memory_order_release);
  // A reader may still use the old entry: it stays, a few bytes once per loop.
  static_cast<void>(before);
}

Loop loop_for(Op op, DType in, DType out) noexcept {
  if (const StridedLoop own = find_loop(op, in, out)) return {own, nullptr, nullptr, true};
  const Loop* loop =
      registered[static_cast<int>(op)][static_cast<int>(in)].load(std::memory_order_acquire);
  return loop ? *loop : Loop{};
}

void run_program(const Program& program, std::span<const View> inputs,
                 std::span<const View> outputs, FaultSlot& fault) noexcept {
  Run(program, inputs, outputs, fault).start();
}

}  // namespace nitinol::cpu
