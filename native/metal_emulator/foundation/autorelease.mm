// Autorelease pools: a stack of objects for each thread, with a mark where a pool begins.
#include "autorelease.h"

#import <Foundation/Foundation.h>

#include <vector>

#include "../live.h"
#include "../misuse.h"

namespace {

struct Stack {
  std::vector<id> objects;  // nil: a mark
  std::size_t pools = 0;

  void pop(std::size_t size) {
    // Releasing an object may autorelease others.
    while (objects.size() > size) {
      id object = objects.back();
      objects.pop_back();
      if (object == nil) {
        --pools;
      } else {
        [object release];
      }
    }
  }
  ~Stack() { pop(0); }
};

Stack& stack() {
  static thread_local Stack instance;
  return instance;
}

}  // namespace

void metal_emulator::autorelease(id object) {
  Stack& own = stack();
  if (own.pools == 0) {
    autoreleased_without_pool.fetch_add(1, std::memory_order_relaxed);
  }
  own.objects.push_back(object);
}

extern "C" void* objc_autoreleasePoolPush(void) {
  Stack& own = stack();
  own.objects.push_back(nil);
  ++own.pools;
  return reinterpret_cast<void*>(own.objects.size());
}

extern "C" void objc_autoreleasePoolPop(void* token) {
  Stack& own = stack();
  const auto position = reinterpret_cast<std::size_t>(token);
  if (position == 0 || position > own.objects.size() || own.objects[position - 1] != nil) {
    metal_emulator::misuse("An autorelease pool was popped twice, or on another thread.");
  }
  own.pop(position - 1);
}

@implementation NSAutoreleasePool
- (instancetype)init {
  if ((self = [super init])) {
    token_ = objc_autoreleasePoolPush();
  }
  return self;
}
- (void)drain {
  [self release];
}
- (instancetype)retain {
  metal_emulator::misuse("An autorelease pool can't be retained.");
}
- (instancetype)autorelease {
  metal_emulator::misuse("An autorelease pool can't be autoreleased.");
}
- (void)dealloc {
  objc_autoreleasePoolPop(token_);
  [super dealloc];
}
@end
