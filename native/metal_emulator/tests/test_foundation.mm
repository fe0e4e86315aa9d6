// Foundation and the blocks runtime: ownership, pools, text, collections, C++ exceptions.
#include <Block.h>

#include <stdexcept>
#include <thread>
#include <vector>

#import <Foundation/Foundation.h>

#include "check.h"
#include "metal_emulator/seams.h"

@interface Probe : NSObject
@end
@implementation Probe
- (int)callBlock:(int (^)(int))block {
  return block(20);
}
- (void)throwFromMethod {
  throw std::runtime_error("thrown");
}
@end

namespace {

using metal_emulator::live_objects;

std::int64_t probes() { return live_objects("Probe"); }

void test_retain_and_release() {
  Probe* probe = [[Probe alloc] init];
  CHECK(probes() == 1);
  CHECK([probe retain] == probe && probe.retainCount == 2);
  [probe release];
  CHECK(probes() == 1);
  [probe release];
  CHECK(probes() == 0);
  [(Probe*)nil release];
  CHECK([[Probe class] retain] == [Probe class]);
}

void test_pools() {
  @autoreleasepool {
    [[[Probe alloc] init] autorelease];
    @autoreleasepool {
      [[[Probe alloc] init] autorelease];
      CHECK(probes() == 2);
    }
    CHECK(probes() == 1);
    void* token = objc_autoreleasePoolPush();
    [[[Probe alloc] init] autorelease];
    objc_autoreleasePoolPop(token);
    NSAutoreleasePool* pool = [[NSAutoreleasePool alloc] init];
    [[[Probe alloc] init] autorelease];
    [pool drain];
    CHECK(probes() == 1);
  }
  CHECK(probes() == 0);
  CHECK(live_objects("NSAutoreleasePool") == 0);
  // Without a pool an object lives as long as its thread, and is counted.
  CHECK(metal_emulator::autoreleased_without_pool_count() == 0);
  std::thread([] {
    [[[Probe alloc] init] autorelease];
    CHECK(probes() == 1);
  }).join();
  CHECK(probes() == 0);
  CHECK(metal_emulator::autoreleased_without_pool_count() == 1);
}

void test_classes() {
  @autoreleasepool {
    id probe = [[Probe new] autorelease];
    CHECK([probe isKindOfClass:[NSObject class]] && [probe isMemberOfClass:[Probe class]]);
    CHECK(![probe isKindOfClass:[NSString class]]);
    CHECK([probe respondsToSelector:@selector(callBlock:)]);
    CHECK(![probe respondsToSelector:@selector(objectAtIndex:)]);
    CHECK([probe conformsToProtocol:@protocol(NSObject)]);
    CHECK(![probe conformsToProtocol:@protocol(NSCopying)]);
    CHECK([[probe description] isEqualToString:@"Probe"]);
  }
}

void test_blocks() {
  int (^kept)(int) = nil;
  {
    Probe* probe = [[Probe alloc] init];
    __block int calls = 0;
    const std::vector<int> numbers = {1, 2, 3};  // copied with its own constructor
    int (^inner)(int) = ^(int x) {
      ++calls;
      return x + 1;
    };
    int (^outer)(int) = ^(int x) {
      CHECK([probe isKindOfClass:[Probe class]]);
      ++calls;
      return inner(x) + numbers.back();
    };
    kept = Block_copy(outer);
    CHECK(Block_copy(kept) == kept);
    Block_release(kept);
    [probe release];
    CHECK(probes() == 1);  // the copy holds it
    CHECK([probe callBlock:kept] == 24);
    CHECK(calls == 2);
    calls = 10;
  }
  CHECK(kept(1) == 5);
  CHECK(live_objects("Block") == 2);
  Block_release(kept);
  CHECK(live_objects("Block") == 0);
  CHECK(probes() == 0);
  int (^global)(int) = ^(int x) {
    return x;
  };
  CHECK(Block_copy(global) == global);
  Block_release(global);
  CHECK(Block_copy((int (^)(int))nil) == nil);
  Block_release((int (^)(int))nil);
}

void test_strings() {
  @autoreleasepool {
    NSString* text = [NSString stringWithUTF8String:"na\xc3\xafve \xf0\x9f\x98\x80"];
    CHECK(text.length == 8);  // the last character is two UTF-16 units
    CHECK([text lengthOfBytesUsingEncoding:NSUTF8StringEncoding] == 11);
    CHECK([@"metal" isEqualToString:[NSString stringWithUTF8String:"metal"]]);
    CHECK([@"metal" isEqual:[NSString stringWithUTF8String:"metal"]]);
    CHECK(@"metal".hash == [NSString stringWithUTF8String:"metal"].hash);
    CHECK(![@"metal" isEqual:@"metals"] && [@"metals" hasPrefix:@"metal"]);
    NSString* copy = [text copy];
    CHECK([copy isEqual:text]);
    [copy release];
    for (const char* bad :
         {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x28\xa1"}) {
      CHECK([NSString stringWithUTF8String:bad] == nil);
    }
    CHECK([[@"literal" retain] autorelease].length == 7);
  }
  CHECK(live_objects("NSHeapString") == 0 && live_objects("NSString") == 0);
}

void test_collections() {
  @autoreleasepool {
    const id items[] = {@"a", [[Probe new] autorelease], [NSNumber numberWithInt:-3]};
    NSArray* array = [NSArray arrayWithObjects:items count:3];
    CHECK(array.count == 3 && array.firstObject == items[0] && [array containsObject:@"a"]);
    NSUInteger seen = 0;
    for (id item in array) {
      CHECK(item == items[seen++]);
    }
    CHECK(seen == 3);
    for (id item in [NSArray array]) {
      CHECK(item == nil);
    }
    NSDictionary* dictionary = [NSDictionary dictionaryWithObject:array forKey:@"key"];
    CHECK([dictionary objectForKey:[NSString stringWithUTF8String:"key"]] == array);
    CHECK([dictionary objectForKey:@"other"] == nil && dictionary.count == 1);
    CHECK([[NSNumber numberWithUnsignedLongLong:~0ULL].stringValue
        isEqualToString:@"18446744073709551615"]);
    CHECK([[NSNumber numberWithInt:-3] isEqual:items[2]]);
    CHECK([NSNumber numberWithDouble:0.5].doubleValue == 0.5);
  }
  CHECK(probes() == 0);
  CHECK(live_objects("NSArray") == 0 && live_objects("NSDictionary") == 0);
  CHECK(live_objects("NSNumber") == 0);
}

void test_errors() {
  @autoreleasepool {
    NSError* cause = [NSError errorWithDomain:@"inner" code:5 userInfo:nil];
    CHECK([cause.localizedDescription
        isEqualToString:@"The operation couldn't be completed. (inner error 5.)"]);
    const id keys[] = {NSUnderlyingErrorKey, NSLocalizedDescriptionKey};
    const id values[] = {cause, @"It broke."};
    NSError* error = [NSError errorWithDomain:@"outer"
                                         code:-7
                                     userInfo:[NSDictionary dictionaryWithObjects:values
                                                                          forKeys:keys
                                                                            count:2]];
    CHECK(error.code == -7 && [error.domain isEqualToString:@"outer"]);
    CHECK([error.localizedDescription isEqualToString:@"It broke."]);
    CHECK([[error.userInfo objectForKey:NSUnderlyingErrorKey] code] == 5);
  }
  CHECK(live_objects("NSError") == 0);
}

// A C++ exception passes Objective-C frames, and is caught in one.
void test_exceptions() {
  struct Guard {
    bool& left;
    ~Guard() { left = true; }
  };
  bool left = false;
  bool caught = false;
  Probe* probe = [[Probe alloc] init];
  try {
    const Guard guard{left};
    [probe callBlock:^(int x) {
      [probe throwFromMethod];
      return x;
    }];
  } catch (const std::runtime_error& error) {
    caught = std::string(error.what()) == "thrown";
  }
  CHECK(caught && left);
  [probe release];
  CHECK(probes() == 0);
}

}  // namespace

int main() {
  test_retain_and_release();
  test_pools();
  test_classes();
  test_blocks();
  test_strings();
  test_collections();
  test_errors();
  test_exceptions();
}
