// The threads that call handlers, as Apple's dispatch queues do: later than the status
// changes, on no thread of the caller's.
#include <Block.h>

#include <chrono>
#include <queue>
#include <thread>

#include "gpu.h"
#include "objects.h"

namespace metal_emulator {
namespace {

constexpr int handler_threads = 2;
using Clock = std::chrono::steady_clock;

struct Task {
  Clock::time_point due;
  std::uint64_t number;
  EmulatedCommandBuffer* buffer;
  HandlerKind kind;

  bool operator>(const Task& other) const {
    return due != other.due ? due > other.due : number > other.number;
  }
};

struct Handlers {
  std::mutex mutex;
  std::condition_variable posted;
  std::priority_queue<Task, std::vector<Task>, std::greater<>> tasks;
  std::uint64_t count = 0;
  bool started = false;
};

Handlers& handlers() {
  static Handlers& instance = *new Handlers;
  return instance;
}

void call(EmulatedCommandBuffer* buffer, std::vector<MTLCommandBufferHandler>& blocks) {
  for (MTLCommandBufferHandler block : blocks) {
    block(buffer);
    Block_release(block);
  }
  blocks.clear();
}

void perform(const Task& task) {
  CommandBufferState& state = *task.buffer->state_;
  if (task.kind == HandlerKind::scheduled) {
    call(task.buffer, state.scheduled_handlers);
    std::lock_guard lock(gpu_mutex());
    state.scheduled_handlers_called = true;
    gpu_changed().notify_all();
    return;
  }
  {
    // The other task was taken earlier, so it is running: this is no deadlock.
    std::unique_lock lock(gpu_mutex());
    gpu_changed().wait(lock, [&state] { return state.scheduled_handlers_called; });
  }
  call(task.buffer, state.completed_handlers);
}

void work() noexcept {
  Handlers& own = handlers();
  for (;;) {
    std::unique_lock lock(own.mutex);
    own.posted.wait(lock, [&own] { return !own.tasks.empty(); });
    const Task task = own.tasks.top();
    if (Clock::now() < task.due) {
      own.posted.wait_until(lock, task.due);
      continue;
    }
    own.tasks.pop();
    lock.unlock();
    @autoreleasepool {
      perform(task);
      [task.buffer release];
    }
  }
}

}  // namespace

void post_handlers(EmulatedCommandBuffer* buffer, HandlerKind kind) {
  const auto delay = kind == HandlerKind::completed ? handler_delay() : std::chrono::microseconds();
  Handlers& own = handlers();
  std::lock_guard lock(own.mutex);
  if (!own.started) {
    own.started = true;
    for (int i = 0; i < handler_threads; ++i) {
      std::thread(work).detach();
    }
  }
  own.tasks.push({Clock::now() + delay, own.count++, [buffer retain], kind});
  own.posted.notify_one();
}

}  // namespace metal_emulator
