// Building nodes: broadcasting, casts, and the check that a shape can be described.
#include "nitinol/graph.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace nitinol {

std::mutex& graph_lock() noexcept {
  static auto* lock = new std::mutex;
  return *lock;
}

Layout checked_layout(std::span<const std::int64_t> shape, DType dtype) {
  std::int64_t bytes = static_cast<std::int64_t>(itemsize(dtype));
  bool empty = false;
  for (std::int64_t n : shape) empty = empty || n == 0;
  for (std::int64_t n : shape) {
    if (!empty && __builtin_mul_overflow(bytes, n, &bytes)) {
      throw std::invalid_argument("The array has more than 2**63 - 1 bytes.");
    }
  }
  return Layout(shape);
}

Ref<Node> make_elementwise(Op op, DType in, DType out, std::span<Node* const> inputs,
                           Stream* stream) {
  // The usual case, worth some 20 ns an operator: nothing to cast, nothing to broadcast.
  if (inputs.size() == 2 && inputs[0]->dtype() == in && inputs[1]->dtype() == in &&
      itemsize(out) <= itemsize(in) && inputs[0]->layout().same_shape(inputs[1]->layout()) &&
      inputs[0]->layout().contiguous() && inputs[0]->layout().offset() == 0) {
    return Node::make_like(op, out, inputs[0]->layout(), stream, inputs);
  }
  Ref<Node> cast[3];
  std::array<Node*, 3> operand{};
  int ndim = 0;
  bool same = true;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    operand[i] = inputs[i];
    ndim = std::max(ndim, inputs[i]->layout().ndim());
    same = same && inputs[i]->layout().same_shape(inputs[0]->layout());
    if (inputs[i]->dtype() != in && !(op == Op::where && i == 0) && op != Op::cast) {
      cast[i] =
          Node::make(Op::cast, in, Layout(inputs[i]->layout().shape()), stream, {&operand[i], 1});
      operand[i] = cast[i].get();
    }
  }
  const std::span<Node* const> operands(operand.data(), inputs.size());
  if (same && itemsize(out) <= itemsize(inputs[0]->dtype())) {
    return Node::make(op, out, Layout(inputs[0]->layout().shape()), stream, operands);
  }
  std::array<std::int64_t, max_ndim> shape;
  std::fill_n(shape.begin(), ndim, 1);
  for (Node* input : inputs) {
    const Layout& layout = input->layout();
    const int lead = ndim - layout.ndim();
    for (int axis = 0; axis < layout.ndim(); ++axis) {
      const std::int64_t n = layout.shape(axis);
      std::int64_t& common = shape[lead + axis];
      if (n == common || n == 1) continue;
      if (common != 1) return nullptr;
      common = n;
    }
  }
  return Node::make(op, out, checked_layout({shape.data(), static_cast<std::size_t>(ndim)}, out),
                    stream, operands);
}

}  // namespace nitinol
