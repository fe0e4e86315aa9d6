// Command buffers: encoders are opened on them one at a time, then they are committed once.
#include <Block.h>

#include "../misuse.h"
#include "gpu.h"
#include "objects.h"

using metal_emulator::gpu_changed;
using metal_emulator::gpu_mutex;
using metal_emulator::misuse;

@implementation EmulatedCommandBuffer
- (instancetype)initWithQueue:(EmulatedCommandQueue*)queue
           retainedReferences:(BOOL)retained
                 errorOptions:(MTLCommandBufferErrorOption)options {
  queue_ = [queue retain];
  state_ = new metal_emulator::CommandBufferState;
  state_->retained_references = retained;
  state_->error_options = options;
  return self;
}
- (void)dealloc {
  for (const auto& [resource, uses] : state_->resources) {  // when it was never committed
    uses->fetch_sub(1, std::memory_order_release);
    if (state_->retained_references) {
      [resource release];
    }
  }
  for (MTLCommandBufferHandler handler : state_->scheduled_handlers) {
    Block_release(handler);
  }
  for (MTLCommandBufferHandler handler : state_->completed_handlers) {
    Block_release(handler);
  }
  if (state_->status < MTLCommandBufferStatusCommitted) {
    std::lock_guard lock(gpu_mutex());
    --queue_->state_->uncompleted;
    gpu_changed().notify_all();
  }
  [state_->error release];
  delete state_;
  [queue_ release];
  [super dealloc];
}

- (void)use:(id)resource counter:(metal_emulator::Uses*)uses {
  if (!state_->known.insert((void*)resource).second) {
    return;
  }
  uses->fetch_add(1, std::memory_order_relaxed);
  state_->resources.emplace_back(resource, uses);
  if (state_->retained_references) {
    [resource retain];
  }
}

- (void)checkUncommittedLocked:(SEL)selector {
  if (state_->status >= MTLCommandBufferStatusCommitted) {
    misuse("%s was sent to a command buffer that has been committed already.",
           sel_getName(selector));
  }
}
- (void)checkUncommitted:(SEL)selector {
  std::lock_guard lock(gpu_mutex());
  [self checkUncommittedLocked:selector];
}
- (void)reserveLocked {
  if (state_->status == MTLCommandBufferStatusNotEnqueued) {
    state_->status = MTLCommandBufferStatusEnqueued;
    queue_->state_->order.push_back([self retain]);  // until it has completed
  }
}
- (void)enqueue {
  std::lock_guard lock(gpu_mutex());
  [self checkUncommittedLocked:_cmd];
  [self reserveLocked];
}
- (void)commit {
  std::lock_guard lock(gpu_mutex());
  [self checkUncommittedLocked:_cmd];
  if (state_->encoder_open) {
    misuse("The command buffer \"%s\" was committed with an encoder open.",
           state_->label.string().c_str());
  }
  metal_emulator::count(metal_emulator::totals.command_buffers);
  state_->plan = metal_emulator::plan_commit();
  [self reserveLocked];
  state_->status = MTLCommandBufferStatusCommitted;
  state_->kernel_start = metal_emulator::now();
  metal_emulator::QueueState& queue = *queue_->state_;
  if (queue.order.front() == self && !queue.running) {
    metal_emulator::start(self);
  }
}

- (void)addScheduledHandler:(MTLCommandBufferHandler)block {
  [self checkUncommitted:_cmd];
  state_->scheduled_handlers.push_back(Block_copy(block));
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  [self checkUncommitted:_cmd];
  state_->completed_handlers.push_back(Block_copy(block));
}
- (void)waitFor:(MTLCommandBufferStatus)status selector:(SEL)selector {
  std::unique_lock lock(gpu_mutex());
  if (state_->status < MTLCommandBufferStatusCommitted) {
    misuse("%s was sent to a command buffer that has not been committed.", sel_getName(selector));
  }
  gpu_changed().wait(lock, [self, status] { return state_->status >= status; });
}
- (void)waitUntilScheduled {
  [self waitFor:MTLCommandBufferStatusScheduled selector:_cmd];
}
// Returns as soon as the status is final, without waiting for handlers: who needs
// them to have run must wait for them.
- (void)waitUntilCompleted {
  [self waitFor:MTLCommandBufferStatusCompleted selector:_cmd];
}

- (void)openEncoder:(SEL)selector {
  [self checkUncommitted:selector];
  if (state_->encoder_open) {
    misuse("%s was sent to a command buffer that has an encoder open.", sel_getName(selector));
  }
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
  return [self computeCommandEncoderWithDispatchType:MTLDispatchTypeSerial];
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
  [self openEncoder:_cmd];
  return [[[EmulatedComputeCommandEncoder alloc]
      initWithCommandBuffer:self
                 concurrent:type == MTLDispatchTypeConcurrent] autorelease];
}
- (id<MTLBlitCommandEncoder>)blitCommandEncoder {
  [self openEncoder:_cmd];
  return [[[EmulatedBlitCommandEncoder alloc] initWithCommandBuffer:self
                                                         concurrent:NO] autorelease];
}
- (void)pushDebugGroup:(NSString*)string {
  state_->debug_groups.emplace_back(string.UTF8String);
}
- (void)popDebugGroup {
  if (state_->debug_groups.empty()) {
    misuse("popDebugGroup was sent to a command buffer without a debug group.");
  }
  state_->debug_groups.pop_back();
}

- (NSString*)label {
  return state_->label.get();
}
- (void)setLabel:(NSString*)label {
  state_->label.set(label);
}
- (id<MTLDevice>)device {
  return queue_->device_;
}
- (id<MTLCommandQueue>)commandQueue {
  return queue_;
}
- (BOOL)retainedReferences {
  return state_->retained_references;
}
- (MTLCommandBufferErrorOption)errorOptions {
  return state_->error_options;
}
- (MTLCommandBufferStatus)status {
  std::lock_guard lock(gpu_mutex());
  return state_->status;
}
- (NSError*)error {
  std::lock_guard lock(gpu_mutex());
  return state_->error;
}
- (CFTimeInterval)kernelStartTime {
  std::lock_guard lock(gpu_mutex());
  return state_->kernel_start;
}
- (CFTimeInterval)kernelEndTime {
  std::lock_guard lock(gpu_mutex());
  return state_->kernel_end;
}
- (CFTimeInterval)GPUStartTime {
  std::lock_guard lock(gpu_mutex());
  return state_->gpu_start;
}
- (CFTimeInterval)GPUEndTime {
  std::lock_guard lock(gpu_mutex());
  return state_->gpu_end;
}
@end
