// Libraries, functions, pipelines and compile options, around the emulator's compiler.
#include "../misuse.h"
#include "objects.h"

@implementation MTLCompileOptions
- (instancetype)init {
  fast_math_ = YES;
  version_ = MTLLanguageVersion3_1;
  return self;
}
- (void)dealloc {
  [macros_ release];
  [super dealloc];
}
- (id)copyWithZone:(NSZone*)zone {
  MTLCompileOptions* copy = [[MTLCompileOptions alloc] init];
  copy.preprocessorMacros = macros_;
  copy.fastMathEnabled = fast_math_;
  copy.languageVersion = version_;
  return copy;
}
- (NSDictionary<NSString*, NSObject*>*)preprocessorMacros {
  return macros_;
}
- (void)setPreprocessorMacros:(NSDictionary<NSString*, NSObject*>*)macros {
  NSDictionary* before = macros_;
  macros_ = [macros copy];
  [before release];
}
- (BOOL)fastMathEnabled {
  return fast_math_;
}
- (void)setFastMathEnabled:(BOOL)enabled {
  fast_math_ = enabled;
}
- (MTLLanguageVersion)languageVersion {
  return version_;
}
- (void)setLanguageVersion:(MTLLanguageVersion)version {
  version_ = version;
}
@end

@implementation EmulatedLibrary
- (instancetype)initWithDevice:(EmulatedDevice*)device
                       library:(std::shared_ptr<const metal_emulator::Library>)library {
  device_ = [device retain];
  library_ = new std::shared_ptr<const metal_emulator::Library>(std::move(library));
  label_ = new metal_emulator::Label;
  return self;
}
- (void)dealloc {
  delete library_;
  delete label_;
  [device_ release];
  [super dealloc];
}
- (NSString*)label {
  return label_->get();
}
- (void)setLabel:(NSString*)label {
  label_->set(label);
}
- (id<MTLDevice>)device {
  return device_;
}
- (NSArray<NSString*>*)functionNames {
  std::vector<NSString*> names;
  for (const std::string& name : (*library_)->function_names()) {
    names.push_back([NSString stringWithUTF8String:name.c_str()]);
  }
  return [NSArray arrayWithObjects:names.data() count:names.size()];
}
- (id<MTLFunction>)newFunctionWithName:(NSString*)name {
  const metal_emulator::Function* function = (*library_)->find(name.UTF8String);
  if (function == nullptr) {
    return nil;
  }
  return [[EmulatedFunction alloc] initWithLibrary:self function:function];
}
@end

@implementation EmulatedFunction
- (instancetype)initWithLibrary:(EmulatedLibrary*)library
                       function:(const metal_emulator::Function*)function {
  library_ = [library retain];
  function_ = function;
  label_ = new metal_emulator::Label;
  return self;
}
- (void)dealloc {
  delete label_;
  [library_ release];
  [super dealloc];
}
- (NSString*)label {
  return label_->get();
}
- (void)setLabel:(NSString*)label {
  label_->set(label);
}
- (id<MTLDevice>)device {
  return library_->device_;
}
- (MTLFunctionType)functionType {
  return MTLFunctionTypeKernel;
}
- (NSString*)name {
  return [NSString stringWithUTF8String:function_->name().c_str()];
}
@end

@implementation EmulatedComputePipelineState
- (instancetype)initWithFunction:(EmulatedFunction*)function {
  function_ = [function retain];
  uses_ = new metal_emulator::Uses(0);
  return self;
}
- (void)dealloc {
  if (uses_->load(std::memory_order_acquire) != 0) {
    metal_emulator::misuse(
        "The pipeline of the kernel \"%s\" was freed while a command buffer that does not retain "
        "its references uses it.",
        function_->function_->name().c_str());
  }
  delete uses_;
  [function_ release];
  [super dealloc];
}
- (NSString*)label {
  return nil;
}
- (id<MTLDevice>)device {
  return function_->library_->device_;
}
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return function_->function_->max_threads();
}
- (NSUInteger)threadExecutionWidth {
  return metal_emulator::simd_width;
}
- (NSUInteger)staticThreadgroupMemoryLength {
  return function_->function_->static_threadgroup_bytes();
}
@end
