// Buffers: memory from the C++ heap, so that AddressSanitizer watches over their ends.
#include <Block.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "../misuse.h"
#include "objects.h"

using metal_emulator::count;
using metal_emulator::totals;

@implementation EmulatedBuffer
- (instancetype)initWithDevice:(EmulatedDevice*)device
                        memory:(void*)memory
                        length:(NSUInteger)length
                       options:(MTLResourceOptions)options
                   deallocator:(MTLNewBufferDeallocator)deallocator {
  if (memory == nullptr || metal_emulator::allocation_fails()) {
    [self release];
    return nil;
  }
  device_ = [device retain];
  contents_ = memory;
  length_ = length;
  options_ = options;
  deallocator_ = Block_copy(deallocator);
  label_ = new metal_emulator::Label;
  uses_ = new metal_emulator::Uses(0);
  residency_sets_ = new metal_emulator::Uses(0);
  device->allocated_->fetch_add(length);
  count(totals.buffers_allocated);
  count(totals.bytes_allocated, length);
  return self;
}
- (instancetype)initWithDevice:(EmulatedDevice*)device
                        length:(NSUInteger)length
                       options:(MTLResourceOptions)options {
  // Apple's buffers begin on a page, and are filled with zeros.
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<std::size_t>(getpagesize()), length) != 0) {
    memory = nullptr;
  } else {
    std::memset(memory, 0, length);
  }
  id buffer = [self initWithDevice:device
                            memory:memory
                            length:length
                           options:options
                       deallocator:nil];
  if (buffer == nil) {
    std::free(memory);
    return nil;
  }
  owned_ = YES;
  return buffer;
}
- (void)dealloc {
  if (device_ == nil) {  // never was one
    [super dealloc];
    return;
  }
  if (uses_->load(std::memory_order_acquire) != 0) {
    metal_emulator::misuse(
        "The buffer \"%s\" of %lu bytes was freed while a command buffer that does not retain its "
        "references uses it.",
        label_->string().c_str(), length_);
  }
  if (residency_sets_->load(std::memory_order_acquire) != 0) {
    metal_emulator::misuse(
        "The buffer \"%s\" of %lu bytes was freed while it is in a residency set: its removal has "
        "to be committed before.",
        label_->string().c_str(), length_);
  }
  device_->allocated_->fetch_sub(length_);
  if (deallocator_ != nil) {
    deallocator_(contents_, length_);
    Block_release(deallocator_);
  }
  if (owned_) {
    std::free(contents_);
  }
  delete label_;
  delete uses_;
  delete residency_sets_;
  [device_ release];
  [super dealloc];
}
- (NSString*)label {
  return label_->get();
}
- (void)setLabel:(NSString*)label {
  label_->set(label);
}
- (id<MTLDevice>)device {
  return device_;
}
- (MTLResourceOptions)resourceOptions {
  return options_;
}
- (MTLCPUCacheMode)cpuCacheMode {
  return static_cast<MTLCPUCacheMode>(options_ & MTLResourceCPUCacheModeMask);
}
- (MTLStorageMode)storageMode {
  return static_cast<MTLStorageMode>((options_ & MTLResourceStorageModeMask) >>
                                     MTLResourceStorageModeShift);
}
- (MTLHazardTrackingMode)hazardTrackingMode {
  const auto mode = static_cast<MTLHazardTrackingMode>(
      (options_ & MTLResourceHazardTrackingModeMask) >> MTLResourceHazardTrackingModeShift);
  return mode == MTLHazardTrackingModeDefault ? MTLHazardTrackingModeTracked : mode;
}
- (NSUInteger)allocatedSize {
  const auto page = static_cast<NSUInteger>(getpagesize());
  return (length_ + page - 1) / page * page;
}
- (NSUInteger)length {
  return length_;
}
- (void*)contents {
  if (self.storageMode == MTLStorageModePrivate) {
    metal_emulator::misuse("The private buffer \"%s\" has no contents that the CPU can reach.",
                           label_->string().c_str());
  }
  return contents_;
}
- (void)didModifyRange:(NSRange)range {
  if (self.storageMode != MTLStorageModeManaged) {
    metal_emulator::misuse("didModifyRange: is for managed buffers only.");
  }
  if (range.length > length_ || range.location > length_ - range.length) {
    metal_emulator::misuse("didModifyRange: %lu bytes at %lu lie beyond the length %lu.",
                           range.length, range.location, length_);
  }
}
- (uint64_t)gpuAddress {
  return reinterpret_cast<uint64_t>(contents_);
}
@end
