// Concatenation and padding: each part is one copy into a region of the output.
#include "metal/kernels/kernels.h"
#include "metal/kernels/region.h"

namespace nitinol::metal::kernels {

void concatenate(const Launch& launch) noexcept {
  if (refused(launch)) return;
  const Operand& out = launch.output;
  if (out.layout->size() == 0) return;
  const auto axis = static_cast<int>(launch.params.ints[0]);
  std::int64_t strides[max_ndim];
  row_major(out.layout->shape(), strides);
  Region regions[8];  // what one dispatch takes
  std::size_t count = 0;
  std::int64_t offset = 0;
  const auto flush = [&] {
    copy_regions(launch.encoder, out, itemsize(out.dtype), {regions, count});
    count = 0;
  };
  for (const Operand& part : launch.inputs) {
    regions[count++] = region_of(part, out.layout->shape(), offset);
    offset += part.layout->shape(axis) * strides[axis];
    if (count == std::size(regions)) flush();
  }
  flush();
}

void pad(const Launch& launch) noexcept {
  if (refused(launch)) return;
  const Operand& x = launch.inputs[0];
  const Operand& value = launch.inputs[1];
  const Operand& out = launch.output;
  if (out.layout->size() == 0) return;
  const int ndim = out.layout->ndim();
  std::int64_t strides[max_ndim];
  row_major(out.layout->shape(), strides);
  Region regions[8];
  std::size_t count = 0;
  const auto add = [&](const Region& region) {
    if (region.walk.size() == 0) return;
    if (count == std::size(regions)) {
      copy_regions(launch.encoder, out, itemsize(out.dtype), {regions, count});
      count = 0;
    }
    regions[count++] = region;
  };

  // The borders of one axis span the axes before it inside the frame only and the axes after it
  // wholly, so that every element is written once.
  std::int64_t inside = 0;
  const auto fill = [&](int axis, std::int64_t first, std::int64_t n) {
    Region region;
    region.source = &value;
    region.offset = inside + first * strides[axis];
    for (int d = 0; d < ndim; ++d) {
      const std::int64_t extent = d < axis   ? x.layout->shape(d)
                                  : d > axis ? out.layout->shape(d)
                                             : n;
      region.walk.push(extent, {strides[d], 0});
    }
    add(region);
  };
  for (int d = 0; d < ndim; ++d) {
    const std::int64_t before = launch.params.ints[2 * static_cast<std::size_t>(d)];
    const std::int64_t after = launch.params.ints[2 * static_cast<std::size_t>(d) + 1];
    fill(d, 0, before);
    fill(d, out.layout->shape(d) - after, after);
    inside += before * strides[d];
  }
  add(region_of(x, out.layout->shape(), inside));
  copy_regions(launch.encoder, out, itemsize(out.dtype), {regions, count});
}

}  // namespace nitinol::metal::kernels
