// Fused programs of one instruction on the emulated Metal.
#pragma once

#include <string>
#include <vector>

#include "compare.h"

namespace nitinol::metal::testing {

// All that Metal has.
inline constexpr DType dtypes[] = {DType::bool_,  DType::int8,    DType::int16,   DType::int32,
                                   DType::int64,  DType::uint8,   DType::uint16,  DType::uint32,
                                   DType::uint64, DType::float16, DType::float32, DType::complex64};

struct Run {
  Fault failure;
  std::uint32_t fault = 0xffffffffu;
  int dispatches = 0;
  std::string text;
};

inline Run run_on_metal(const Program& program, const std::vector<Array*>& inputs,
                        std::vector<Target>& outputs) {
  std::vector<Operand> in, out;
  for (Array* a : inputs) in.push_back(operand_of(*a));
  for (Target& t : outputs) out.push_back(operand_of(t.array));
  DirectEncoder encoder;
  launch_program(program, in, out, encoder);
  return {encoder.failure, encoder.fault_word, encoder.dispatches, encoder.last_text};
}

// One instruction over arrays of one shape.
inline Run run_op(Op op, DType in, DType out, const std::vector<Array*>& inputs, Target& output) {
  Instruction step{op,
                   in,
                   out,
                   static_cast<std::uint8_t>(inputs.size()),
                   static_cast<std::uint16_t>(inputs.size()),
                   {0, 1, 2}};
  Program program;
  program.code = {&step, 1};
  program.inputs = static_cast<std::uint16_t>(inputs.size());
  program.outputs = 1;
  std::vector<Target> outputs;
  outputs.push_back(std::move(output));
  const Run run = run_on_metal(program, inputs, outputs);
  output = std::move(outputs[0]);
  return run;
}

inline double element(const Array& a, std::size_t i) {
  const char* p = a.storage.data() + i * itemsize(a.dtype);
  if (a.dtype == DType::float16) return cpu::to_float(*reinterpret_cast<const float16*>(p));
  return *reinterpret_cast<const float*>(p);
}

inline void set(Array& a, std::size_t i, double v) {
  char* p = a.storage.data() + i * itemsize(a.dtype);
  if (a.dtype == DType::float16) {
    *reinterpret_cast<float16*>(p) = cpu::to_half(v);
  } else {
    *reinterpret_cast<float*>(p) = static_cast<float>(v);
  }
}

}  // namespace nitinol::metal::testing
