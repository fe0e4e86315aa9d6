// Concatenation and padding: each part is one copy into a region of the output.
#include "cpu/kernels/concatenate.h"

#include "cpu/kernels/copy.h"

namespace nitinol::cpu::kernels {

void concatenate(const Launch& launch) noexcept {
  const View& out = launch.output;
  if (out.layout->size() == 0) return;
  const auto axis = static_cast<int>(launch.params.ints[0]);
  std::int64_t strides[max_ndim];
  row_major(out.layout->shape(), strides);
  const auto step = strides[axis] * static_cast<std::int64_t>(itemsize(out.dtype));
  char* dst = out.data;
  for (const View& part : launch.inputs) {
    copy_into(part, dst, out.layout->shape());
    dst += part.layout->shape(axis) * step;
  }
}

void pad(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const View& value = launch.inputs[1];
  const View& out = launch.output;
  if (out.layout->size() == 0) return;
  const auto item = static_cast<std::int64_t>(itemsize(out.dtype));
  const int ndim = out.layout->ndim();
  std::int64_t strides[max_ndim];
  row_major(out.layout->shape(), strides);

  // The borders of one axis span the axes before it inside the frame only and the
  // axes after it wholly, so that every element is written once.
  const auto fill = [&](int axis, std::int64_t first, std::int64_t count) {
    Nest<2> nest;
    std::int64_t offset = first * strides[axis];
    for (int d = 0; d < ndim; ++d) {
      const std::int64_t n = d < axis   ? x.layout->shape(d)
                             : d > axis ? out.layout->shape(d)
                                        : count;
      if (d < axis) offset += launch.params.ints[2 * d] * strides[d];
      nest.push(n, {strides[d] * item, 0});
    }
    copy_region(itemsize(out.dtype), nest, out.data + offset * item, value.data);
  };
  std::int64_t inside = 0;
  for (int d = 0; d < ndim; ++d) {
    const std::int64_t before = launch.params.ints[2 * d];
    const std::int64_t after = launch.params.ints[2 * d + 1];
    fill(d, 0, before);
    fill(d, out.layout->shape(d) - after, after);
    inside += before * strides[d];
  }
  copy_into(x, out.data + inside * item, out.layout->shape());
}

}  // namespace nitinol::cpu::kernels
