// NSObject. The reference count lies in front of the object, because the compiler lays
// constant strings out and leaves no room for it.
#import <Foundation/Foundation.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "../live.h"
#include "../misuse.h"
#include "autorelease.h"

namespace {

using metal_emulator::misuse;

struct alignas(16) Header {
  std::atomic<long> references;
  std::atomic<std::int64_t>* live;
};

Header* header(id object) { return reinterpret_cast<Header*>(object) - 1; }

// clang leaves the class of a @protocol(...) literal unset where no class adopts it, and the
// runtime takes no protocol without a class: go by the name.
struct ProtocolLayout {
  Class isa;
  const char* name;
};

BOOL conforms(Class cls, Protocol* literal) {
  Protocol* protocol = objc_getProtocol(reinterpret_cast<ProtocolLayout*>(literal)->name);
  if (protocol == nil) {
    return NO;  // none that any class adopts
  }
  for (; cls != Nil; cls = class_getSuperclass(cls)) {
    if (class_conformsToProtocol(cls, protocol)) {
      return YES;
    }
  }
  return NO;
}

}  // namespace

@implementation NSObject
+ (instancetype)alloc {
  void* memory = std::calloc(1, sizeof(Header) + class_getInstanceSize(self));
  if (memory == nullptr) {
    return nil;
  }
  auto* live = metal_emulator::live_counter(class_getName(self));
  live->fetch_add(1, std::memory_order_relaxed);
  id object = reinterpret_cast<id>(new (memory) Header{1, live} + 1);
  object_setClass(object, self);
  return object;
}
+ (instancetype)allocWithZone:(NSZone*)zone {
  return [self alloc];
}
+ (instancetype)new {
  return [[self alloc] init];
}
+ (Class)class {
  return self;
}
+ (Class)superclass {
  return class_getSuperclass(self);
}
+ (BOOL)instancesRespondToSelector:(SEL)selector {
  return class_respondsToSelector(self, selector);
}
+ (BOOL)conformsToProtocol:(Protocol*)protocol {
  return conforms(self, protocol);
}
// Classes are objects, and live for ever.
+ (id)retain {
  return self;
}
+ (oneway void)release {
}
+ (id)autorelease {
  return self;
}

- (instancetype)init {
  return self;
}
- (void)dealloc {
  Header* memory = header(self);
  memory->live->fetch_sub(1, std::memory_order_release);
  std::free(memory);
}
- (instancetype)retain {
  if (header(self)->references.fetch_add(1, std::memory_order_relaxed) <= 0) {
    misuse("A %s was retained while it was being deallocated.", object_getClassName(self));
  }
  return self;
}
- (oneway void)release {
  const long before = header(self)->references.fetch_sub(1, std::memory_order_acq_rel);
  if (before <= 0) {
    misuse("A %s was released once too often.", object_getClassName(self));
  }
  if (before == 1) {
    [self dealloc];
  }
}
- (instancetype)autorelease {
  metal_emulator::autorelease(self);
  return self;
}
- (NSUInteger)retainCount {
  return static_cast<NSUInteger>(header(self)->references.load());
}
- (id)copy {
  return [(id<NSCopying>)self copyWithZone:nullptr];
}

- (BOOL)isEqual:(id)object {
  return self == object;
}
- (NSUInteger)hash {
  return reinterpret_cast<NSUInteger>(self) >> 4;
}
- (Class)class {
  return object_getClass(self);
}
- (Class)superclass {
  return class_getSuperclass(object_getClass(self));
}
- (instancetype)self {
  return self;
}
- (BOOL)isKindOfClass:(Class)cls {
  for (Class own = object_getClass(self); own != Nil; own = class_getSuperclass(own)) {
    if (own == cls) {
      return YES;
    }
  }
  return NO;
}
- (BOOL)isMemberOfClass:(Class)cls {
  return object_getClass(self) == cls;
}
- (BOOL)conformsToProtocol:(Protocol*)protocol {
  return conforms(object_getClass(self), protocol);
}
- (BOOL)respondsToSelector:(SEL)selector {
  return class_respondsToSelector(object_getClass(self), selector);
}
- (NSString*)description {
  return [NSString stringWithUTF8String:object_getClassName(self)];
}
- (void)doesNotRecognizeSelector:(SEL)selector {
  misuse("%s does not understand '%s'.", object_getClassName(self), sel_getName(selector));
}
// What the runtime calls when it finds no method; it crashes where no class has this selector.
// clang-format off
- (void*)forward:(SEL)selector :(void*)arguments {
  // clang-format on
  [self doesNotRecognizeSelector:selector];
  return arguments;
}
@end
