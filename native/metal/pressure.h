// What the system says about memory, besides failing to give any.
#pragma once

#include "nitinol/memory.h"

namespace nitinol::metal {

// From now on the allocator's cache is freed whenever the system runs short of memory.
void trim_under_pressure(Allocator& allocator) noexcept;

}  // namespace nitinol::metal
