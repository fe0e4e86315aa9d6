// MTLResidencySet: allocations that become, and stay, resident together (macOS 15).
#pragma once

#import <Metal/MTLAllocation.h>

NS_ASSUME_NONNULL_BEGIN

@protocol MTLDevice;

@interface MTLResidencySetDescriptor : NSObject <NSCopying>
@end

@protocol MTLResidencySet <NSObject>
@property(readonly) id<MTLDevice> device;
@property(readonly) uint64_t allocatedSize;      // of what has been committed
@property(readonly) NSUInteger allocationCount;  // with what has not been
- (BOOL)containsAllocation:(id<MTLAllocation>)anAllocation;

// These take effect with the next commit.
- (void)addAllocation:(id<MTLAllocation>)allocation;
- (void)removeAllocation:(id<MTLAllocation>)allocation;
- (void)commit;

// Beyond the command buffers that need it.
- (void)requestResidency;
- (void)endResidency;
@end

NS_ASSUME_NONNULL_END
