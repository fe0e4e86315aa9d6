// The emulator's classes behind Metal's protocols. What they share across threads is
// in C++ states, guarded by one mutex (`gpu_mutex`) where nothing else is said.
#pragma once

#import <Metal/Metal.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "../seams_internal.h"
#include "commands.h"

@class EmulatedBuffer;
@class EmulatedCommandBuffer;
@class EmulatedCommandQueue;
@class EmulatedDevice;

namespace metal_emulator {

// A label: set and read from any thread.
class Label {
 public:
  ~Label() { [text_ release]; }
  NSString* get() {
    std::lock_guard lock(mutex_);
    return [[text_ retain] autorelease];
  }
  void set(NSString* text) {
    NSString* copy = [text copy];
    {
      std::lock_guard lock(mutex_);
      std::swap(text_, copy);
    }
    [copy release];
  }
  std::string string() {
    std::lock_guard lock(mutex_);
    return text_ == nil ? std::string() : text_.UTF8String;
  }

 private:
  std::mutex mutex_;
  NSString* text_ = nil;
};

// Uncompleted command buffers that refer to a resource.
using Uses = std::atomic<long>;

struct QueueState {
  Label label;
  NSUInteger limit = 64;
  NSUInteger uncompleted = 0;
  // In the order of enqueueing; they start in this order, each when it has been committed.
  std::deque<EmulatedCommandBuffer*> order;
  bool running = false;            // a GPU thread has taken the first one, or soon will
  std::vector<id> residency_sets;  // each retained
};

struct ResidencyState {
  // Not retained: who frees an allocation that is in a set has forgotten to take it out.
  std::unordered_set<EmulatedBuffer*> members;  // with what has not been committed
  std::unordered_set<EmulatedBuffer*> committed;
  bool requested = false;
};

struct CommandBufferState {
  Label label;
  MTLCommandBufferStatus status = MTLCommandBufferStatusNotEnqueued;
  bool retained_references = true;
  MTLCommandBufferErrorOption error_options = MTLCommandBufferErrorOptionNone;
  std::vector<std::unique_ptr<EncoderRecord>> encoders;
  bool encoder_open = false;
  std::vector<std::string> debug_groups;
  CommitPlan plan;
  // Released when the work is done, before the status says so.
  std::vector<std::pair<id, Uses*>> resources;
  std::unordered_set<void*> known;
  std::vector<MTLCommandBufferHandler> scheduled_handlers;
  std::vector<MTLCommandBufferHandler> completed_handlers;
  bool scheduled_handlers_called = false;
  NSError* error = nil;
  double kernel_start = 0;
  double kernel_end = 0;
  double gpu_start = 0;
  double gpu_end = 0;
};

}  // namespace metal_emulator

@interface EmulatedDevice : NSObject <MTLDevice> {
 @public
  std::atomic<NSUInteger>* allocated_;
}
@end

@interface EmulatedBuffer : NSObject <MTLBuffer> {
 @public
  EmulatedDevice* device_;
  void* contents_;
  NSUInteger length_;
  MTLResourceOptions options_;
  MTLNewBufferDeallocator deallocator_;
  BOOL owned_;
  metal_emulator::Label* label_;
  metal_emulator::Uses* uses_;
  metal_emulator::Uses* residency_sets_;  // those that have it, or have not committed its removal
}
// Zeroed memory of its own; nil when there is none.
- (instancetype)initWithDevice:(EmulatedDevice*)device
                        length:(NSUInteger)length
                       options:(MTLResourceOptions)options;
- (instancetype)initWithDevice:(EmulatedDevice*)device
                        memory:(void*)memory
                        length:(NSUInteger)length
                       options:(MTLResourceOptions)options
                   deallocator:(MTLNewBufferDeallocator)deallocator;
@end

@interface EmulatedLibrary : NSObject <MTLLibrary> {
 @public
  EmulatedDevice* device_;
  std::shared_ptr<const metal_emulator::Library>* library_;
  metal_emulator::Label* label_;
}
- (instancetype)initWithDevice:(EmulatedDevice*)device
                       library:(std::shared_ptr<const metal_emulator::Library>)library;
@end

@interface EmulatedFunction : NSObject <MTLFunction> {
 @public
  EmulatedLibrary* library_;
  const metal_emulator::Function* function_;
  metal_emulator::Label* label_;
}
- (instancetype)initWithLibrary:(EmulatedLibrary*)library
                       function:(const metal_emulator::Function*)function;
@end

@interface EmulatedComputePipelineState : NSObject <MTLComputePipelineState> {
 @public
  EmulatedFunction* function_;
  metal_emulator::Uses* uses_;
}
- (instancetype)initWithFunction:(EmulatedFunction*)function;
@end

@interface EmulatedResidencySet : NSObject <MTLResidencySet> {
 @public
  EmulatedDevice* device_;
  metal_emulator::ResidencyState* state_;
}
- (instancetype)initWithDevice:(EmulatedDevice*)device;
@end

@interface EmulatedCommandQueue : NSObject <MTLCommandQueue> {
 @public
  EmulatedDevice* device_;
  metal_emulator::QueueState* state_;
}
- (instancetype)initWithDevice:(EmulatedDevice*)device limit:(NSUInteger)limit;
@end

@interface EmulatedCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  EmulatedCommandQueue* queue_;
  metal_emulator::CommandBufferState* state_;
}
- (instancetype)initWithQueue:(EmulatedCommandQueue*)queue
           retainedReferences:(BOOL)retained
                 errorOptions:(MTLCommandBufferErrorOption)options;
// The resource is used until the work has been done.
- (void)use:(id)resource counter:(metal_emulator::Uses*)uses;
@end

// What encoders share; its subclasses add the commands.
@interface EmulatedEncoder : NSObject <MTLCommandEncoder> {
 @public
  EmulatedCommandBuffer* command_buffer_;  // until the encoding ends
  metal_emulator::EncoderRecord* record_;  // the command buffer's
  EmulatedDevice* device_;
  metal_emulator::Label* label_;
  NSUInteger debug_groups_;
}
- (instancetype)initWithCommandBuffer:(EmulatedCommandBuffer*)commandBuffer
                           concurrent:(BOOL)concurrent;
// Aborts when the encoding has ended.
- (metal_emulator::EncoderRecord&)recordFor:(SEL)selector;
- (void)useBuffer:(id<MTLBuffer>)buffer;
@end

namespace metal_emulator {
struct Bindings;
}

@interface EmulatedComputeCommandEncoder : EmulatedEncoder <MTLComputeCommandEncoder> {
  metal_emulator::Bindings* bindings_;
}
@end

@interface EmulatedBlitCommandEncoder : EmulatedEncoder <MTLBlitCommandEncoder>
@end

@interface EmulatedEncoderInfo : NSObject <MTLCommandBufferEncoderInfo> {
  NSString* label_;
  NSArray* signposts_;
  MTLCommandEncoderErrorState state_;
}
- (instancetype)initWithRecord:(const metal_emulator::EncoderRecord&)record
                         state:(MTLCommandEncoderErrorState)state;
@end
