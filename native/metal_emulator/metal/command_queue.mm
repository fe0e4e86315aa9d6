// Command queues, which bound the number of uncompleted command buffers, and descriptors.
#include <algorithm>

#include "../misuse.h"
#include "gpu.h"
#include "objects.h"

namespace {

constexpr std::size_t max_residency_sets = 32;

}  // namespace

@implementation MTLCommandBufferDescriptor
- (instancetype)init {
  retained_references_ = YES;
  return self;
}
- (id)copyWithZone:(NSZone*)zone {
  MTLCommandBufferDescriptor* copy = [[MTLCommandBufferDescriptor alloc] init];
  copy.retainedReferences = retained_references_;
  copy.errorOptions = error_options_;
  return copy;
}
- (BOOL)retainedReferences {
  return retained_references_;
}
- (void)setRetainedReferences:(BOOL)retained {
  retained_references_ = retained;
}
- (MTLCommandBufferErrorOption)errorOptions {
  return error_options_;
}
- (void)setErrorOptions:(MTLCommandBufferErrorOption)options {
  error_options_ = options;
}
@end

@implementation EmulatedCommandQueue
- (instancetype)initWithDevice:(EmulatedDevice*)device limit:(NSUInteger)limit {
  device_ = [device retain];
  state_ = new metal_emulator::QueueState;
  state_->limit = limit;
  return self;
}
- (void)dealloc {
  for (id set : state_->residency_sets) {
    [set release];
  }
  delete state_;
  [device_ release];
  [super dealloc];
}
- (NSString*)label {
  return state_->label.get();
}
- (void)setLabel:(NSString*)label {
  state_->label.set(label);
}
- (id<MTLDevice>)device {
  return device_;
}
- (id<MTLCommandBuffer>)commandBufferRetaining:(BOOL)retained
                                  errorOptions:(MTLCommandBufferErrorOption)options {
  {
    std::unique_lock lock(metal_emulator::gpu_mutex());
    metal_emulator::gpu_changed().wait(lock,
                                       [self] { return state_->uncompleted < state_->limit; });
    ++state_->uncompleted;
  }
  return [[[EmulatedCommandBuffer alloc] initWithQueue:self
                                    retainedReferences:retained
                                          errorOptions:options] autorelease];
}
- (id<MTLCommandBuffer>)commandBuffer {
  return [self commandBufferRetaining:YES errorOptions:MTLCommandBufferErrorOptionNone];
}
- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences {
  return [self commandBufferRetaining:NO errorOptions:MTLCommandBufferErrorOptionNone];
}
- (id<MTLCommandBuffer>)commandBufferWithDescriptor:(MTLCommandBufferDescriptor*)descriptor {
  if (descriptor == nil) {
    metal_emulator::misuse("commandBufferWithDescriptor: needs a descriptor, not nil.");
  }
  return [self commandBufferRetaining:descriptor.retainedReferences
                         errorOptions:descriptor.errorOptions];
}

- (void)addResidencySet:(id<MTLResidencySet>)set {
  if (set == nil) {
    metal_emulator::misuse("addResidencySet: needs a residency set, not nil.");
  }
  std::lock_guard lock(metal_emulator::gpu_mutex());
  auto& sets = state_->residency_sets;
  if (std::find(sets.begin(), sets.end(), set) != sets.end()) {
    return;
  }
  if (sets.size() == max_residency_sets) {
    metal_emulator::misuse("A command queue takes %zu residency sets at most.", max_residency_sets);
  }
  sets.push_back([set retain]);
}
- (void)removeResidencySet:(id<MTLResidencySet>)set {
  std::lock_guard lock(metal_emulator::gpu_mutex());
  if (std::erase(state_->residency_sets, set) != 0) {
    [set release];
  }
}
@end
