// The GPU's threads. They are immortal and never joined, as a driver's are not the program's.
#include "gpu.h"

#include <Block.h>

#include <chrono>
#include <thread>

#include "objects.h"

namespace metal_emulator {
namespace {

constexpr int gpu_threads = 2;

struct Gpu {
  std::mutex mutex;
  std::condition_variable changed;
  std::condition_variable work;
  std::deque<EmulatedCommandBuffer*> ready;
  bool held = false;
  bool started = false;
};

Gpu& gpu() {
  static Gpu& instance = *new Gpu;
  return instance;
}

void execute(EmulatedCommandBuffer* buffer) {
  CommandBufferState& state = *buffer->state_;
  if (state.plan.failure && !state.plan.failure->execute) {
    return;
  }
  for (const auto& encoder : state.encoders) {
    metal_emulator::execute(*encoder);
  }
}

// Gives up what the buffer used, so that whoever sees the new status may free it.
void let_go(CommandBufferState& state) {
  for (const auto& [resource, uses] : state.resources) {
    uses->fetch_sub(1, std::memory_order_release);
    if (state.retained_references) {
      [resource release];
    }
  }
  state.resources.clear();
  state.known.clear();
}

void complete(EmulatedCommandBuffer* buffer, double begin) {
  CommandBufferState& state = *buffer->state_;
  NSError* error = state.plan.failure ? make_error(buffer) : nil;
  let_go(state);
  const bool drop = state.plan.drop_handlers;
  {
    Gpu& own = gpu();
    std::lock_guard lock(own.mutex);
    state.gpu_start = begin;
    state.gpu_end = now();
    state.error = error;
    state.status = error != nil ? MTLCommandBufferStatusError : MTLCommandBufferStatusCompleted;
    QueueState& queue = *buffer->queue_->state_;
    --queue.uncompleted;
    queue.order.pop_front();
    queue.running = false;
    if (!queue.order.empty() &&
        queue.order.front()->state_->status >= MTLCommandBufferStatusCommitted) {
      start(queue.order.front());
    }
    own.changed.notify_all();
  }
  if (drop) {
    for (MTLCommandBufferHandler handler : state.completed_handlers) {
      Block_release(handler);
    }
    state.completed_handlers.clear();
  } else if (!state.completed_handlers.empty()) {
    post_handlers(buffer, HandlerKind::completed);
  }
}

void work() noexcept {
  Gpu& own = gpu();
  for (;;) {
    EmulatedCommandBuffer* buffer = nil;
    {
      std::unique_lock lock(own.mutex);
      own.work.wait(lock, [&own] { return !own.held && !own.ready.empty(); });
      buffer = own.ready.front();
      own.ready.pop_front();
      CommandBufferState& state = *buffer->state_;
      state.kernel_end = now();
      state.status = MTLCommandBufferStatusScheduled;
      state.scheduled_handlers_called = state.scheduled_handlers.empty();
      own.changed.notify_all();
    }
    @autoreleasepool {
      if (!buffer->state_->scheduled_handlers.empty()) {
        post_handlers(buffer, HandlerKind::scheduled);
      }
      const double begin = now();
      execute(buffer);
      complete(buffer, begin);
      [buffer release];  // committing had retained it
    }
  }
}

}  // namespace

std::mutex& gpu_mutex() { return gpu().mutex; }
std::condition_variable& gpu_changed() { return gpu().changed; }

void start(EmulatedCommandBuffer* buffer) {
  Gpu& own = gpu();
  if (!own.started) {
    own.started = true;
    for (int i = 0; i < gpu_threads; ++i) {
      std::thread(work).detach();
    }
  }
  buffer->queue_->state_->running = true;
  own.ready.push_back(buffer);
  own.work.notify_one();
}

void hold_gpu() {
  Gpu& own = gpu();
  std::lock_guard lock(own.mutex);
  own.held = true;
}

void release_gpu() {
  Gpu& own = gpu();
  std::lock_guard lock(own.mutex);
  own.held = false;
  own.work.notify_all();
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace metal_emulator
