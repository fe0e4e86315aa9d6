// sort, argsort and searchsorted.
#include "metal/kernels/copy.h"
#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

constexpr std::int64_t merged_per_thread = 8;  // as in sort.metal

// As in sort.metal.
struct Sort {
  std::int64_t n, stride, rows, blocks, width;
};

struct KeyTypes {
  std::string_view raw, key, sign, infinity, flip;
  std::size_t key_size;
};

KeyTypes key_types(DType dtype, bool descending) noexcept {
  KeyTypes types;
  const std::size_t item = itemsize(dtype);
  types.raw = word_type(item);
  types.key = item == 8 ? "ulong" : "uint";
  types.key_size = item == 8 ? 8 : 4;
  const bool has_sign = is_signed_integer(dtype) || is_real_floating(dtype);
  types.sign = !has_sign   ? "0"
               : item == 1 ? "0x80"
               : item == 2 ? "0x8000"
               : item == 4 ? "0x80000000u"
                           : "0x8000000000000000ul";
  types.infinity = item == 2 ? "0x7c00" : "0x7f800000u";
  types.flip = !descending ? "0" : item == 8 ? "0xfffffffffffffffful" : "0xffffffffu";
  return types;
}

void add_types(Defines& defines, const KeyTypes& types, DType dtype, bool wide) noexcept {
  defines.add("RAW", types.raw)
      .add("KEY", types.key)
      .add("INDEX", wide ? "ulong" : "uint")
      .add("SIGN", types.sign)
      .add("INF", types.infinity)
      .add("FLIP", types.flip);
  if (is_real_floating(dtype)) defines.add("FLOATING", "1");
}

void run(const Launch& launch, bool positions) noexcept {
  if (refused(launch)) return;
  const Operand& x = launch.inputs[0];
  if (is_complex(x.dtype)) return refuse(launch);
  if (x.layout->size() == 0) return;
  Encoder& encoder = launch.encoder;
  const Layout& layout = *x.layout;
  const int axis = layout.ndim() - 1;
  const Walk walk = walk_of(layout, axis);
  Sort sort{layout.shape(axis), layout.stride(axis), walk.size(), 1, 0};
  const bool wide = sort.n >= std::int64_t{1} << 32;
  const KeyTypes types = key_types(x.dtype, launch.params.ints[0] != 0);
  const std::int64_t block = sort.n <= 64 ? 64 : sort.n <= 256 ? 256 : 1024;
  sort.blocks = ceil_div(sort.n, block);

  Defines defines;
  add_types(defines, types, x.dtype, wide);
  defines.add("BLOCK", block);
  if (positions) defines.add("ARGSORT", "1");
  // Two buffers of keys and positions, that merging goes to and fro between.
  Operand keys[2], indices[2];
  const bool merging = sort.blocks > 1;
  for (int i = 0; i < (merging ? 2 : 0); ++i) {
    const auto size = static_cast<std::size_t>(layout.size());
    keys[i] = encoder.scratch(size * types.key_size);
    indices[i] = encoder.scratch(size * (wide ? 8 : 4));
  }
  const auto bind = [&]() noexcept {
    encoder.buffer(0, x);
    encoder.buffer(1, launch.output);
    walk.bind(encoder, 2);
    bind_value(encoder, 3, sort);
  };
  defines.pipeline(encoder, "sort", "sort_blocks");
  bind();
  // Where there is nothing to merge they are not written.
  encoder.buffer(4, merging ? keys[0] : launch.output);
  encoder.buffer(5, merging ? indices[0] : launch.output);
  const auto threads =
      static_cast<std::uint32_t>(block / 2 < group_threads ? block / 2 : group_threads);
  encoder.dispatch(grid_of(sort.rows * sort.blocks), {threads, 1, 1});

  Defines last = defines;
  last.add("LAST", "1");
  int at = 0;
  for (sort.width = block; sort.width < sort.n; sort.width *= 2, at = 1 - at) {
    const bool ends = 2 * sort.width >= sort.n;
    (ends ? last : defines).pipeline(encoder, "sort", "sort_merge");
    bind();
    encoder.buffer(4, keys[at]);
    encoder.buffer(5, indices[at]);
    encoder.buffer(6, keys[1 - at]);
    encoder.buffer(7, indices[1 - at]);
    dispatch_elements(encoder, sort.rows * ceil_div(sort.n, merged_per_thread));
  }
}

}  // namespace

void sort(const Launch& launch) noexcept { run(launch, false); }
void argsort(const Launch& launch) noexcept { run(launch, true); }

void searchsorted(const Launch& launch) noexcept {
  if (refused(launch)) return;
  const Operand& sorted = launch.inputs[0];
  const Operand& values = launch.inputs[1];
  if (is_complex(sorted.dtype) || values.dtype != sorted.dtype) return refuse(launch);
  if (values.layout->size() == 0) return;
  Encoder& encoder = launch.encoder;
  Defines defines;
  add_types(defines, key_types(sorted.dtype, false), sorted.dtype, false);
  defines.pipeline(encoder, "sort", "search_sorted");
  const std::int64_t search[4] = {sorted.layout->size(), sorted.layout->stride(0),
                                  values.layout->size(), launch.params.ints[0]};
  // An empty array may have no memory; nothing is read of it.
  encoder.buffer(0, search[0] > 0 ? sorted : values);
  encoder.buffer(1, values);
  encoder.buffer(2, launch.output);
  walk_of(*values.layout).bind(encoder, 3);
  bind_value(encoder, 4, search);
  dispatch_elements(encoder, search[2]);
}

}  // namespace nitinol::metal::kernels
