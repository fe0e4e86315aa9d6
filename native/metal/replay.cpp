// The search for what a kernel met.
#include "replay.h"

#include <memory>
#include <new>
#include <vector>

#include "cpu/kernel.h"
#include "cpu/program.h"
#include "nitinol/node.h"

namespace nitinol::metal {

namespace {

cpu::View view_of(Node& node) noexcept { return {node.data(), &node.layout(), node.dtype()}; }

// The number of valid keys lies outside the keys: the one thing attention may meet.
Fault attention(const Unit& unit) noexcept {
  const Node& valid = *unit.inputs.back();
  Fault fault;
  fault.code = Code::index_out_of_range;
  fault.args[0] = *reinterpret_cast<const std::int64_t*>(valid.data());
  fault.args[1] = 2;
  fault.args[2] = unit.inputs[1]->layout().shape(2);
  return fault;
}

Code usual(Op op) noexcept {
  switch (op) {
    case Op::take:
    case Op::take_along_axis:
    case Op::gather:
    case Op::scatter:
    case Op::quantized_take:
    case Op::attention:
      return Code::index_out_of_range;
    case Op::inv:
    case Op::solve:
      return Code::singular_matrix;
    case Op::cholesky:
      return Code::not_positive_definite;
    default:
      return info(op).elementwise ? Code::negative_power : Code::internal;
  }
}

}  // namespace

std::size_t uninvolved_inputs(Op op) noexcept {
  // The key-value cache of attention is what the next step would update in place.
  return op == Op::attention ? 3 : 0;
}

Fault replay(const Unit& unit) noexcept {
  for (std::size_t i = uninvolved_inputs(unit.op); i < unit.inputs.size(); ++i) {
    if (!unit.inputs[i]->buffer()) return {};
  }
  if (unit.op == Op::attention) return attention(unit);
  try {
    std::vector<cpu::View> inputs;
    std::vector<cpu::View> outputs;
    std::vector<std::unique_ptr<cpu::Scratch>> memory;
    for (Node* input : unit.inputs) inputs.push_back(view_of(*input));
    for (Node* output : unit.outputs) {
      memory.push_back(std::make_unique<cpu::Scratch>(output->bytes()));
      if (!*memory.back()) return {};
      outputs.push_back({memory.back()->as<char>(), &output->layout(), output->dtype()});
    }
    FaultSlot slot;
    if (unit.program) {
      cpu::run_program(*unit.program, inputs, outputs, slot);
    } else {
      static const Params no_params;
      const Params* params = unit.outputs[0]->params();
      const cpu::Kernel kernel = cpu::find_kernel(unit.op);
      if (!kernel) return {};
      kernel({params ? *params : no_params, inputs, outputs[0], slot});
    }
    return slot.failed() ? slot.get() : Fault{};
  } catch (const std::bad_alloc&) {
    return {};
  }
}

Fault fault_at(const Unit& unit, std::uint32_t position) noexcept {
  Fault fault;
  fault.code = usual(unit.op);
  fault.args[0] = position;
  return fault;
}

}  // namespace nitinol::metal
