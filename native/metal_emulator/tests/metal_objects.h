// Kernels of the emulator's own tests, and short ways to Metal objects.
#pragma once

#import <Metal/Metal.h>

#include <cstdint>

#include "check.h"

namespace emulator_test {

inline NSString* const source = @R"(
#include <metal_stdlib>
using namespace metal;

kernel void add(device uint* x [[buffer(0)]], constant uint& y [[buffer(1)]],
                uint i [[thread_position_in_grid]]) {
  x[i] += y;
}

kernel void multiply(device uint* x [[buffer(0)]], constant uint& y [[buffer(1)]],
                     uint i [[thread_position_in_grid]]) {
  x[i] *= y;
}

kernel void sum(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]],
                threadgroup uint* shared [[threadgroup(0)]], uint i [[thread_position_in_grid]],
                uint n [[threads_per_grid]]) {
  shared[i] = x[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (i == 0) {
    uint total = 0;
    for (uint j = 0; j < n; ++j) {
      total += shared[j];
    }
    y[0] = total;
  }
}
)";

inline id<MTLDevice> device() {
  static const id<MTLDevice> instance = MTLCreateSystemDefaultDevice();
  return instance;
}

inline id<MTLComputePipelineState> pipeline(NSString* name) {
  static const id<MTLLibrary> library = [] {
    NSError* error = nil;
    id<MTLLibrary> compiled = [device() newLibraryWithSource:source options:nil error:&error];
    if (compiled == nil) {
      std::fprintf(stderr, "%s\n", error.localizedDescription.UTF8String);
    }
    CHECK(compiled != nil);
    return compiled;
  }();
  id<MTLFunction> function = [library newFunctionWithName:name];
  CHECK(function != nil);
  NSError* error = nil;
  id<MTLComputePipelineState> state = [device() newComputePipelineStateWithFunction:function
                                                                              error:&error];
  CHECK(state != nil);
  [function release];
  return [state autorelease];
}

inline id<MTLBuffer> buffer(NSUInteger count) {
  return [[device() newBufferWithLength:count * sizeof(std::uint32_t)
                                options:MTLResourceStorageModeShared] autorelease];
}

inline id<MTLResidencySet> residency_set() {
  MTLResidencySetDescriptor* descriptor = [[[MTLResidencySetDescriptor alloc] init] autorelease];
  NSError* error = nil;
  return [[device() newResidencySetWithDescriptor:descriptor error:&error] autorelease];
}

inline std::uint32_t* words(id<MTLBuffer> memory) {
  return static_cast<std::uint32_t*>(memory.contents);
}

// x[0:n] (op)= y, in an encoder of its own.
inline void encode(id<MTLCommandBuffer> commands, NSString* kernel, id<MTLBuffer> x, NSUInteger n,
                   std::uint32_t y) {
  id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
  encoder.label = kernel;
  [encoder setComputePipelineState:pipeline(kernel)];
  [encoder setBuffer:x offset:0 atIndex:0];
  [encoder setBytes:&y length:sizeof y atIndex:1];
  [encoder dispatchThreadgroups:MTLSizeMake(n, 1, 1) threadsPerThreadgroup:MTLSizeMake(1, 1, 1)];
  [encoder endEncoding];
}

}  // namespace emulator_test
