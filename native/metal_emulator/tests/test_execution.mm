// Work on the emulated GPU: results, order, statuses, handlers, limits, counters, leaks.
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "metal_emulator/seams.h"
#include "metal_objects.h"

namespace {

using namespace emulator_test;
using namespace std::chrono_literals;

template <typename Condition>
void wait_for(Condition condition) {
  for (int i = 0; i < 20000 && !condition(); ++i) {
    std::this_thread::sleep_for(1ms);
  }
  CHECK(condition());
}

void test_dispatch() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(100);
    for (std::uint32_t i = 0; i < 100; ++i) {
      CHECK(words(x)[i] == 0);
      words(x)[i] = i;
    }
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    CHECK(commands.status == MTLCommandBufferStatusNotEnqueued);
    encode(commands, @"add", x, 100, 5);
    encode(commands, @"multiply", x, 50, 2);
    [commands commit];
    [commands waitUntilCompleted];
    CHECK(commands.status == MTLCommandBufferStatusCompleted);
    CHECK(commands.error == nil);
    CHECK(commands.GPUEndTime >= commands.GPUStartTime && commands.GPUStartTime > 0);
    for (std::uint32_t i = 0; i < 100; ++i) {
      CHECK(words(x)[i] == (i < 50 ? 2 * (i + 5) : i + 5));
    }
  }
}

void test_offsets_and_threadgroup_memory() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(64);
    std::iota(words(x), words(x) + 64, 0U);
    id<MTLBuffer> y = buffer(8);
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
    [encoder setComputePipelineState:pipeline(@"sum")];
    const id<MTLBuffer> both[] = {x, y};
    const NSUInteger offsets[] = {0, 12};
    [encoder setBuffers:both offsets:offsets withRange:NSMakeRange(0, 2)];
    [encoder setBufferOffset:32 * sizeof(std::uint32_t) atIndex:0];
    [encoder setThreadgroupMemoryLength:32 * sizeof(std::uint32_t) atIndex:0];
    [encoder dispatchThreads:MTLSizeMake(32, 1, 1) threadsPerThreadgroup:MTLSizeMake(32, 1, 1)];
    [encoder endEncoding];
    [commands commit];
    [commands waitUntilCompleted];
    CHECK(words(y)[3] == (32 + 63) * 32 / 2);
    CHECK(words(y)[2] == 0 && words(y)[4] == 0);
  }
}

// Two dispatches of a concurrent encoder run in reverse unless a barrier stands between them.
void test_concurrent_encoder() {
  for (const bool barrier : {false, true}) {
    @autoreleasepool {
      id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
      id<MTLBuffer> x = buffer(1);
      words(x)[0] = 1;
      id<MTLCommandBuffer> commands = [queue commandBuffer];
      id<MTLComputeCommandEncoder> encoder =
          [commands computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent];
      CHECK(encoder.dispatchType == MTLDispatchTypeConcurrent);
      const std::uint32_t ten = 10;
      [encoder setBuffer:x offset:0 atIndex:0];
      [encoder setBytes:&ten length:sizeof ten atIndex:1];
      const MTLSize one = MTLSizeMake(1, 1, 1);
      [encoder setComputePipelineState:pipeline(@"add")];
      [encoder dispatchThreadgroups:one threadsPerThreadgroup:one];
      if (barrier) {
        [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
      }
      [encoder setComputePipelineState:pipeline(@"multiply")];
      [encoder dispatchThreadgroups:one threadsPerThreadgroup:one];
      [encoder endEncoding];
      [commands commit];
      [commands waitUntilCompleted];
      CHECK(words(x)[0] == (barrier ? 110 : 20));
    }
  }
}

void test_blit() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(16);
    id<MTLBuffer> y = buffer(16);
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
    [encoder fillBuffer:x range:NSMakeRange(0, 32) value:0xab];
    [encoder copyFromBuffer:x sourceOffset:16 toBuffer:y destinationOffset:8 size:32];
    [encoder endEncoding];
    [commands commit];
    [commands waitUntilCompleted];
    CHECK(words(y)[1] == 0 && words(y)[2] == 0xabababab && words(y)[5] == 0xabababab);
    CHECK(words(y)[6] == 0 && words(y)[10] == 0);
  }
}

// Enqueueing reserves a place: buffers run in that order, not in that of commit.
void test_order() {
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(1);
    id<MTLCommandBuffer> first = [queue commandBuffer];
    id<MTLCommandBuffer> second = [queue commandBuffer];
    encode(first, @"add", x, 1, 1);
    encode(second, @"multiply", x, 1, 7);
    [first enqueue];
    CHECK(first.status == MTLCommandBufferStatusEnqueued);
    [second commit];
    CHECK(second.status == MTLCommandBufferStatusCommitted);
    [first commit];
    [second waitUntilCompleted];
    CHECK(first.status == MTLCommandBufferStatusCompleted);
    CHECK(words(x)[0] == 7);
  }
}

void test_handlers() {
  std::atomic<int> step{0};
  std::atomic<int>* const shared = &step;
  const std::thread::id caller = std::this_thread::get_id();
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(1);
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    encode(commands, @"add", x, 1, 3);
    [commands addScheduledHandler:^(id<MTLCommandBuffer> given) {
      CHECK(given.status >= MTLCommandBufferStatusScheduled);
      CHECK(shared->exchange(1) == 0);
    }];
    [commands addCompletedHandler:^(id<MTLCommandBuffer> given) {
      CHECK(given.status == MTLCommandBufferStatusCompleted);
      CHECK(std::this_thread::get_id() != caller);
      CHECK(words(x)[0] == 3);  // the block retains what it captures
      CHECK(shared->exchange(2) == 1);
    }];
    [commands addCompletedHandler:^(id<MTLCommandBuffer>) {
      CHECK(shared->exchange(3) == 2);
    }];
    [commands commit];
  }
  wait_for([&] { return step == 3; });
}

void test_limit_of_uncompleted_buffers() {
  metal_emulator::hold_gpu();
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueueWithMaxCommandBufferCount:3] autorelease];
    for (int i = 0; i < 3; ++i) {
      @autoreleasepool {
        [[queue commandBuffer] commit];
      }
    }
    std::atomic<bool> got{false};
    std::thread fourth([&] {
      @autoreleasepool {
        CHECK([queue commandBuffer] != nil);
        got = true;
      }
    });
    std::this_thread::sleep_for(20ms);
    CHECK(!got);
    metal_emulator::release_gpu();
    fourth.join();
    CHECK(got);
    // One that is dropped uncommitted makes room as well.
    for (int i = 0; i < 100; ++i) {
      @autoreleasepool {
        [queue commandBuffer];
      }
    }
  }
}

void test_many_threads() {
  constexpr int threads = 4;
  constexpr int rounds = 50;
  std::atomic<int> handled{0};
  std::atomic<int>* const count = &handled;
  @autoreleasepool {
    id<MTLBuffer> x = buffer(threads);
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([=] {
        @autoreleasepool {
          id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
          id<MTLCommandBuffer> last = nil;
          for (int i = 0; i < rounds; ++i) {
            id<MTLCommandBuffer> commands = [queue commandBufferWithUnretainedReferences];
            id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
            const std::uint32_t y = 1;
            [encoder setComputePipelineState:pipeline(@"add")];
            [encoder setBuffer:x offset:sizeof y * static_cast<NSUInteger>(t) atIndex:0];
            [encoder setBytes:&y length:sizeof y atIndex:1];
            [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1)
                    threadsPerThreadgroup:MTLSizeMake(1, 1, 1)];
            [encoder endEncoding];
            [commands addCompletedHandler:^(id<MTLCommandBuffer>) {
              count->fetch_add(1);
            }];
            [commands commit];
            last = commands;
          }
          [last waitUntilCompleted];
        }
      });
    }
    for (std::thread& worker : workers) {
      worker.join();
    }
    for (int t = 0; t < threads; ++t) {
      CHECK(words(x)[t] == rounds);
    }
  }
  wait_for([&] { return handled == threads * rounds; });
}

void test_counters() {
  metal_emulator::reset_counters();
  @autoreleasepool {
    id<MTLCommandQueue> queue = [[device() newCommandQueue] autorelease];
    id<MTLBuffer> x = buffer(10);
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    encode(commands, @"add", x, 10, 1);
    encode(commands, @"add", x, 10, 1);
    [commands commit];
    [commands waitUntilCompleted];
  }
  const metal_emulator::Counters counters = metal_emulator::counters();
  CHECK(counters.command_buffers == 1);
  CHECK(counters.encoders == 2 && counters.dispatches == 2);
  CHECK(counters.bytes_set == 8);
  CHECK(counters.buffers_allocated == 1 && counters.bytes_allocated == 40);
}

// What remains is what static variables hold, and the device.
void test_leaks() {
  for (const char* name : {"EmulatedBuffer", "EmulatedCommandBuffer", "EmulatedCommandQueue",
                           "EmulatedComputeCommandEncoder", "EmulatedBlitCommandEncoder",
                           "EmulatedComputePipelineState", "EmulatedFunction", "Block"}) {
    wait_for([&] { return metal_emulator::live_objects(name) == 0; });
  }
  CHECK(metal_emulator::live_objects("EmulatedLibrary") == 1);
  CHECK(metal_emulator::live_objects("EmulatedDevice") == 1);
  CHECK(metal_emulator::autoreleased_without_pool_count() == 0);
  CHECK(device().currentAllocatedSize == 0);
}

}  // namespace

int main() {
  test_dispatch();
  test_offsets_and_threadgroup_memory();
  test_concurrent_encoder();
  test_blit();
  test_order();
  test_handlers();
  test_limit_of_uncompleted_buffers();
  test_many_threads();
  test_counters();
  test_leaks();
}
