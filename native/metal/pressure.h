// What the system says about memory, besides failing to give any.
#pragma once

#include "nitinol/memory.h"
#include "residency.h"

namespace nitinol::metal {

// From now on, whenever the system runs short of memory, the allocator's cache is freed, and
// what no command buffer needs at the time is not kept resident.
void yield_under_pressure(Allocator& allocator, Residency& residency) noexcept;

}  // namespace nitinol::metal
