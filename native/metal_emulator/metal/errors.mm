// The errors of command buffers, in the shape that Apple gives them.
#include "gpu.h"
#include "objects.h"

NSErrorDomain const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";
NSErrorDomain const MTLLibraryErrorDomain = @"MTLLibraryErrorDomain";
NSErrorUserInfoKey const MTLCommandBufferEncoderInfoErrorKey =
    @"MTLCommandBufferEncoderInfoErrorKey";

@implementation EmulatedEncoderInfo
- (instancetype)initWithRecord:(const metal_emulator::EncoderRecord&)record
                         state:(MTLCommandEncoderErrorState)state {
  label_ = [[NSString alloc] initWithUTF8String:record.label.c_str()];
  std::vector<NSString*> signposts;
  for (const std::string& text : record.signposts) {
    signposts.push_back([NSString stringWithUTF8String:text.c_str()]);
  }
  signposts_ = [[NSArray alloc] initWithObjects:signposts.data() count:signposts.size()];
  state_ = state;
  return self;
}
- (void)dealloc {
  [label_ release];
  [signposts_ release];
  [super dealloc];
}
- (NSString*)label {
  return label_;
}
- (NSArray<NSString*>*)debugSignposts {
  return signposts_;
}
- (MTLCommandEncoderErrorState)errorState {
  return state_;
}
@end

namespace metal_emulator {
namespace {

MTLCommandEncoderErrorState state_of(const CommandBufferFailure& failure, std::size_t encoder,
                                     std::size_t encoders) {
  if (!failure.encoder_states.empty()) {
    return encoder < failure.encoder_states.size()
               ? static_cast<MTLCommandEncoderErrorState>(failure.encoder_states[encoder])
               : MTLCommandEncoderErrorStateUnknown;
  }
  const std::size_t guilty = failure.execute ? encoders - 1 : 0;
  return encoder < guilty    ? MTLCommandEncoderErrorStateCompleted
         : encoder == guilty ? MTLCommandEncoderErrorStateFaulted
                             : MTLCommandEncoderErrorStatePending;
}

NSArray* encoder_infos(const CommandBufferState& state) {
  std::vector<id> infos;
  const auto& encoders = state.encoders;
  for (std::size_t i = 0; i < encoders.size(); ++i) {
    const auto status = state_of(*state.plan.failure, i, encoders.size());
    infos.push_back([[[EmulatedEncoderInfo alloc] initWithRecord:*encoders[i]
                                                           state:status] autorelease]);
  }
  return [NSArray arrayWithObjects:infos.data() count:infos.size()];
}

}  // namespace

NSError* make_error(EmulatedCommandBuffer* buffer) {
  const CommandBufferState& state = *buffer->state_;
  const CommandBufferFailure& failure = *state.plan.failure;
  std::vector<id> keys;
  std::vector<id> values;
  const std::string text = "Execution of the command buffer was aborted due to an error during "
                           "execution. (emulated, code " +
                           std::to_string(failure.code) + ")";
  keys.push_back(NSLocalizedDescriptionKey);
  values.push_back([NSString stringWithUTF8String:text.c_str()]);
  if (failure.raw) {
    keys.push_back(NSUnderlyingErrorKey);
    values.push_back([NSError errorWithDomain:@"IOGPUCommandQueueErrorDomain"
                                         code:*failure.raw
                                     userInfo:nil]);
  }
  if (state.error_options & MTLCommandBufferErrorOptionEncoderExecutionStatus) {
    keys.push_back(MTLCommandBufferEncoderInfoErrorKey);
    values.push_back(encoder_infos(state));
  }
  NSDictionary* info = [NSDictionary dictionaryWithObjects:values.data()
                                                   forKeys:keys.data()
                                                     count:keys.size()];
  return [[NSError alloc] initWithDomain:[NSString stringWithUTF8String:failure.domain.c_str()]
                                    code:failure.code
                                userInfo:info];
}

}  // namespace metal_emulator
