// What compute and blit encoders share.
#include "../misuse.h"
#include "objects.h"

using metal_emulator::misuse;

@implementation EmulatedEncoder
- (instancetype)initWithCommandBuffer:(EmulatedCommandBuffer*)commandBuffer
                           concurrent:(BOOL)concurrent {
  command_buffer_ = [commandBuffer retain];
  device_ = [commandBuffer->queue_->device_ retain];
  label_ = new metal_emulator::Label;
  auto& encoders = commandBuffer->state_->encoders;
  record_ = encoders.emplace_back(std::make_unique<metal_emulator::EncoderRecord>()).get();
  record_->concurrent = concurrent;
  commandBuffer->state_->encoder_open = true;
  return self;
}
- (void)dealloc {
  if (command_buffer_ != nil) {
    misuse("The encoder \"%s\" was released before endEncoding.", label_->string().c_str());
  }
  delete label_;
  [device_ release];
  [super dealloc];
}
- (metal_emulator::EncoderRecord&)recordFor:(SEL)selector {
  if (command_buffer_ == nil) {
    misuse("%s was sent to the encoder \"%s\" after endEncoding.", sel_getName(selector),
           label_->string().c_str());
  }
  return *record_;
}
- (void)useBuffer:(id<MTLBuffer>)buffer {
  auto* own = (EmulatedBuffer*)buffer;
  [command_buffer_ use:own counter:own->uses_];
}
- (void)endEncoding {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  if (debug_groups_ != 0) {
    misuse("The encoder \"%s\" ended with a debug group open.", label_->string().c_str());
  }
  record.label = label_->string();
  command_buffer_->state_->encoder_open = false;
  metal_emulator::count(metal_emulator::totals.encoders);
  [command_buffer_ release];
  command_buffer_ = nil;
}
- (id<MTLDevice>)device {
  return device_;
}
- (NSString*)label {
  return label_->get();
}
- (void)setLabel:(NSString*)label {
  label_->set(label);
}
- (void)insertDebugSignpost:(NSString*)string {
  [self recordFor:_cmd].signposts.emplace_back(string.UTF8String);
}
- (void)pushDebugGroup:(NSString*)string {
  [self recordFor:_cmd].signposts.emplace_back(string.UTF8String);
  ++debug_groups_;
}
- (void)popDebugGroup {
  [self recordFor:_cmd];
  if (debug_groups_ == 0) {
    misuse("popDebugGroup was sent to the encoder \"%s\" without a debug group.",
           label_->string().c_str());
  }
  --debug_groups_;
}
@end
