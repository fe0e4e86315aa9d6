// slice_update and strided_update: one copy into a region, after a copy of the whole where the
// output is not the donated input itself.
#include <algorithm>

#include "metal/kernels/kernels.h"
#include "metal/kernels/region.h"

namespace nitinol::metal::kernels {
namespace {

constexpr std::size_t direct_starts = 4;  // read by the kernel where they lie

struct Start {
  std::int64_t last, stride, dtype;
};

// Whether a region that begins at 0 (or `starts`) and has these steps lies in the output.
bool inside(const Layout& out, const Layout& update, const std::int64_t* starts,
            const std::int64_t* steps) noexcept {
  for (int d = 0; d < out.ndim(); ++d) {
    const std::int64_t n = update.shape(d);
    if (n == 0) continue;
    const std::int64_t end = starts[d] + (n - 1) * steps[d];
    if (std::min(starts[d], end) < 0 || std::max(starts[d], end) >= out.shape(d)) return false;
  }
  return true;
}

}  // namespace

void slice_update(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& out = launch.output;
  const Operand& update = launch.inputs[1];
  const std::span<const Operand> given = launch.inputs.subspan(2);
  const std::int64_t zeros[max_ndim] = {};
  std::int64_t ones[max_ndim], strides[max_ndim];
  std::fill_n(ones, max_ndim, 1);
  if (!inside(*out.layout, *update.layout, zeros, ones)) return refuse(launch);
  if (!launch.in_place) copy_whole(encoder, launch.inputs[0], out);
  if (update.layout->size() == 0) return;

  Region region = region_of(update, out.layout->shape(), 0);
  const std::size_t item = itemsize(out.dtype);
  if (given.empty()) return copy_regions(encoder, out, item, {&region, 1});

  row_major(out.layout->shape(), strides);
  Start starts[max_ndim];
  const bool in_table = given.size() > direct_starts;
  const Operand table = in_table ? encoder.scratch(given.size() * sizeof(std::int64_t)) : Operand{};
  std::size_t factor = widening(out, item, region);
  for (std::size_t k = 0; k < given.size(); ++k) {
    const auto axis = static_cast<int>(launch.params.ints[k]);
    starts[k] = {out.layout->shape(axis) - update.layout->shape(axis), strides[axis],
                 static_cast<std::int64_t>(given[k].dtype)};
    // A start may be any number: where each step of it is not a multiple, elements stay single.
    while (factor > 1 && starts[k].last > 0 &&
           starts[k].stride % static_cast<std::int64_t>(factor) != 0) {
      factor /= 2;
    }
    if (!in_table) continue;
    const std::int32_t place_and_dtype[2] = {static_cast<std::int32_t>(k),
                                             static_cast<std::int32_t>(given[k].dtype)};
    encoder.pipeline("region", "load_start", {});
    encoder.buffer(0, table);
    encoder.buffer(1, given[k]);
    bind_value(encoder, 2, place_and_dtype);
    encoder.dispatch({}, {32, 1, 1});
  }
  widen(region, static_cast<std::int64_t>(factor));
  for (std::size_t k = 0; k < given.size(); ++k) {
    starts[k].stride /= static_cast<std::int64_t>(factor);
  }
  const std::int64_t size = region.walk.size();
  Defines defines;
  defines.add("T", move_type(item * factor)).add("STARTS", static_cast<std::int64_t>(given.size()));
  defines.add("STARTS_IN_TABLE", in_table ? "1" : "0");
  add_index_type(defines, size);
  defines.pipeline(encoder, "region", "update_region");
  encoder.buffer(0, out);
  encoder.buffer(1, update);
  region.walk.bind(encoder, 2);
  bind_value(encoder, 3, size);
  encoder.bytes(4, starts, given.size() * sizeof(Start));
  if (in_table) {
    encoder.buffer(5, table);
  } else {
    for (std::size_t k = 0; k < given.size(); ++k) {
      encoder.buffer(5 + static_cast<int>(k), given[k]);
    }
  }
  dispatch_elements(encoder, size);
}

void strided_update(const Launch& launch) noexcept {
  if (refused(launch)) return;
  const Operand& out = launch.output;
  const Operand& update = launch.inputs[1];
  std::int64_t starts[max_ndim], steps[max_ndim], strides[max_ndim];
  for (int d = 0; d < out.layout->ndim(); ++d) {
    starts[d] = launch.params.ints[2 * static_cast<std::size_t>(d)];
    steps[d] = launch.params.ints[2 * static_cast<std::size_t>(d) + 1];
  }
  if (!inside(*out.layout, *update.layout, starts, steps)) return refuse(launch);
  if (!launch.in_place) copy_whole(launch.encoder, launch.inputs[0], out);
  if (update.layout->size() == 0) return;
  row_major(out.layout->shape(), strides);
  Region region;
  region.source = &update;
  for (int d = 0; d < out.layout->ndim(); ++d) {
    region.offset += starts[d] * strides[d];
    region.walk.push(update.layout->shape(d), {steps[d] * strides[d], update.layout->stride(d)});
  }
  copy_regions(launch.encoder, out, itemsize(out.dtype), {&region, 1});
}

}  // namespace nitinol::metal::kernels
