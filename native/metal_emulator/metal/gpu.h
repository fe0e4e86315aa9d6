// The emulated GPU: threads that run command buffers, threads that call handlers.
#pragma once

#include <condition_variable>
#include <mutex>

@class EmulatedCommandBuffer;
@class NSError;

namespace metal_emulator {

// Guards the states of queues and command buffers.
std::mutex& gpu_mutex();
// Told after every change of a command buffer's status.
std::condition_variable& gpu_changed();

// Under the mutex: the buffer is first in its queue and committed; nothing of the queue runs.
void start(EmulatedCommandBuffer* buffer);

enum class HandlerKind { scheduled, completed };
// Calls the handlers on another thread, the scheduled ones before the completed ones.
void post_handlers(EmulatedCommandBuffer* buffer, HandlerKind kind);

double now();  // seconds

// The error of a command buffer that its plan lets fail; retained.
NSError* make_error(EmulatedCommandBuffer* buffer);

}  // namespace metal_emulator
