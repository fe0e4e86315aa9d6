// take, gather and take_along_axis. Faults: the flat position of the index in row-major order of
// the index arrays' shape (take_along_axis: of the output); of several arrays the first whose index
// there is out of range is to blame, which is also the order in which the CPU finds them.
#include "metal/kernels/index.h"

#include <algorithm>

#include "metal/kernels/kernels.h"

namespace nitinol::metal::kernels {
namespace {

// The kernels' arguments of these names.
struct Axis {
  std::int64_t size, count, row, length, stride;
};
struct Gathered {
  std::int64_t size, count, row;
};

// Rows of x are moved up to 16 bytes at a time where all their parts allow it; the other strides,
// among them those that offsets are made of, then count in that unit.
std::int64_t row_factor(const Operand& x, const Operand& out, int behind,
                        const Walk& row) noexcept {
  const int last = row.ndim() - 1;
  if (last < 0 || row.stride(0, last) != 1) return 1;
  std::uint64_t bits = 16 | x.offset | out.offset;
  const auto item = static_cast<std::int64_t>(itemsize(x.dtype));
  bits |= static_cast<std::uint64_t>(row.shape(last) * item);
  for (int d = 0; d < last; ++d) bits |= static_cast<std::uint64_t>(row.stride(0, d) * item);
  for (int d = 0; d < behind; ++d) {
    if (x.layout->shape(d) > 1) bits |= static_cast<std::uint64_t>(x.layout->stride(d) * item);
  }
  return std::max<std::int64_t>(static_cast<std::int64_t>(bits & (~bits + 1)) / item, 1);
}

Walk narrowed(const Walk& walk, std::int64_t factor, bool contains_last) noexcept {
  Walk result(1);
  for (int d = 0; d < walk.ndim(); ++d) {
    if (contains_last && d == walk.ndim() - 1) {
      result.push(walk.shape(d) / factor, {1});
    } else {
      result.push(walk.shape(d), {walk.stride(0, d) / factor});
    }
  }
  return result;
}

// The parts of x before and behind the indexed axes, in units of `factor` elements.
struct Parts {
  Walk outer{1}, row{1};
  std::int64_t factor = 1;

  Parts(const Launch& launch, int axis, int behind) noexcept {
    const Operand& x = launch.inputs[0];
    Walk before(1), after(1);
    for (int d = 0; d < x.layout->ndim(); ++d) {
      if (d < axis) before.push(x.layout->shape(d), {x.layout->stride(d)});
      if (d >= behind) after.push(x.layout->shape(d), {x.layout->stride(d)});
    }
    factor = row_factor(x, launch.output, behind, after);
    outer = factor == 1 ? before : narrowed(before, factor, false);
    row = factor == 1 ? after : narrowed(after, factor, true);
  }
};

}  // namespace

Operand resolve_indices(const Launch& launch, std::span<const Operand> indices, int axis,
                        std::span<const std::int64_t> strides) noexcept {
  Encoder& encoder = launch.encoder;
  const Layout& shape = *launch.inputs[0].layout;
  const std::int64_t count = indices[0].layout->size();
  const Operand offsets = encoder.scratch(
      static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * sizeof(std::int64_t));
  for (std::size_t k = 0; k < indices.size(); ++k) {
    const int d = axis + static_cast<int>(k);
    const std::int64_t size_and_stride[2] = {shape.shape(d), strides[static_cast<std::size_t>(d)]};
    const std::int32_t first = k == 0;
    Defines defines;
    add_index_type(defines, count);
    add_integer_type(defines, indices[k].dtype);
    defines.pipeline(encoder, "index", "resolve");
    encoder.buffer(0, offsets);
    encoder.buffer(1, indices[k]);
    walk_of(*indices[k].layout).bind(encoder, 2);
    bind_value(encoder, 3, count);
    bind_value(encoder, 4, size_and_stride);
    bind_value(encoder, 5, first);
    encoder.fault(6);
    dispatch_elements(encoder, count);
  }
  return offsets;
}

void take(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& x = launch.inputs[0];
  const Operand& indices = launch.inputs[1];
  const Operand& out = launch.output;
  const auto axis = static_cast<int>(launch.params.ints[0]);
  if (out.layout->size() == 0) {
    // Nothing is read, but a wrong index is still wrong.
    if (indices.layout->size() == 0) return;
    resolve_indices(launch, launch.inputs.subspan(1, 1), axis, x.layout->strides());
    return;
  }
  const Parts parts(launch, axis, axis + 1);
  Axis p{};
  p.size = out.layout->size() / parts.factor;
  p.count = indices.layout->size();
  p.row = parts.row.size();
  p.length = x.layout->shape(axis);
  p.stride = x.layout->stride(axis) / parts.factor;
  Defines defines;
  defines.add("T", move_type(itemsize(x.dtype) * static_cast<std::size_t>(parts.factor)));
  add_index_type(defines, p.size);
  add_integer_type(defines, indices.dtype);
  defines.pipeline(encoder, "index", "take");
  encoder.buffer(0, out);
  encoder.buffer(1, x);
  encoder.buffer(2, indices);
  walk_of(*indices.layout).bind(encoder, 3);
  parts.outer.bind(encoder, 4);
  parts.row.bind(encoder, 5);
  bind_value(encoder, 6, p);
  encoder.fault(7);
  dispatch_elements(encoder, p.size);
}

void gather(const Launch& launch) noexcept {
  if (launch.inputs.size() == 2) return take(launch);
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& x = launch.inputs[0];
  const Operand& out = launch.output;
  const std::span<const Operand> indices = launch.inputs.subspan(1);
  const auto axis = static_cast<int>(launch.params.ints[0]);
  if (out.layout->size() == 0 && indices[0].layout->size() == 0) return;
  const Parts parts(launch, axis, axis + static_cast<int>(indices.size()));
  std::int64_t strides[max_ndim];
  for (int d = 0; d < x.layout->ndim(); ++d) strides[d] = x.layout->stride(d) / parts.factor;
  const Operand offsets = resolve_indices(launch, indices, axis, strides);
  const bool nothing_to_index =
      std::any_of(indices.begin(), indices.end(), [&](const Operand& array) {
        return x.layout->shape(axis + static_cast<int>(&array - indices.data())) == 0;
      });
  if (out.layout->size() == 0 || nothing_to_index) return;
  const Gathered p{out.layout->size() / parts.factor, indices[0].layout->size(), parts.row.size()};
  Defines defines;
  defines.add("T", move_type(itemsize(x.dtype) * static_cast<std::size_t>(parts.factor)));
  defines.add("GATHER", "1");
  add_index_type(defines, p.size);
  defines.pipeline(encoder, "index", "gather");
  encoder.buffer(0, out);
  encoder.buffer(1, x);
  encoder.buffer(2, offsets);
  parts.outer.bind(encoder, 3);
  parts.row.bind(encoder, 4);
  bind_value(encoder, 5, p);
  dispatch_elements(encoder, p.size);
}

void take_along_axis(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& x = launch.inputs[0];
  const Operand& indices = launch.inputs[1];
  const Layout& shape = *launch.output.layout;
  if (shape.size() == 0) return;
  const auto axis = static_cast<int>(launch.params.ints[0]);
  // Dimensions of size 1 broadcast.
  Walk walk(2);
  for (int d = 0; d < shape.ndim(); ++d) {
    const bool fixed = d == axis || x.layout->shape(d) == 1;
    walk.push(shape.shape(d), {fixed ? 0 : x.layout->stride(d),
                               indices.layout->shape(d) == 1 ? 0 : indices.layout->stride(d)});
  }
  Axis p{};
  p.size = shape.size();
  p.length = x.layout->shape(axis);
  p.stride = x.layout->stride(axis);
  Defines defines;
  defines.add("T", move_type(itemsize(x.dtype)));
  add_index_type(defines, p.size);
  add_integer_type(defines, indices.dtype);
  defines.pipeline(encoder, "index", "take_along_axis");
  encoder.buffer(0, launch.output);
  encoder.buffer(1, x);
  encoder.buffer(2, indices);
  walk.bind(encoder, 3);
  bind_value(encoder, 4, p);
  encoder.fault(5);
  dispatch_elements(encoder, p.size);
}

}  // namespace nitinol::metal::kernels
