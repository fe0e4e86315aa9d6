// HostQueue: calls of the user's functions, made by device threads and carried out by
// the one thread of the other runtime that may (Python's notifier).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>

#include "nitinol/dtype.h"
#include "nitinol/fault.h"
#include "nitinol/layout.h"
#include "nitinol/reclaim.h"
#include "nitinol/wait.h"

namespace nitinol {

struct HostOperand {
  char* data = nullptr;  // element (0, ..., 0)
  const Layout* layout = nullptr;
  DType dtype = DType::bool_;
};

// Lives on the stack of the device thread that waits for it.
struct HostCall {
  void* callback = nullptr;
  std::span<const HostOperand> inputs;
  HostOperand output;
  Fault fault;                // set by whoever carries it out
  Keep* exception = nullptr;  // likewise; owned
  Signal finished;
  HostCall* next = nullptr;
};

class HostQueue {
 public:
  static HostQueue& shared() noexcept;

  // Waits until the call was carried out. A closed queue fails it at once.
  void call(HostCall& call) noexcept;
  // For the runtime's thread: the next call, or null after `nanoseconds` or `poke`.
  HostCall* take(std::int64_t nanoseconds) noexcept;
  void poke() noexcept;
  // Is a call waited for, begun or not?
  bool busy() const noexcept { return waited_for_.load(std::memory_order_relaxed) > 0; }
  // No call is accepted or left waiting from here on.
  void close() noexcept;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  HostCall* first_ = nullptr;
  HostCall* last_ = nullptr;
  bool poked_ = false;
  bool closed_ = false;
  std::atomic<int> waited_for_{0};
};

}  // namespace nitinol
