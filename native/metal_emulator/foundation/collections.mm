// NSArray, NSDictionary and NSNumber.
#import <Foundation/Foundation.h>

#include <cstdlib>
#include <string>

#include "../misuse.h"

@implementation NSArray
+ (instancetype)array {
  return [[[self alloc] init] autorelease];
}
+ (instancetype)arrayWithObject:(id)object {
  return [self arrayWithObjects:&object count:1];
}
+ (instancetype)arrayWithObjects:(const id[])objects count:(NSUInteger)count {
  return [[[self alloc] initWithObjects:objects count:count] autorelease];
}
- (instancetype)initWithObjects:(const id[])objects count:(NSUInteger)count {
  items_ = static_cast<id*>(std::calloc(count + 1, sizeof(id)));
  if (items_ == nullptr) {
    std::abort();
  }
  for (NSUInteger i = 0; i < count; ++i) {
    if (objects[i] == nil) {
      metal_emulator::misuse("The object at index %lu of an NSArray is nil.", i);
    }
    items_[i] = [objects[i] retain];
  }
  count_ = count;
  return self;
}
- (void)dealloc {
  for (NSUInteger i = 0; i < count_; ++i) {
    [items_[i] release];
  }
  std::free(items_);
  [super dealloc];
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (NSUInteger)count {
  return count_;
}
- (id)objectAtIndex:(NSUInteger)index {
  if (index >= count_) {
    metal_emulator::misuse("Index %lu is beyond the %lu objects of an NSArray.", index, count_);
  }
  return items_[index];
}
- (id)firstObject {
  return count_ == 0 ? nil : items_[0];
}
- (id)lastObject {
  return count_ == 0 ? nil : items_[count_ - 1];
}
- (BOOL)containsObject:(id)object {
  for (NSUInteger i = 0; i < count_; ++i) {
    if ([items_[i] isEqual:object]) {
      return YES;
    }
  }
  return NO;
}
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState*)state
                                  objects:(id __unsafe_unretained[])buffer
                                    count:(NSUInteger)count {
  if (state->state != 0) {
    return 0;
  }
  state->state = 1;
  state->itemsPtr = items_;
  // Never changes: the array is immutable.
  state->mutationsPtr = &state->extra[0];
  return count_;
}
@end

@implementation NSDictionary
+ (instancetype)dictionary {
  return [self dictionaryWithObjects:nullptr forKeys:nullptr count:0];
}
+ (instancetype)dictionaryWithObject:(id)object forKey:(id)key {
  return [self dictionaryWithObjects:&object forKeys:&key count:1];
}
+ (instancetype)dictionaryWithObjects:(const id[])objects
                              forKeys:(const id[])keys
                                count:(NSUInteger)count {
  return [[[self alloc] initWithObjects:objects forKeys:keys count:count] autorelease];
}
- (instancetype)initWithObjects:(const id[])objects
                        forKeys:(const id[])keys
                          count:(NSUInteger)count {
  keys_ = [[NSArray alloc] initWithObjects:keys count:count];
  values_ = [[NSArray alloc] initWithObjects:objects count:count];
  return self;
}
- (void)dealloc {
  [keys_ release];
  [values_ release];
  [super dealloc];
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (NSUInteger)count {
  return keys_.count;
}
- (NSArray*)allKeys {
  return keys_;
}
- (id)objectForKey:(id)key {
  // The last of equal keys counts, as if each had been set in turn.
  for (NSUInteger i = keys_.count; i-- > 0;) {
    if ([[keys_ objectAtIndex:i] isEqual:key]) {
      return [values_ objectAtIndex:i];
    }
  }
  return nil;
}
@end

@implementation NSNumber
+ (NSNumber*)numberWithLongLong:(long long)value {
  NSNumber* number = [[[NSNumber alloc] init] autorelease];
  number->integer_ = value;
  number->double_ = static_cast<double>(value);
  return number;
}
+ (NSNumber*)numberWithUnsignedLongLong:(unsigned long long)value {
  NSNumber* number = [self numberWithLongLong:static_cast<long long>(value)];
  number->double_ = static_cast<double>(value);
  return number;
}
+ (NSNumber*)numberWithDouble:(double)value {
  NSNumber* number = [[[NSNumber alloc] init] autorelease];
  number->real_ = YES;
  number->integer_ = static_cast<long long>(value);
  number->double_ = value;
  return number;
}
+ (NSNumber*)numberWithBool:(BOOL)value {
  return [self numberWithLongLong:value];
}
+ (NSNumber*)numberWithInt:(int)value {
  return [self numberWithLongLong:value];
}
+ (NSNumber*)numberWithUnsignedInt:(unsigned int)value {
  return [self numberWithLongLong:value];
}
+ (NSNumber*)numberWithInteger:(NSInteger)value {
  return [self numberWithLongLong:value];
}
+ (NSNumber*)numberWithUnsignedInteger:(NSUInteger)value {
  return [self numberWithUnsignedLongLong:value];
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (BOOL)boolValue {
  return double_ != 0;
}
- (int)intValue {
  return static_cast<int>(integer_);
}
- (NSInteger)integerValue {
  return integer_;
}
- (NSUInteger)unsignedIntegerValue {
  return static_cast<NSUInteger>(integer_);
}
- (long long)longLongValue {
  return integer_;
}
- (unsigned long long)unsignedLongLongValue {
  return static_cast<unsigned long long>(integer_);
}
- (double)doubleValue {
  return double_;
}
- (BOOL)isEqual:(id)object {
  if (![object isKindOfClass:[NSNumber class]]) {
    return NO;
  }
  auto* other = (NSNumber*)object;
  return integer_ == other->integer_ && double_ == other->double_;
}
- (NSUInteger)hash {
  return static_cast<NSUInteger>(integer_);
}
- (NSString*)stringValue {
  std::string text = std::to_string(integer_);
  if (real_) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.17g", double_);
    text = digits;
  } else if (integer_ < 0 && double_ > 0) {
    text = std::to_string(static_cast<unsigned long long>(integer_));
  }
  return [NSString stringWithUTF8String:text.c_str()];
}
- (NSString*)description {
  return self.stringValue;
}
@end
