// The compute encoder: bindings are checked when they are made and when they are used.
#include "../misuse.h"
#include "objects.h"

using metal_emulator::misuse;

namespace metal_emulator {

struct Binding {
  void* memory = nullptr;        // null: unbound
  EmulatedBuffer* buffer = nil;  // nil: of setBytes
  std::size_t size = 0;          // from the offset to the end
};

struct Bindings {
  EmulatedComputePipelineState* pipeline = nil;
  std::array<Binding, max_buffers> buffers{};
  std::array<std::size_t, max_buffers> threadgroup_bytes{};
};

}  // namespace metal_emulator

namespace {

constexpr NSUInteger max_set_bytes = 4096;
constexpr NSUInteger threadgroup_alignment = 16;

void check_index(NSUInteger index, SEL selector) {
  if (index >= metal_emulator::max_buffers) {
    misuse("%s: the index %lu is not less than %d.", sel_getName(selector), index,
           metal_emulator::max_buffers);
  }
}

metal_emulator::Size3 narrow(MTLSize size, const char* what) {
  if (size.width == 0 || size.height == 0 || size.depth == 0) {
    misuse("The %s %lu x %lu x %lu have a dimension of 0.", what, size.width, size.height,
           size.depth);
  }
  if (size.width > UINT32_MAX || size.height > UINT32_MAX || size.depth > UINT32_MAX) {
    misuse("The %s %lu x %lu x %lu don't fit 32 bits.", what, size.width, size.height, size.depth);
  }
  return {static_cast<std::uint32_t>(size.width), static_cast<std::uint32_t>(size.height),
          static_cast<std::uint32_t>(size.depth)};
}

}  // namespace

@implementation EmulatedComputeCommandEncoder
- (instancetype)initWithCommandBuffer:(EmulatedCommandBuffer*)commandBuffer
                           concurrent:(BOOL)concurrent {
  if ((self = [super initWithCommandBuffer:commandBuffer concurrent:concurrent])) {
    bindings_ = new metal_emulator::Bindings;
  }
  return self;
}
- (void)dealloc {
  delete bindings_;
  [super dealloc];
}
- (MTLDispatchType)dispatchType {
  return record_->concurrent ? MTLDispatchTypeConcurrent : MTLDispatchTypeSerial;
}

- (void)setComputePipelineState:(id<MTLComputePipelineState>)state {
  [self recordFor:_cmd];
  if (state == nil) {
    misuse("setComputePipelineState: needs a pipeline, not nil.");
  }
  bindings_->pipeline = (EmulatedComputePipelineState*)state;
  [command_buffer_ use:state counter:bindings_->pipeline->uses_];
}
- (void)setBytes:(const void*)bytes length:(NSUInteger)length atIndex:(NSUInteger)index {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  check_index(index, _cmd);
  if (length == 0 || length > max_set_bytes) {
    misuse("setBytes:length:atIndex: the length %lu is not between 1 and %lu.", length,
           max_set_bytes);
  }
  const auto* first = static_cast<const std::byte*>(bytes);
  auto& copy = record.constants.emplace_back(first, first + length);
  bindings_->buffers[index] = {copy.data(), nil, length};
  metal_emulator::count(metal_emulator::totals.bytes_set, length);
}
- (void)bind:(id<MTLBuffer>)buffer offset:(NSUInteger)offset index:(NSUInteger)index by:(SEL)by {
  check_index(index, by);
  if (buffer == nil) {
    bindings_->buffers[index] = {};
    return;
  }
  auto* own = (EmulatedBuffer*)buffer;
  if (offset >= own->length_) {
    misuse("%s: the offset %lu at index %lu is not less than the length %lu of the buffer \"%s\".",
           sel_getName(by), offset, index, own->length_, own->label_->string().c_str());
  }
  [self useBuffer:buffer];
  bindings_->buffers[index] = {static_cast<std::byte*>(own->contents_) + offset, own,
                               own->length_ - offset};
}
- (void)setBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset atIndex:(NSUInteger)index {
  [self recordFor:_cmd];
  [self bind:buffer offset:offset index:index by:_cmd];
}
- (void)setBufferOffset:(NSUInteger)offset atIndex:(NSUInteger)index {
  [self recordFor:_cmd];
  check_index(index, _cmd);
  EmulatedBuffer* buffer = bindings_->buffers[index].buffer;
  if (buffer == nil) {
    misuse("setBufferOffset:atIndex: no buffer is bound at index %lu.", index);
  }
  [self bind:buffer offset:offset index:index by:_cmd];
}
- (void)setBuffers:(const id<MTLBuffer>[])buffers
           offsets:(const NSUInteger[])offsets
         withRange:(NSRange)range {
  [self recordFor:_cmd];
  for (NSUInteger i = 0; i < range.length; ++i) {
    [self bind:buffers[i] offset:offsets[i] index:range.location + i by:_cmd];
  }
}
- (void)setThreadgroupMemoryLength:(NSUInteger)length atIndex:(NSUInteger)index {
  [self recordFor:_cmd];
  check_index(index, _cmd);
  if (length % threadgroup_alignment != 0) {
    misuse("setThreadgroupMemoryLength:atIndex: the length %lu is not a multiple of %lu.", length,
           threadgroup_alignment);
  }
  if (length > metal_emulator::max_threadgroup_bytes) {
    misuse("setThreadgroupMemoryLength:atIndex: the length %lu exceeds %lu.", length,
           metal_emulator::max_threadgroup_bytes);
  }
  bindings_->threadgroup_bytes[index] = length;
}

- (void)dispatchThreadgroups:(MTLSize)threadgroups threadsPerThreadgroup:(MTLSize)threads {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  if (bindings_->pipeline == nil) {
    misuse("A dispatch was encoded without a pipeline.");
  }
  const metal_emulator::Function& function = *bindings_->pipeline->function_->function_;
  const char* name = function.name().c_str();
  metal_emulator::Dispatch dispatch;
  dispatch.function = &function;
  dispatch.threadgroups = narrow(threadgroups, "threadgroups per grid");
  dispatch.threads_per_threadgroup = narrow(threads, "threads per threadgroup");
  const NSUInteger most = bindings_->pipeline.maxTotalThreadsPerThreadgroup;
  if (threads.width > most || threads.height > most || threads.depth > most ||
      threads.width * threads.height * threads.depth > most) {
    misuse("%lu x %lu x %lu threads per threadgroup are more than the %lu of the kernel \"%s\".",
           threads.width, threads.height, threads.depth, most, name);
  }
  for (const int index : function.buffers()) {
    const metal_emulator::Binding& binding = bindings_->buffers[static_cast<std::size_t>(index)];
    if (binding.memory == nullptr) {
      misuse("The kernel \"%s\" needs a buffer at index %d, where none is bound.", name, index);
    }
    dispatch.buffers[static_cast<std::size_t>(index)] = binding.memory;
    dispatch.buffer_bytes[static_cast<std::size_t>(index)] =
        binding.buffer != nil ? binding.size : 0;
  }
  std::size_t threadgroup_bytes = function.static_threadgroup_bytes();
  for (const int index : function.threadgroup_arguments()) {
    const std::size_t bytes = bindings_->threadgroup_bytes[static_cast<std::size_t>(index)];
    if (bytes == 0) {
      misuse("The kernel \"%s\" needs threadgroup memory at index %d, where no length is set.",
             name, index);
    }
    dispatch.threadgroup_bytes[static_cast<std::size_t>(index)] = bytes;
    threadgroup_bytes += bytes;
  }
  if (threadgroup_bytes > metal_emulator::max_threadgroup_bytes) {
    misuse("The kernel \"%s\" would have %zu bytes of threadgroup memory, more than %zu.", name,
           threadgroup_bytes, metal_emulator::max_threadgroup_bytes);
  }
  record.commands.emplace_back(dispatch);
  metal_emulator::count(metal_emulator::totals.dispatches);
}
- (void)dispatchThreads:(MTLSize)grid threadsPerThreadgroup:(MTLSize)threads {
  narrow(threads, "threads per threadgroup");
  if (grid.width % threads.width != 0 || grid.height % threads.height != 0 ||
      grid.depth % threads.depth != 0) {
    misuse("The emulator runs whole threadgroups only: %lu x %lu x %lu threads are no multiple "
           "of %lu x %lu x %lu.",
           grid.width, grid.height, grid.depth, threads.width, threads.height, threads.depth);
  }
  [self dispatchThreadgroups:MTLSizeMake(grid.width / threads.width, grid.height / threads.height,
                                         grid.depth / threads.depth)
       threadsPerThreadgroup:threads];
}

- (void)useResource:(id<MTLResource>)resource usage:(MTLResourceUsage)usage {
  [self recordFor:_cmd];
  [self useBuffer:(id<MTLBuffer>)resource];
}
- (void)useResources:(const id<MTLResource>[])resources
               count:(NSUInteger)count
               usage:(MTLResourceUsage)usage {
  for (NSUInteger i = 0; i < count; ++i) {
    [self useResource:resources[i] usage:usage];
  }
}
- (void)memoryBarrierWithScope:(MTLBarrierScope)scope {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  if (scope & MTLBarrierScopeBuffers) {
    record.commands.emplace_back(metal_emulator::Barrier());
  }
}
- (void)memoryBarrierWithResources:(const id<MTLResource>[])resources count:(NSUInteger)count {
  [self recordFor:_cmd].commands.emplace_back(metal_emulator::Barrier());
}
@end
