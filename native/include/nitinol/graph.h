// Building the graph, and its lock.
//
// The graph lock is one for the process. Planning, marking and enqueueing are one step
// under it, and so is resolution; kernels never run under it (small graphs that are run
// inline excepted). Lock order: graph lock, then a device's own locks. Building nodes
// takes no lock.
#pragma once

#include <mutex>
#include <span>

#include "nitinol/node.h"

namespace nitinol {

std::mutex& graph_lock() noexcept;

// The layout of an array of this shape; throws std::invalid_argument when its bytes do not
// fit in 63 bits.
Layout checked_layout(std::span<const std::int64_t> shape, DType dtype);

// The node of an elementwise op over broadcast inputs, those of another dtype than `in`
// cast first (the condition of `where` stays as it is). null when the shapes do not
// broadcast.
Ref<Node> make_elementwise(Op op, DType in, DType out, std::span<Node* const> inputs,
                           Stream* stream);

}  // namespace nitinol
