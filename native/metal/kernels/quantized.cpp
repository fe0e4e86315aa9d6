// Quantised weights: each simdgroup makes some rows of the weights for a few rows of x; for many
// rows of x tiles of the weights are made once in threadgroup memory.
// The fault of quantized_take: the flat position of the index, in row-major order.
#include <algorithm>

#include "metal/kernels/index.h"
#include "metal/kernels/kernels.h"
#include "metal/kernels/region.h"

namespace nitinol::metal::kernels {
namespace {

// From here on, weights made once for 32 rows of x are worth the detour.
constexpr std::int64_t few_rows = 8;
constexpr std::int64_t block_weights = 32;

constexpr std::int64_t block_bytes(std::int64_t kind) noexcept {
  return kind == 2 ? 18 : kind == 3 ? 20 : 34;
}
// What the kernel's loads ask of addresses.
constexpr std::int64_t block_alignment(std::int64_t kind) noexcept { return kind == 3 ? 4 : 2; }

// Blocks whose rows are dense and aligned: as given, or a copy whose layout is `dense`.
Operand readable(const Launch& launch, const Operand& blocks, Layout& dense) noexcept {
  const Layout& layout = *blocks.layout;
  const auto alignment = block_alignment(launch.params.ints[0]);
  const int last = layout.ndim() - 1;
  bool fine = layout.stride(last) == 1 || layout.shape(last) <= 1;
  fine = fine && static_cast<std::int64_t>(blocks.offset) % alignment == 0;
  for (int d = 0; d < last; ++d) {
    fine = fine && (layout.shape(d) <= 1 || layout.stride(d) % alignment == 0);
  }
  return fine ? blocks : dense_copy(launch.encoder, blocks, dense);
}

// The kernel's argument of this name.
struct Product {
  std::int64_t rows, columns, x_stride, block_stride;
  std::uint32_t blocks;
};

struct Rows {
  std::int64_t count, block_stride, matrix_rows;
  std::uint32_t blocks;
};

}  // namespace

void quantized_matmul(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const std::int64_t size = launch.output.layout->size();
  if (size == 0) return;
  const std::int64_t kind = launch.params.ints[0];
  Layout dense_layout, dense_x_layout;
  const Operand blocks = readable(launch, launch.inputs[1], dense_layout);
  Product p{};
  p.columns = blocks.layout->shape(0);
  p.rows = size / p.columns;
  p.block_stride = blocks.layout->stride(0);
  p.blocks = static_cast<std::uint32_t>(blocks.layout->shape(1) / block_bytes(kind));

  // Rows of x an even distance apart, of aligned fours.
  Operand x = launch.inputs[0];
  const int last = x.layout->ndim() - 1;
  const Walk rows = walk_of(*x.layout, last);
  p.x_stride = rows.ndim() == 0 ? 0 : rows.stride(0, 0);
  if (rows.ndim() > 1 || x.layout->stride(last) != 1 || x.offset % 16 != 0 || p.x_stride % 4 != 0) {
    x = dense_copy(encoder, x, dense_x_layout);
    p.x_stride = p.blocks * block_weights;
  }
  if (encoder.failed()) return;

  Defines defines;
  defines.add("KIND", kind);
  const auto bind = [&](std::string_view function) {
    defines.pipeline(encoder, "quantized", function);
    encoder.buffer(0, launch.output);
    encoder.buffer(1, x);
    encoder.buffer(2, blocks);
    bind_value(encoder, 3, p);
  };
  if (p.rows > few_rows) {
    defines.add("TILED", "1");
    bind("multiply_tiles");
    encoder.dispatch({static_cast<std::uint32_t>(ceil_div(p.columns, 64)),
                      static_cast<std::uint32_t>(ceil_div(p.rows, 32)), 1},
                     {128, 1, 1});
    return;
  }
  // More rows a simdgroup reuse what was read of x; fewer keep more of the GPU at work.
  const std::int64_t x_rows = p.rows <= 2 ? p.rows : 4;
  const std::int64_t w_rows = p.columns >= 4096 ? 4 : 2;
  constexpr std::int64_t simdgroups = 4;
  defines.add("X_ROWS", x_rows).add("W_ROWS", w_rows).add("SIMDGROUPS", simdgroups);
  bind("multiply_rows");
  encoder.dispatch({static_cast<std::uint32_t>(ceil_div(p.columns, w_rows * simdgroups)),
                    static_cast<std::uint32_t>(ceil_div(p.rows, x_rows)), 1},
                   {32 * simdgroups, 1, 1});
}

void dequantize(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  if (launch.output.layout->size() == 0) return;
  const std::int64_t kind = launch.params.ints[0];
  Layout dense_layout;
  const Operand blocks = readable(launch, launch.inputs[0], dense_layout);
  const int last = blocks.layout->ndim() - 1;
  Rows rows{};
  rows.blocks = static_cast<std::uint32_t>(blocks.layout->shape(last) / block_bytes(kind));
  rows.count = launch.output.layout->size() / (rows.blocks * block_weights);
  Defines defines;
  defines.add("KIND", kind);
  add_index_type(defines, launch.output.layout->size());
  defines.pipeline(encoder, "quantized", "dequantize");
  encoder.buffer(0, launch.output);
  encoder.buffer(1, blocks);
  walk_of(*blocks.layout, last).bind(encoder, 2);
  bind_value(encoder, 3, rows);
  dispatch_elements(encoder, rows.count * rows.blocks * 4);
}

void quantized_take(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  if (launch.output.layout->size() == 0) return;
  const std::int64_t kind = launch.params.ints[0];
  const Operand& indices = launch.inputs[1];
  Layout dense_layout;
  const Operand blocks = readable(launch, launch.inputs[0], dense_layout);
  Rows rows{};
  rows.blocks = static_cast<std::uint32_t>(blocks.layout->shape(1) / block_bytes(kind));
  rows.count = indices.layout->size();
  rows.block_stride = blocks.layout->stride(0);
  rows.matrix_rows = blocks.layout->shape(0);
  Defines defines;
  defines.add("KIND", kind);
  add_index_type(defines, launch.output.layout->size());
  add_integer_type(defines, indices.dtype);
  defines.pipeline(encoder, "quantized", "take_rows");
  encoder.buffer(0, launch.output);
  encoder.buffer(1, blocks);
  walk_of(*indices.layout).bind(encoder, 2);
  bind_value(encoder, 3, rows);
  encoder.buffer(4, indices);
  encoder.fault(5);
  dispatch_elements(encoder, rows.count * rows.blocks * 4);
}

}  // namespace nitinol::metal::kernels
