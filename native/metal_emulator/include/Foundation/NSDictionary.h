// NSDictionary: an immutable map, searched in order: it holds a handful of keys here.
#pragma once

#import <Foundation/NSArray.h>

@interface NSDictionary<__covariant KeyType, __covariant ObjectType> : NSObject <NSCopying> {
  NSArray* keys_;
  NSArray* values_;
}
+ (instancetype)dictionary;
+ (instancetype)dictionaryWithObject:(ObjectType)object forKey:(KeyType)key;
+ (instancetype)dictionaryWithObjects:(const ObjectType[])objects
                              forKeys:(const KeyType[])keys
                                count:(NSUInteger)count;
- (instancetype)initWithObjects:(const ObjectType[])objects
                        forKeys:(const KeyType[])keys
                          count:(NSUInteger)count;
@property(readonly) NSUInteger count;
@property(readonly) NSArray<KeyType>* allKeys;
- (ObjectType)objectForKey:(KeyType)key;
@end
