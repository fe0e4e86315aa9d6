// MTLAllocation: what takes memory of a device (macOS 15).
#pragma once

#import <Foundation/Foundation.h>

@protocol MTLAllocation <NSObject>
@property(readonly) NSUInteger allocatedSize;
@end
