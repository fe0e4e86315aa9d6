// Program: a fused chain of elementwise operations over registers. It knows no
// device: the CPU interprets it block by block, other devices print it as source.
#pragma once

#include <cstdint>
#include <span>

#include "nitinol/dtype.h"
#include "nitinol/op.h"

namespace nitinol {

// Slots are numbered inputs first, then outputs, then registers.
struct Instruction {
  Op op;
  DType in;  // of the operands after promotion (where: of x and y; cast: the source)
  DType out;
  std::uint8_t arity;
  std::uint16_t target;
  std::uint16_t source[3];
};

struct Program {
  std::span<const Instruction> code;
  std::span<const DType> registers;  // dtype that each register has room for
  std::uint16_t inputs = 0;
  std::uint16_t outputs = 0;
};

// Instructions a program may have; longer chains are cut into several.
inline constexpr int max_instructions = 512;

}  // namespace nitinol
