// The kernels of this device, a name an op, grouped by the file that has them.
#pragma once

#include "metal/launch.h"

#define NITINOL_METAL_KERNELS(X) \
  X(copy)                        \
  X(arange)                      \
  X(sum)                         \
  X(prod)                        \
  X(max)                         \
  X(min)                         \
  X(all)                         \
  X(any)                         \
  X(argmax)                      \
  X(argmin)                      \
  X(logsumexp)                   \
  X(softmax)                     \
  X(rms_norm)                    \
  X(layer_norm)                  \
  X(cumulative_sum)              \
  X(cumulative_prod)             \
  X(sort)                        \
  X(argsort)                     \
  X(searchsorted)                \
  X(random_bits)                 \
  X(random_uniform)              \
  X(random_normal)               \
  X(random_integers)             \
  X(take)                        \
  X(take_along_axis)             \
  X(gather)                      \
  X(slice_update)                \
  X(strided_update)              \
  X(concatenate)                 \
  X(pad)                         \
  X(matmul)                      \
  X(rope)                        \
  X(attention)                   \
  X(quantized_matmul)            \
  X(dequantize)                  \
  X(quantized_take)              \
  X(scatter)                     \
  X(inv)                         \
  X(solve)                       \
  X(cholesky)                    \
  X(det)

namespace nitinol::metal::kernels {

#define NITINOL_X(name) void name(const Launch&) noexcept;
NITINOL_METAL_KERNELS(NITINOL_X)
#undef NITINOL_X

}  // namespace nitinol::metal::kernels
