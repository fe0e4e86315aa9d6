// Dispatch sources of memory pressure, and the seam that raises it.
#include <dispatch/dispatch.h>

#include <mutex>
#include <thread>
#include <vector>

#import <Foundation/Foundation.h>

#include "../misuse.h"
#include "../seams.h"

struct dispatch_source_type_s {
  const char* name;
};
struct dispatch_queue_s {
  intptr_t quality_of_service;
};
struct dispatch_source_s {
  uintptr_t mask;
  dispatch_block_t handler;
  bool resumed;
};

const dispatch_source_type_s _dispatch_source_type_memorypressure = {"memory pressure"};

namespace {

using metal_emulator::misuse;

constexpr uintptr_t levels = DISPATCH_MEMORYPRESSURE_NORMAL | DISPATCH_MEMORYPRESSURE_WARN |
                             DISPATCH_MEMORYPRESSURE_CRITICAL;

struct Sources {
  std::mutex mutex;
  std::vector<dispatch_source_t> all;  // immortal: nothing here releases one
};

Sources& sources() {
  static Sources& instance = *new Sources;
  return instance;
}

}  // namespace

dispatch_queue_t dispatch_get_global_queue(intptr_t identifier, uintptr_t flags) {
  static dispatch_queue_s queues[] = {
      {QOS_CLASS_USER_INITIATED}, {QOS_CLASS_DEFAULT}, {QOS_CLASS_UTILITY}, {QOS_CLASS_BACKGROUND}};
  if (flags != 0) misuse("dispatch_get_global_queue takes no flags, not %lu.", flags);
  for (dispatch_queue_s& queue : queues) {
    if (queue.quality_of_service == identifier) return &queue;
  }
  misuse("dispatch_get_global_queue knows no quality of service %ld.", identifier);
}

dispatch_source_t dispatch_source_create(dispatch_source_type_t type, uintptr_t handle,
                                         uintptr_t mask, dispatch_queue_t queue) {
  if (type != DISPATCH_SOURCE_TYPE_MEMORYPRESSURE || handle != 0 || queue == nullptr) {
    misuse("The emulator has dispatch sources of memory pressure alone: no handle, and a queue.");
  }
  if (mask == 0 || (mask & ~levels) != 0) {
    misuse("0x%lx is no mask of levels of memory pressure.", mask);
  }
  auto* source = new dispatch_source_s{mask, nil, false};
  std::lock_guard lock(sources().mutex);
  sources().all.push_back(source);
  return source;
}

void dispatch_source_set_event_handler(dispatch_source_t source, dispatch_block_t handler) {
  dispatch_block_t copy = Block_copy(handler);
  {
    std::lock_guard lock(sources().mutex);
    std::swap(source->handler, copy);
  }
  Block_release(copy);
}

void dispatch_resume(dispatch_source_t source) {
  std::lock_guard lock(sources().mutex);
  if (source->resumed) misuse("dispatch_resume was called more often than dispatch_suspend.");
  source->resumed = true;
}

void metal_emulator::raise_memory_pressure(MemoryPressure level) {
  const uintptr_t bit = uintptr_t{1} << static_cast<int>(level);
  std::vector<dispatch_block_t> handlers;
  {
    std::lock_guard lock(sources().mutex);
    for (dispatch_source_t source : sources().all) {
      if (source->resumed && (source->mask & bit) != 0 && source->handler != nil) {
        handlers.push_back(Block_copy(source->handler));
      }
    }
  }
  std::thread([&handlers] {
    @autoreleasepool {
      for (dispatch_block_t handler : handlers) {
        handler();
        Block_release(handler);
      }
    }
  }).join();
}
