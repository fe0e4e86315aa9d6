// The interpreter of fused programs, and the loops it calls.
#pragma once

#include <span>

#include "kernel.h"
#include "loops.h"
#include "nitinol/program.h"

namespace nitinol::cpu {

// One inner loop with what it wants to be called with. NumPy's have a context and
// auxiliary data of their own; ours take a LoopContext made per call.
struct Loop {
  StridedLoop run;
  void* context;
  void* auxiliary;
  bool own;
};

// Tells the interpreter of one of NumPy's loops. The caller keeps alive what it
// points to, for ever.
void register_loop(Op op, DType in, const Loop& loop);
// Ours if there is one, else NumPy's; `run` is null when there is neither.
Loop loop_for(Op op, DType in, DType out) noexcept;

// Inputs broadcast to the shape of the outputs, which are row-major.
void run_program(const Program& program, std::span<const View> inputs,
                 std::span<const View> outputs, FaultSlot& fault) noexcept;

}  // namespace nitinol::cpu
