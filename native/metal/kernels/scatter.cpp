// scatter. All indices are checked before the first write, so that a fault leaves a donated buffer
// as it was; its position is that of gather. Updates that meet the same element are applied in the
// row-major order of the indices, whatever the number of threads: few tuples are walked by every
// position of the slices, many are sorted by the element they go to.
#include <algorithm>

#include "metal/kernels/index.h"
#include "metal/kernels/kernels.h"

namespace nitinol::metal::kernels {
namespace {

// Up to so many tuples one thread applies them faster than they are sorted.
constexpr std::int64_t few_tuples = 64;

// The kernel's argument of this name.
struct Scatter {
  std::int64_t size, count, row;
};

enum Mode : std::int64_t { set, add, multiply, minimum, maximum };

void add_types(Defines& defines, DType dtype, std::int64_t mode) {
  const bool whole = is_integer(dtype);
  const bool wraps = whole && (mode == add || mode == multiply);
  if (mode == set || wraps) {
    defines.add("T", move_type(itemsize(dtype)));
  } else {
    defines.add("T", dtype);
  }
  // Unsigned arithmetic wraps; halves are rounded from float32 once.
  defines.add("WIDE", whole                     ? itemsize(dtype) == 8 ? "ulong" : "uint"
                      : dtype == DType::float16 ? "float"
                      : mode == set             ? move_type(itemsize(dtype))
                                                : msl_type(dtype));
  defines.add("KIND", is_complex(dtype) ? "3" : dtype == DType::bool_ ? "2" : whole ? "1" : "0");
}

}  // namespace

void scatter(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& x = launch.inputs[0];
  const Operand& updates = launch.inputs[1];
  const Operand& out = launch.output;
  const std::span<const Operand> indices = launch.inputs.subspan(2);
  const auto axis = static_cast<int>(launch.params.ints[0]);
  const std::int64_t mode = launch.params.ints[1];
  const bool ordered = mode == minimum || mode == maximum;
  if (mode < set || mode > maximum || (ordered && is_complex(x.dtype))) return refuse(launch);
  const int behind = axis + static_cast<int>(indices.size());
  const int ndim = x.layout->ndim();

  std::int64_t strides[max_ndim];
  row_major(x.layout->shape(), strides);
  const std::int64_t count = indices[0].layout->size();
  const Operand offsets = resolve_indices(launch, indices, axis, strides);
  if (!launch.in_place) copy_whole(encoder, x, out);
  if (updates.layout->size() == 0 || out.layout->size() == 0) return;

  const Layout& from = *updates.layout;
  const int rank = indices[0].layout->ndim();
  Walk outer(2), tuples(1), row(2);
  for (int d = 0; d < axis; ++d) outer.push(from.shape(d), {strides[d], from.stride(d)});
  for (int d = axis; d < axis + rank; ++d) tuples.push(from.shape(d), {from.stride(d)});
  for (int d = behind; d < ndim; ++d) {
    const int u = d - behind + axis + rank;
    row.push(from.shape(u), {strides[d], from.stride(u)});
  }
  const Scatter p{outer.size() * row.size(), count, row.size()};

  const bool sorted = count > few_tuples;
  Operand order;
  Layout line(std::span<const std::int64_t>(&count, 1));
  if (sorted) {
    order = encoder.scratch(static_cast<std::size_t>(count) * sizeof(std::int64_t));
    order.layout = &line;
    order.dtype = DType::int64;
    Operand keys = offsets;
    keys.layout = &line;
    keys.dtype = DType::int64;
    Params ascending;
    ascending.ints = {0};
    argsort(Launch{ascending, {&keys, 1}, order, false, encoder});
  }
  if (encoder.failed()) return;
  Defines defines;
  add_types(defines, x.dtype, mode);
  defines.add("MODE", mode).add(sorted ? "SORTED" : "WALKED", "1");
  const std::int64_t size = sorted ? p.size * count : p.size;
  add_index_type(defines, std::max(size, count));
  defines.pipeline(encoder, "scatter", sorted ? "scatter_sorted" : "scatter");
  encoder.buffer(0, out);
  encoder.buffer(1, updates);
  encoder.buffer(2, offsets);
  outer.bind(encoder, 3);
  row.bind(encoder, 4);
  tuples.bind(encoder, 5);
  bind_value(encoder, 6, p);
  encoder.fault(7);
  if (sorted) encoder.buffer(8, order);
  dispatch_elements(encoder, size);
}

}  // namespace nitinol::metal::kernels
