// The test seams: every way to let the emulated device fail, be late, or be silent.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "metal_emulator/seams.h"
#include "metal_objects.h"

namespace {

using namespace emulator_test;
using namespace metal_emulator;
using namespace std::chrono_literals;

id<MTLCommandBuffer> make(id<MTLCommandQueue> queue) {
  MTLCommandBufferDescriptor* descriptor = [[[MTLCommandBufferDescriptor alloc] init] autorelease];
  CHECK(descriptor.retainedReferences &&
        descriptor.errorOptions == MTLCommandBufferErrorOptionNone);
  descriptor.errorOptions = MTLCommandBufferErrorOptionEncoderExecutionStatus;
  return [queue commandBufferWithDescriptor:descriptor];
}

// Adds 1 to x in a buffer of its own; what became of it.
id<MTLCommandBuffer> add_one(id<MTLCommandQueue> queue, id<MTLBuffer> x) {
  id<MTLCommandBuffer> commands = make(queue);
  encode(commands, @"add", x, 1, 1);
  [commands commit];
  [commands waitUntilCompleted];
  return commands;
}

bool failed(id<MTLCommandBuffer> commands) {
  CHECK((commands.status == MTLCommandBufferStatusError) == (commands.error != nil));
  return commands.error != nil;
}

void test_failures() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(1);
    CHECK(!failed(add_one(queue, x)));
    CommandBufferFailure failure;
    failure.occasion = {.at = 2, .times = 2};
    failure.code = MTLCommandBufferErrorTimeout;
    failure.raw = 2;
    fail_command_buffers(failure);
    CHECK(!failed(add_one(queue, x)));
    CHECK(words(x)[0] == 2);
    for (int i = 0; i < 2; ++i) {
      NSError* error = add_one(queue, x).error;
      CHECK([error.domain isEqualToString:MTLCommandBufferErrorDomain]);
      CHECK(error.code == MTLCommandBufferErrorTimeout);
      NSError* cause = [error.userInfo objectForKey:NSUnderlyingErrorKey];
      CHECK([cause.domain isEqualToString:@"IOGPUCommandQueueErrorDomain"] && cause.code == 2);
      CHECK(error.localizedDescription.length > 0);
    }
    CHECK(words(x)[0] == 2);  // not executed
    CHECK(!failed(add_one(queue, x)));
    CHECK(words(x)[0] == 3);
    // Executed, then failed; another domain; no underlying error.
    fail_command_buffers({.occasion = {},
                          .domain = "Elsewhere",
                          .code = 77,
                          .raw = {},
                          .encoder_states = {},
                          .execute = true});
    NSError* error = add_one(queue, x).error;
    CHECK([error.domain isEqualToString:@"Elsewhere"] && error.code == 77);
    CHECK([error.userInfo objectForKey:NSUnderlyingErrorKey] == nil);
    CHECK(words(x)[0] == 4);
  }
}

std::vector<int> states_of(const CommandBufferFailure& failure, bool ask) {
  fail_command_buffers(failure);
  std::vector<int> states;
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLCommandBuffer> commands = ask ? make(queue) : [queue commandBuffer];
    id<MTLBuffer> x = buffer(1);
    encode(commands, @"add", x, 1, 1);
    encode(commands, @"multiply", x, 1, 1);
    id<MTLBlitCommandEncoder> blit = [commands blitCommandEncoder];
    blit.label = @"copy";
    [blit insertDebugSignpost:@"here"];
    [blit endEncoding];
    [commands commit];
    [commands waitUntilCompleted];
    NSArray<id<MTLCommandBufferEncoderInfo>>* infos =
        [commands.error.userInfo objectForKey:MTLCommandBufferEncoderInfoErrorKey];
    CHECK((infos != nil) == ask);
    const char* labels[] = {"add", "multiply", "copy"};
    for (id<MTLCommandBufferEncoderInfo> info in infos) {
      CHECK(std::string(info.label.UTF8String) == labels[states.size()]);
      CHECK(info.debugSignposts.count == (states.size() == 2 ? 1 : 0));
      states.push_back(static_cast<int>(info.errorState));
    }
  }
  return states;
}

void test_encoder_states() {
  CommandBufferFailure failure;
  CHECK((states_of(failure, true) == std::vector<int>{4, 3, 3}));
  CHECK(states_of(failure, false).empty());
  failure.execute = true;
  CHECK((states_of(failure, true) == std::vector<int>{1, 1, 4}));
  failure.encoder_states = {2, 1};
  CHECK((states_of(failure, true) == std::vector<int>{2, 1, 0}));
}

void test_creation_failures() {
  @autoreleasepool {
    fail_allocations({.at = 2, .times = 1});
    CHECK([[device() newBufferWithLength:16 options:0] autorelease] != nil);
    CHECK([device() newBufferWithLength:16 options:0] == nil);
    CHECK([[device() newBufferWithLength:16 options:0] autorelease] != nil);

    NSError* error = nil;
    fail_libraries({});
    CHECK([device() newLibraryWithSource:source options:nil error:&error] == nil);
    CHECK([error.domain isEqualToString:MTLLibraryErrorDomain]);
    id<MTLLibrary> library = [device() newLibraryWithSource:source options:nil error:&error];
    CHECK(library != nil && library.functionNames.count == 3);
    CHECK([library newFunctionWithName:@"missing"] == nil);
    id<MTLFunction> function = [library newFunctionWithName:@"add"];
    CHECK([function.name isEqualToString:@"add"]);
    fail_pipelines({});
    error = nil;
    CHECK([device() newComputePipelineStateWithFunction:function error:&error] == nil);
    CHECK(error != nil);
    [function release];
    [library release];

    error = nil;
    CHECK([device() newLibraryWithSource:@"kernel void f( syntax error" options:nil
                                   error:&error] == nil);
    CHECK(error.code == MTLLibraryErrorCompileFailure && error.localizedDescription.length > 0);
  }
  CHECK(live_objects("EmulatedBuffer") == 0);
}

void test_hold() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(1);
    hold_gpu();
    id<MTLCommandBuffer> commands = make(queue);
    encode(commands, @"add", x, 1, 1);
    [commands commit];
    std::this_thread::sleep_for(20ms);
    CHECK(commands.status == MTLCommandBufferStatusCommitted && words(x)[0] == 0);
    release_gpu();
    [commands waitUntilCompleted];
    CHECK(words(x)[0] == 1);
  }
}

void test_dropped_handler() {
  std::atomic<int> calls{0};
  std::atomic<int>* const count = &calls;
  drop_handlers({.at = 2, .times = 1});
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    for (int i = 0; i < 3; ++i) {
      id<MTLCommandBuffer> commands = make(queue);
      [commands addCompletedHandler:^(id<MTLCommandBuffer>) {
        count->fetch_add(i == 1 ? 100 : 1);
      }];
      [commands commit];
      [commands waitUntilCompleted];
      CHECK(commands.status == MTLCommandBufferStatusCompleted);
    }
  }
  for (int i = 0; i < 10000 && live_objects("Block") != 0; ++i) {
    std::this_thread::sleep_for(1ms);
  }
  CHECK(calls == 2);
}

void test_disorder() {
  constexpr int buffers = 40;
  struct Log {
    std::mutex mutex;
    std::vector<int> order;
  } log;
  Log* const shared = &log;
  disorder_handlers(7, 20000);
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    for (int i = 0; i < buffers; ++i) {
      id<MTLCommandBuffer> commands = make(queue);
      [commands addCompletedHandler:^(id<MTLCommandBuffer> given) {
        CHECK(given.status == MTLCommandBufferStatusCompleted);
        std::lock_guard lock(shared->mutex);
        shared->order.push_back(i);
      }];
      [commands commit];
    }
  }
  for (int i = 0; i < 10000 && live_objects("EmulatedCommandBuffer") != 0; ++i) {
    std::this_thread::sleep_for(1ms);
  }
  CHECK(log.order.size() == buffers);
  CHECK(!std::is_sorted(log.order.begin(), log.order.end()));
  disorder_handlers(0, 0);
}

void test_working_set() {
  const std::uint64_t before = device().recommendedMaxWorkingSetSize;
  CHECK(before > (1 << 20));
  set_working_set(12345);
  CHECK(device().recommendedMaxWorkingSetSize == 12345);
  reset_seams();
  CHECK(device().recommendedMaxWorkingSetSize == before);
}

void test_configuration() {
  configure(
      "fail_command_buffer@2*1:code=8,raw=8,states=4+3;fail_allocation;working_set:bytes=99;");
  CHECK(device().recommendedMaxWorkingSetSize == 99);
  CHECK([device() newBufferWithLength:16 options:0] == nil);
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(1);
    CHECK(!failed(add_one(queue, x)));
    NSError* error = add_one(queue, x).error;
    CHECK(error.code == MTLCommandBufferErrorOutOfMemory);
    CHECK([[error.userInfo objectForKey:NSUnderlyingErrorKey] code] == 8);
    CHECK([[[error.userInfo objectForKey:MTLCommandBufferEncoderInfoErrorKey] firstObject]
              errorState] == MTLCommandEncoderErrorStateFaulted);
  }
  reset_seams();
  for (const char* bad : {"fail", "fail_allocation@x", "fail_allocation@0", "fail_allocation*-1",
                          "fail_command_buffer:code=x", "fail_command_buffer:cod=1", "hold:now",
                          "disorder:delay_us=1x"}) {
    bool refused = false;
    try {
      configure(bad);
    } catch (const std::invalid_argument& error) {
      refused = std::string(error.what()).find(bad) != std::string::npos;
    }
    CHECK(refused);
    reset_seams();
  }
}

// What a whole program sees that was started with METAL_EMULATOR.
void run_child() {
  CHECK([device() newBufferWithLength:16 options:0] == nil);
  CHECK([[device() newBufferWithLength:16 options:0] autorelease] != nil);
}

void test_environment(const char* program) {
  const std::string command = std::string("METAL_EMULATOR=fail_allocation '") + program + "' child";
  CHECK(std::system(command.c_str()) == 0);
}

}  // namespace

int main(int argc, char** argv) {
  @autoreleasepool {
    if (argc > 1) {
      run_child();
      return 0;
    }
    test_failures();
    test_encoder_states();
    test_creation_failures();
    test_hold();
    test_dropped_handler();
    test_disorder();
    test_working_set();
    test_configuration();
    test_environment(argv[0]);
  }
  CHECK(autoreleased_without_pool_count() == 0);
}
