// The graph lock: one for the process. Planning, marking and enqueueing are one step
// under it, and so is resolution; kernels never run under it (small graphs that are
// run inline excepted). Lock order: graph lock, then a device's own locks.
#pragma once

#include <mutex>

namespace nitinol {

std::mutex& graph_lock() noexcept;

}  // namespace nitinol
