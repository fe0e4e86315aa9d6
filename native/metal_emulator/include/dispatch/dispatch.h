// The part of Grand Central Dispatch that tells of memory pressure.
#pragma once

#include <Block.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (^dispatch_block_t)(void);
typedef struct dispatch_queue_s* dispatch_queue_t;
typedef struct dispatch_source_s* dispatch_source_t;
typedef const struct dispatch_source_type_s* dispatch_source_type_t;

enum {
  QOS_CLASS_USER_INITIATED = 0x19,
  QOS_CLASS_DEFAULT = 0x15,
  QOS_CLASS_UTILITY = 0x11,
  QOS_CLASS_BACKGROUND = 0x09,
};

enum {
  DISPATCH_MEMORYPRESSURE_NORMAL = 0x01,
  DISPATCH_MEMORYPRESSURE_WARN = 0x02,
  DISPATCH_MEMORYPRESSURE_CRITICAL = 0x04,
};

extern const struct dispatch_source_type_s _dispatch_source_type_memorypressure;
#define DISPATCH_SOURCE_TYPE_MEMORYPRESSURE (&_dispatch_source_type_memorypressure)

dispatch_queue_t dispatch_get_global_queue(intptr_t identifier, uintptr_t flags);
// Suspended until it is resumed; not retained by the system while it is.
dispatch_source_t dispatch_source_create(dispatch_source_type_t type, uintptr_t handle,
                                         uintptr_t mask, dispatch_queue_t queue);
void dispatch_source_set_event_handler(dispatch_source_t source, dispatch_block_t handler);
void dispatch_resume(dispatch_source_t source);

#ifdef __cplusplus
}
#endif
