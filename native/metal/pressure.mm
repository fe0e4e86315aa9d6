// Memory pressure on macOS, told by Grand Central Dispatch. Not in the emulated build.
#import <dispatch/dispatch.h>

#include "pressure.h"

namespace nitinol::metal {

void trim_under_pressure(Allocator& allocator) noexcept {
  // Immortal, as the allocator is.
  dispatch_source_t source =
      dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0,
                             DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL,
                             dispatch_get_global_queue(QOS_CLASS_UTILITY, 0));
  if (!source) return;
  Allocator* trimmed = &allocator;
  dispatch_source_set_event_handler(source, ^{
    trimmed->trim();
  });
  dispatch_resume(source);
}

}  // namespace nitinol::metal
