// Owning pointers and pools for Objective-C++ under manual reference counting.
#pragma once

#import <Foundation/Foundation.h>

#include <string>
#include <string_view>
#include <utility>

#if __has_feature(objc_arc)
#error "The Metal device counts references by hand: compile it with -fno-objc-arc."
#endif

namespace nitinol::metal {

// One reference to an Objective-C object; `T` is its pointer type.
template <class T>
class Owned {
 public:
  Owned() noexcept = default;
  // Takes over a reference, as methods named new..., copy... and alloc give one.
  static Owned adopt(T object) noexcept {
    Owned owned;
    owned.object_ = object;
    return owned;
  }
  // Adds one to an object that a pool or another owner has.
  static Owned share(T object) noexcept { return adopt([object retain]); }
  Owned(const Owned& other) noexcept : object_([other.object_ retain]) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nil)) {}
  Owned& operator=(Owned other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Owned() { [object_ release]; }

  T get() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nil; }

 private:
  T object_ = nil;
};

// What is autoreleased inside the scope is released at its end, also when a C++ exception
// leaves it (an @autoreleasepool is not drained then).
class Pool {
 public:
  Pool() noexcept : pool_([[NSAutoreleasePool alloc] init]) {}
  ~Pool() { [pool_ drain]; }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  NSAutoreleasePool* pool_;
};

inline Owned<NSString*> to_string(std::string_view text) noexcept {
  return Owned<NSString*>::adopt([[NSString alloc] initWithBytes:text.data()
                                                          length:text.size()
                                                        encoding:NSUTF8StringEncoding]);
}

inline std::string to_string(NSString* text) {
  const char* characters = [text UTF8String];
  return characters ? characters : "";
}

}  // namespace nitinol::metal
