// NSString: constant ones, laid out by the compiler, and ones on the heap.
#import <Foundation/Foundation.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "../misuse.h"

namespace {

// The number of UTF-16 units, or nothing when the text is not UTF-8.
std::optional<NSUInteger> count_units(std::string_view text) {
  NSUInteger units = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80             ? 1
                             : (lead & 0xe0) == 0xc0 ? 2
                             : (lead & 0xf0) == 0xe0 ? 3
                             : (lead & 0xf8) == 0xf0 ? 4
                                                     : 0;
    if (size == 0 || i + size > text.size()) {
      return std::nullopt;
    }
    std::uint32_t point = size == 1 ? lead : lead & (0xffU >> (size + 1));
    for (std::size_t j = 1; j < size; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      if ((next & 0xc0) != 0x80) {
        return std::nullopt;
      }
      point = point << 6 | (next & 0x3f);
    }
    constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < smallest[size] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
      return std::nullopt;
    }
    units += size == 4 ? 2 : 1;
    i += size;
  }
  return units;
}

}  // namespace

@interface NSHeapString : NSString {
  char* text_;
  NSUInteger size_;
  NSUInteger units_;
}
@end

@implementation NSString
+ (instancetype)string {
  return @"";
}
+ (instancetype)stringWithUTF8String:(const char*)text {
  return [[[self alloc] initWithUTF8String:text] autorelease];
}
- (instancetype)initWithUTF8String:(const char*)text {
  return [self initWithBytes:text length:std::strlen(text) encoding:NSUTF8StringEncoding];
}
- (instancetype)initWithBytes:(const void*)bytes
                       length:(NSUInteger)length
                     encoding:(NSStringEncoding)encoding {
  [self release];
  return [[NSHeapString alloc] initWithBytes:bytes length:length encoding:encoding];
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (const char*)UTF8String {
  return "";
}
- (NSUInteger)length {
  return *count_units(self.UTF8String);
}
- (NSUInteger)lengthOfBytesUsingEncoding:(NSStringEncoding)encoding {
  return std::strlen(self.UTF8String);
}
- (BOOL)isEqualToString:(NSString*)other {
  return other != nil && std::strcmp(self.UTF8String, other.UTF8String) == 0;
}
- (BOOL)isEqual:(id)object {
  return self == object ||
         ([object isKindOfClass:[NSString class]] && [self isEqualToString:object]);
}
- (NSUInteger)hash {
  return std::hash<std::string_view>()(self.UTF8String);
}
- (BOOL)hasPrefix:(NSString*)prefix {
  return std::string_view(self.UTF8String).starts_with(prefix.UTF8String);
}
- (NSString*)description {
  return self;
}
@end

@implementation NSConstantString
- (const char*)UTF8String {
  return text_;
}
- (instancetype)retain {
  return self;
}
- (oneway void)release {
}
- (instancetype)autorelease {
  return self;
}
- (NSUInteger)retainCount {
  return NSUIntegerMax;
}
@end

@implementation NSHeapString
- (instancetype)initWithBytes:(const void*)bytes
                       length:(NSUInteger)length
                     encoding:(NSStringEncoding)encoding {
  if (encoding != NSASCIIStringEncoding && encoding != NSUTF8StringEncoding) {
    metal_emulator::misuse("The string encoding %lu is none that the emulator knows.", encoding);
  }
  const std::string_view text(static_cast<const char*>(bytes), length);
  const auto units = count_units(text);
  if (!units || (encoding == NSASCIIStringEncoding && *units != length)) {
    [self release];
    return nil;
  }
  text_ = static_cast<char*>(std::calloc(1, length + 1));
  if (text_ == nullptr) {
    std::abort();
  }
  text.copy(text_, length);
  size_ = length;
  units_ = *units;
  return self;
}
- (void)dealloc {
  std::free(text_);
  [super dealloc];
}
- (const char*)UTF8String {
  return text_;
}
- (NSUInteger)length {
  return units_;
}
- (NSUInteger)lengthOfBytesUsingEncoding:(NSStringEncoding)encoding {
  return size_;
}
@end
