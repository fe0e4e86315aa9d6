// The device: its limits, and the making of everything else.
#include <unistd.h>

#include <cstring>

#include "../misuse.h"
#include "objects.h"

using metal_emulator::count;
using metal_emulator::misuse;
using metal_emulator::totals;

namespace {

// The only one, for ever.
EmulatedDevice* device() {
  static EmulatedDevice* const instance = [] {
    metal_emulator::configure_from_environment();
    return [[EmulatedDevice alloc] init];
  }();
  return instance;
}

NSUInteger memory_size() {
  return static_cast<NSUInteger>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<NSUInteger>(sysconf(_SC_PAGESIZE));
}

std::string with_macros(NSString* source, MTLCompileOptions* options) {
  std::string text;
  for (NSString* name in options.preprocessorMacros.allKeys) {
    text += "#define " + std::string(name.UTF8String) + " " +
            [options.preprocessorMacros objectForKey:name].description.UTF8String + "\n";
  }
  if (!text.empty()) {
    text += "#line 1\n";
  }
  return text + source.UTF8String;
}

void set_error(NSError** error, NSErrorDomain domain, NSInteger code, const std::string& text) {
  if (error != nullptr) {
    NSString* description = [NSString stringWithUTF8String:text.c_str()];
    *error =
        [NSError errorWithDomain:domain
                            code:code
                        userInfo:[NSDictionary dictionaryWithObject:description
                                                             forKey:NSLocalizedDescriptionKey]];
  }
}

}  // namespace

id<MTLDevice> MTLCreateSystemDefaultDevice(void) { return [device() retain]; }

NSArray<id<MTLDevice>>* MTLCopyAllDevices(void) {
  id own = device();
  return [[NSArray alloc] initWithObjects:&own count:1];
}

@implementation EmulatedDevice
- (instancetype)init {
  allocated_ = new std::atomic<NSUInteger>(0);
  return self;
}
- (void)dealloc {
  misuse("The device was released more often than it was retained.");
  [super dealloc];
}
- (NSString*)name {
  return @"Emulated Metal";
}
- (uint64_t)registryID {
  return 0x100000001;
}
- (MTLSize)maxThreadsPerThreadgroup {
  const NSUInteger most = metal_emulator::max_threads_per_threadgroup;
  return MTLSizeMake(most, most, most);
}
- (BOOL)isLowPower {
  return NO;
}
- (BOOL)isHeadless {
  return NO;
}
- (BOOL)isRemovable {
  return NO;
}
- (BOOL)hasUnifiedMemory {
  return YES;
}
- (uint64_t)recommendedMaxWorkingSetSize {
  return metal_emulator::working_set();
}
- (NSUInteger)currentAllocatedSize {
  return allocated_->load();
}
- (NSUInteger)maxBufferLength {
  return memory_size() / 2;
}
- (NSUInteger)maxThreadgroupMemoryLength {
  return metal_emulator::max_threadgroup_bytes;
}
- (BOOL)supportsFamily:(MTLGPUFamily)family {
  // An M1: what every Mac with Apple silicon has.
  return (family >= MTLGPUFamilyApple1 && family <= MTLGPUFamilyApple7) ||
         family == MTLGPUFamilyMac2 ||
         (family >= MTLGPUFamilyCommon1 && family <= MTLGPUFamilyCommon3) ||
         family == MTLGPUFamilyMetal3;
}

- (id<MTLCommandQueue>)newCommandQueue {
  return [self newCommandQueueWithMaxCommandBufferCount:64];
}
- (id<MTLCommandQueue>)newCommandQueueWithMaxCommandBufferCount:(NSUInteger)limit {
  if (limit == 0) {
    misuse("A command queue needs room for one command buffer at least.");
  }
  return [[EmulatedCommandQueue alloc] initWithDevice:self limit:limit];
}

- (void)checkLength:(NSUInteger)length options:(MTLResourceOptions)options {
  if (length == 0) {
    misuse("A buffer of length 0 can't be made.");
  }
  if (length > self.maxBufferLength) {
    misuse("The buffer length %lu exceeds maxBufferLength, which is %lu.", length,
           self.maxBufferLength);
  }
  const auto mode = (options & MTLResourceStorageModeMask) >> MTLResourceStorageModeShift;
  if (mode == MTLStorageModeMemoryless || mode > MTLStorageModeMemoryless) {
    misuse("The resource options 0x%lx have no storage mode that a buffer may have.", options);
  }
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
  [self checkLength:length options:options];
  return [[EmulatedBuffer alloc] initWithDevice:self length:length options:options];
}
- (id<MTLBuffer>)newBufferWithBytes:(const void*)bytes
                             length:(NSUInteger)length
                            options:(MTLResourceOptions)options {
  [self checkLength:length options:options];
  EmulatedBuffer* buffer = [[EmulatedBuffer alloc] initWithDevice:self
                                                           length:length
                                                          options:options];
  if (buffer != nil) {
    std::memcpy(buffer->contents_, bytes, length);
  }
  return buffer;
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)bytes
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(MTLNewBufferDeallocator)deallocator {
  [self checkLength:length options:options];
  const auto page = static_cast<NSUInteger>(getpagesize());
  if (reinterpret_cast<NSUInteger>(bytes) % page != 0 || length % page != 0) {
    misuse("newBufferWithBytesNoCopy: the pointer %p and the length %lu must be multiples of the "
           "page size, which is %lu.",
           bytes, length, page);
  }
  return [[EmulatedBuffer alloc] initWithDevice:self
                                         memory:bytes
                                         length:length
                                        options:options
                                    deallocator:deallocator];
}

- (id<MTLLibrary>)newLibraryWithSource:(NSString*)source
                               options:(MTLCompileOptions*)options
                                 error:(NSError**)error {
  if (metal_emulator::library_fails()) {
    set_error(error, MTLLibraryErrorDomain, MTLLibraryErrorInternal,
              "The compiler failed (emulated).");
    return nil;
  }
  std::string message;
  auto library = metal_emulator::Library::compile(with_macros(source, options), message);
  if (library == nullptr) {
    set_error(error, MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, message);
    return nil;
  }
  count(totals.libraries);
  if (options == nil || options.fastMathEnabled) {
    count(totals.fast_math_libraries);
  }
  return [[EmulatedLibrary alloc] initWithDevice:self library:std::move(library)];
}
- (id<MTLComputePipelineState>)newComputePipelineStateWithFunction:(id<MTLFunction>)function
                                                             error:(NSError**)error {
  if (function == nil) {
    misuse("A compute pipeline needs a function, not nil.");
  }
  if (metal_emulator::pipeline_fails()) {
    set_error(error, @"CompilerError", 2, "The pipeline could not be compiled (emulated).");
    return nil;
  }
  count(totals.pipelines);
  return [[EmulatedComputePipelineState alloc] initWithFunction:(EmulatedFunction*)function];
}

- (BOOL)respondsToSelector:(SEL)selector {
  if (sel_isEqual(selector, @selector(newResidencySetWithDescriptor:error:)) &&
      !metal_emulator::has_residency_sets()) {
    return NO;
  }
  return [super respondsToSelector:selector];
}
- (id<MTLResidencySet>)newResidencySetWithDescriptor:(MTLResidencySetDescriptor*)descriptor
                                               error:(NSError**)error {
  if (!metal_emulator::has_residency_sets()) {
    [self doesNotRecognizeSelector:_cmd];
  }
  if (descriptor == nil) {
    misuse("newResidencySetWithDescriptor:error: needs a descriptor, not nil.");
  }
  if (metal_emulator::residency_set_fails()) {
    set_error(error, @"MTLResidencySetErrorDomain", 1, "No residency set (emulated).");
    return nil;
  }
  return [[EmulatedResidencySet alloc] initWithDevice:self];
}
@end
