// Residency sets: who is in them, with the bookkeeping that finds allocations freed too early.
#include "../misuse.h"
#include "gpu.h"
#include "objects.h"

using metal_emulator::gpu_mutex;
using metal_emulator::misuse;

namespace {

// Of all sets, for the tests to ask.
constinit metal_emulator::Residency total;  // under the GPU's mutex

EmulatedBuffer* checked(id<MTLAllocation> allocation, SEL selector) {
  if (allocation == nil) {
    misuse("%s needs an allocation, not nil.", sel_getName(selector));
  }
  return (EmulatedBuffer*)allocation;
}

void count_member(EmulatedBuffer* buffer, bool enters) {
  const auto size = static_cast<std::int64_t>(buffer.allocatedSize);
  total.allocations += enters ? 1 : -1;
  total.bytes += enters ? size : -size;
}

}  // namespace

metal_emulator::Residency metal_emulator::residency() {
  std::lock_guard lock(gpu_mutex());
  return total;
}

@implementation MTLResidencySetDescriptor
- (id)copyWithZone:(NSZone*)zone {
  return [[MTLResidencySetDescriptor alloc] init];
}
@end

@implementation EmulatedResidencySet
- (instancetype)initWithDevice:(EmulatedDevice*)device {
  device_ = [device retain];
  state_ = new metal_emulator::ResidencyState;
  return self;
}
- (void)dealloc {
  {
    std::lock_guard lock(gpu_mutex());
    state_->members.clear();
    [self commitLocked];
    total.requested -= state_->requested;
  }
  delete state_;
  [device_ release];
  [super dealloc];
}
- (id<MTLDevice>)device {
  return device_;
}
- (uint64_t)allocatedSize {
  std::lock_guard lock(gpu_mutex());
  uint64_t size = 0;
  for (EmulatedBuffer* buffer : state_->committed) {
    size += buffer.allocatedSize;
  }
  return size;
}
- (NSUInteger)allocationCount {
  std::lock_guard lock(gpu_mutex());
  return state_->members.size();
}
- (BOOL)containsAllocation:(id<MTLAllocation>)allocation {
  std::lock_guard lock(gpu_mutex());
  return state_->members.contains((EmulatedBuffer*)allocation);
}

- (void)addAllocation:(id<MTLAllocation>)allocation {
  EmulatedBuffer* buffer = checked(allocation, _cmd);
  std::lock_guard lock(gpu_mutex());
  if (state_->members.insert(buffer).second && !state_->committed.contains(buffer)) {
    buffer->residency_sets_->fetch_add(1, std::memory_order_relaxed);
  }
}
- (void)removeAllocation:(id<MTLAllocation>)allocation {
  EmulatedBuffer* buffer = checked(allocation, _cmd);
  std::lock_guard lock(gpu_mutex());
  if (state_->members.erase(buffer) != 0 && !state_->committed.contains(buffer)) {
    buffer->residency_sets_->fetch_sub(1, std::memory_order_release);  // it never entered
  }
}
- (void)commitLocked {
  for (EmulatedBuffer* buffer : state_->members) {
    if (!state_->committed.contains(buffer)) {
      count_member(buffer, true);
    }
  }
  for (EmulatedBuffer* buffer : state_->committed) {
    if (!state_->members.contains(buffer)) {
      count_member(buffer, false);
      buffer->residency_sets_->fetch_sub(1, std::memory_order_release);
    }
  }
  state_->committed = state_->members;
}
- (void)commit {
  std::lock_guard lock(gpu_mutex());
  [self commitLocked];
  metal_emulator::count(metal_emulator::totals.residency_commits);
}

- (void)requestResidency {
  std::lock_guard lock(gpu_mutex());
  total.requested += !state_->requested;
  state_->requested = true;
}
- (void)endResidency {
  std::lock_guard lock(gpu_mutex());
  total.requested -= state_->requested;
  state_->requested = false;
}
@end
