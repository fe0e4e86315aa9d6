// What the emulated system keeps resident, and how it tells of memory pressure.
#include <dispatch/dispatch.h>

#include <thread>

#include "metal_emulator/seams.h"
#include "metal_objects.h"

namespace {

using namespace emulator_test;
using namespace metal_emulator;

void test_residency_set() {
  const Residency none = residency();
  @autoreleasepool {
    id<MTLResidencySet> set = nil;
    @autoreleasepool {
      set = [residency_set() retain];
    }
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    const NSUInteger references = [set retainCount];
    [queue addResidencySet:set];
    [queue addResidencySet:set];
    CHECK([set retainCount] == references + 1);
    id<MTLBuffer> x = buffer(1), y = buffer(5000);
    [set addAllocation:x];
    [set addAllocation:y];
    [set addAllocation:y];
    // Nothing of it counts before it is committed.
    CHECK([set containsAllocation:x] && set.allocationCount == 2 && set.allocatedSize == 0);
    CHECK(residency().allocations == none.allocations);
    [set commit];
    CHECK(set.allocatedSize == x.allocatedSize + y.allocatedSize);
    CHECK(residency().allocations == 2 && residency().requested == 0);
    CHECK(residency().bytes == static_cast<std::int64_t>(set.allocatedSize));
    [set requestResidency];
    [set requestResidency];
    CHECK(residency().requested == 1);
    [set removeAllocation:y];
    [set removeAllocation:y];
    CHECK(![set containsAllocation:y] && set.allocationCount == 1 && residency().allocations == 2);
    [set addAllocation:y];  // thought better of
    [set commit];
    CHECK(residency().allocations == 2);
    [set endResidency];
    CHECK(residency().requested == 0);
    [set requestResidency];
    [set removeAllocation:x];
    id<MTLBuffer> z = buffer(1);
    [set addAllocation:z];
    [set removeAllocation:z];
    [set commit];
    CHECK(residency().allocations == 1);
    [queue removeResidencySet:set];
    CHECK([set retainCount] == references);
    [set release];  // before what is in it: that is allowed
  }
  CHECK(residency().allocations == 0 && residency().bytes == 0 && residency().requested == 0);
  CHECK(live_objects("EmulatedResidencySet") == 0 && live_objects("EmulatedBuffer") == 0);
}

void test_residency_seams() {
  NSError* error = nil;
  const SEL make = @selector(newResidencySetWithDescriptor:error:);
  @autoreleasepool {
    MTLResidencySetDescriptor* descriptor = [[[MTLResidencySetDescriptor alloc] init] autorelease];
    fail_residency_sets({.at = 2, .times = 1});
    CHECK(residency_set() != nil);
    CHECK([device() newResidencySetWithDescriptor:descriptor error:&error] == nil);
    CHECK(error.localizedDescription.length > 0);
    CHECK(residency_set() != nil);
    CHECK([device() respondsToSelector:make]);
    configure("no_residency_sets");
    CHECK(![device() respondsToSelector:make]);
    CHECK([device() respondsToSelector:@selector(newCommandQueue)]);
    reset_seams();
    CHECK([device() respondsToSelector:make]);
  }
}

void test_memory_pressure() {
  struct Told {
    int warned = 0, critical = 0;
    std::thread::id by;
  } told;
  Told* const shared = &told;
  const auto listen = [](uintptr_t mask, dispatch_block_t handler) {
    dispatch_source_t source =
        dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0, mask,
                               dispatch_get_global_queue(QOS_CLASS_UTILITY, 0));
    dispatch_source_set_event_handler(source, handler);
    return source;
  };
  dispatch_source_t both =
      listen(DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL, ^{
        ++shared->warned;
        shared->by = std::this_thread::get_id();
      });
  raise_memory_pressure(MemoryPressure::warn);
  CHECK(told.warned == 0);  // not resumed
  dispatch_resume(both);
  dispatch_resume(listen(DISPATCH_MEMORYPRESSURE_CRITICAL, ^{
    ++shared->critical;
  }));
  raise_memory_pressure(MemoryPressure::normal);
  CHECK(told.warned == 0 && told.critical == 0);
  raise_memory_pressure(MemoryPressure::warn);
  CHECK(told.warned == 1 && told.critical == 0 && told.by != std::this_thread::get_id());
  raise_memory_pressure(MemoryPressure::critical);
  CHECK(told.warned == 2 && told.critical == 1);
}

}  // namespace

int main() {
  test_residency_set();
  test_residency_seams();
  test_memory_pressure();
  CHECK(autoreleased_without_pool_count() == 0);
}
