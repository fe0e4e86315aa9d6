// slice_update and strided_update: one copy into a region, after a copy of the whole
// where the output is not the donated input itself.
#include "cpu/kernels/update.h"

#include <algorithm>

#include "cpu/kernels/copy.h"
#include "cpu/kernels/index.h"

namespace nitinol::cpu::kernels {
namespace {

// Copies the update to output elements start + step * i of each axis.
void write_region(const Launch& launch, const std::int64_t* starts,
                  const std::int64_t* steps) noexcept {
  const View& update = launch.inputs[1];
  const View& out = launch.output;
  const auto item = static_cast<std::int64_t>(itemsize(out.dtype));
  std::int64_t strides[max_ndim];
  row_major(out.layout->shape(), strides);
  Nest<2> nest;
  std::int64_t offset = 0;
  for (int d = 0; d < out.layout->ndim(); ++d) {
    const std::int64_t n = update.layout->shape(d);
    if (n == 0) continue;
    const std::int64_t end = starts[d] + (n - 1) * steps[d];
    if (std::min(starts[d], end) < 0 || std::max(starts[d], end) >= out.layout->shape(d)) {
      return refuse(launch);
    }
    offset += starts[d] * strides[d];
  }
  if (!launch.in_place) copy_into(launch.inputs[0], out.data, out.layout->shape());
  if (update.layout->size() == 0) return;
  for (int d = 0; d < out.layout->ndim(); ++d) {
    nest.push(update.layout->shape(d),
              {steps[d] * strides[d] * item, update.layout->stride(d) * item});
  }
  copy_region(itemsize(out.dtype), nest, out.data + offset * item, update.data);
}

}  // namespace

void slice_update(const Launch& launch) noexcept {
  const Layout& shape = *launch.output.layout;
  const Layout& update = *launch.inputs[1].layout;
  std::int64_t starts[max_ndim], steps[max_ndim];
  for (int d = 0; d < shape.ndim(); ++d) {
    starts[d] = 0;
    steps[d] = 1;
  }
  for (std::size_t k = 2; k < launch.inputs.size(); ++k) {
    const auto axis = static_cast<int>(launch.params.ints[k - 2]);
    const View& start = launch.inputs[k];
    std::int64_t value = 0;
    load_integers(start.dtype, start.data, 0, 1, &value);
    const std::int64_t last = std::max<std::int64_t>(shape.shape(axis) - update.shape(axis), 0);
    starts[axis] = std::clamp<std::int64_t>(value, 0, last);
  }
  write_region(launch, starts, steps);
}

void strided_update(const Launch& launch) noexcept {
  std::int64_t starts[max_ndim], steps[max_ndim];
  for (int d = 0; d < launch.output.layout->ndim(); ++d) {
    starts[d] = launch.params.ints[2 * d];
    steps[d] = launch.params.ints[2 * d + 1];
  }
  write_region(launch, starts, steps);
}

}  // namespace nitinol::cpu::kernels
