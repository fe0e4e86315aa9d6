// NSError.
#import <Foundation/Foundation.h>

#include <string>

NSErrorUserInfoKey const NSUnderlyingErrorKey = @"NSUnderlyingError";
NSErrorUserInfoKey const NSLocalizedDescriptionKey = @"NSLocalizedDescription";
NSErrorUserInfoKey const NSLocalizedFailureReasonErrorKey = @"NSLocalizedFailureReason";

@implementation NSError
+ (instancetype)errorWithDomain:(NSErrorDomain)domain
                           code:(NSInteger)code
                       userInfo:(NSDictionary*)userInfo {
  return [[[self alloc] initWithDomain:domain code:code userInfo:userInfo] autorelease];
}
- (instancetype)initWithDomain:(NSErrorDomain)domain
                          code:(NSInteger)code
                      userInfo:(NSDictionary*)userInfo {
  domain_ = [domain copy];
  code_ = code;
  user_info_ = userInfo != nil
                   ? [userInfo copy]
                   : [[NSDictionary alloc] initWithObjects:nullptr forKeys:nullptr count:0];
  return self;
}
- (void)dealloc {
  [domain_ release];
  [user_info_ release];
  [super dealloc];
}
- (id)copyWithZone:(NSZone*)zone {
  return [self retain];
}
- (NSErrorDomain)domain {
  return domain_;
}
- (NSInteger)code {
  return code_;
}
- (NSDictionary*)userInfo {
  return user_info_;
}
- (NSString*)localizedDescription {
  if (NSString* text = [user_info_ objectForKey:NSLocalizedDescriptionKey]) {
    return text;
  }
  const std::string text = "The operation couldn't be completed. (" +
                           std::string(domain_.UTF8String) + " error " + std::to_string(code_) +
                           ".)";
  return [NSString stringWithUTF8String:text.c_str()];
}
- (NSString*)localizedFailureReason {
  return [user_info_ objectForKey:NSLocalizedFailureReasonErrorKey];
}
- (NSString*)description {
  const std::string text = "Error Domain=" + std::string(domain_.UTF8String) +
                           " Code=" + std::to_string(code_) + " \"" +
                           self.localizedDescription.UTF8String + "\"";
  return [NSString stringWithUTF8String:text.c_str()];
}
@end
