// Memory pressure, told by Grand Central Dispatch.
#include "pressure.h"

#import <dispatch/dispatch.h>

namespace nitinol::metal {

void yield_under_pressure(Allocator& allocator, Residency& residency) noexcept {
  // Immortal, as the allocator is.
  dispatch_source_t source =
      dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0,
                             DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL,
                             dispatch_get_global_queue(QOS_CLASS_UTILITY, 0));
  if (!source) return;
  Allocator* trimmed = &allocator;
  Residency* relinquished = &residency;
  dispatch_source_set_event_handler(source, ^{
    Pool pool;
    trimmed->trim();
    relinquished->relinquish();
  });
  dispatch_resume(source);
}

}  // namespace nitinol::metal
