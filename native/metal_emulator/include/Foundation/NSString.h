// NSString: immutable UTF-8 text.
#pragma once

#import <Foundation/NSObject.h>

typedef NS_ENUM(NSUInteger, NSStringEncoding) {
  NSASCIIStringEncoding = 1,
  NSUTF8StringEncoding = 4,
};

@interface NSString : NSObject <NSCopying>
// nil when the bytes are not UTF-8, as on Apple.
+ (instancetype)stringWithUTF8String:(const char*)text;
+ (instancetype)string;
- (instancetype)initWithUTF8String:(const char*)text;
- (instancetype)initWithBytes:(const void*)bytes
                       length:(NSUInteger)length
                     encoding:(NSStringEncoding)encoding;
@property(readonly) const char* UTF8String;
@property(readonly) NSUInteger length;  // UTF-16 code units
- (NSUInteger)lengthOfBytesUsingEncoding:(NSStringEncoding)encoding;
- (BOOL)isEqualToString:(NSString*)other;
- (BOOL)hasPrefix:(NSString*)prefix;
@end

// The class of @"..." literals; the compiler lays these objects out.
@interface NSConstantString : NSString {
  const char* text_;
  unsigned int size_;
}
@end
