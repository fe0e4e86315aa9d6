// Autorelease pools. @autoreleasepool makes one of these under the GNU runtime.
#pragma once

#import <Foundation/NSObject.h>

@interface NSAutoreleasePool : NSObject {
  void* token_;
}
- (void)drain;
@end

FOUNDATION_EXTERN void* objc_autoreleasePoolPush(void);
FOUNDATION_EXTERN void objc_autoreleasePoolPop(void* token);
