// The kernels of this device, a name an op, grouped by the file that has them.
#pragma once

#include "metal/launch.h"

#define NITINOL_METAL_KERNELS(X) \
  X(copy)

namespace nitinol::metal::kernels {

#define NITINOL_X(name) void name(const Launch&) noexcept;
NITINOL_METAL_KERNELS(NITINOL_X)
#undef NITINOL_X

}  // namespace nitinol::metal::kernels
