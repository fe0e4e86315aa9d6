// The blit encoder.
#include "../misuse.h"
#include "objects.h"

using metal_emulator::misuse;

namespace {

std::byte* range(EmulatedBuffer* buffer, NSUInteger offset, NSUInteger size, const char* what) {
  if (buffer == nil) {
    misuse("The %s buffer of a blit is nil.", what);
  }
  if (size > buffer->length_ || offset > buffer->length_ - size) {
    misuse("%lu bytes at the offset %lu lie beyond the length %lu of the %s buffer \"%s\".", size,
           offset, buffer->length_, what, buffer->label_->string().c_str());
  }
  return static_cast<std::byte*>(buffer->contents_) + offset;
}

void check_multiple(NSUInteger value, const char* what) {
  // Needed on macOS only, where this is going.
  if (value % 4 != 0) {
    misuse("The %s of a blit, %lu, is not a multiple of 4.", what, value);
  }
}

}  // namespace

@implementation EmulatedBlitCommandEncoder
- (void)copyFromBuffer:(id<MTLBuffer>)source
          sourceOffset:(NSUInteger)sourceOffset
              toBuffer:(id<MTLBuffer>)destination
     destinationOffset:(NSUInteger)destinationOffset
                  size:(NSUInteger)size {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  const std::byte* from = range((EmulatedBuffer*)source, sourceOffset, size, "source");
  std::byte* to = range((EmulatedBuffer*)destination, destinationOffset, size, "destination");
  check_multiple(sourceOffset, "source offset");
  check_multiple(destinationOffset, "destination offset");
  check_multiple(size, "size");
  if (source == destination && from < to + size && to < from + size) {
    misuse("The source and the destination of a copy overlap.");
  }
  [self useBuffer:source];
  [self useBuffer:destination];
  record.commands.emplace_back(metal_emulator::Copy{from, to, size});
  metal_emulator::count(metal_emulator::totals.bytes_blitted, size);
}
- (void)fillBuffer:(id<MTLBuffer>)buffer range:(NSRange)bytes value:(uint8_t)value {
  metal_emulator::EncoderRecord& record = [self recordFor:_cmd];
  std::byte* at = range((EmulatedBuffer*)buffer, bytes.location, bytes.length, "destination");
  check_multiple(bytes.location, "location");
  check_multiple(bytes.length, "length");
  [self useBuffer:buffer];
  record.commands.emplace_back(metal_emulator::Fill{at, bytes.length, value});
  metal_emulator::count(metal_emulator::totals.bytes_blitted, bytes.length);
}
@end
