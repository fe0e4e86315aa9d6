// Quantised weights: straight from the blocks for a few rows of x, through dequantised tiles and
// BLAS for many. How the work is cut depends on the shapes alone.
#include "cpu/kernels/quantized.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "cpu/blas.h"
#include "cpu/kernels/rows.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

using simd::BlockType;

// From here on, making float32 weights once and multiplying by BLAS is faster.
constexpr std::int64_t few_rows = 8;

constexpr std::int64_t block_bytes(BlockType type) noexcept {
  return type == BlockType::q4_0 ? 18 : type == BlockType::q4_1 ? 20 : 34;
}

// The blocks of one matrix, row by row; rows that are not dense are copied first.
struct Matrix {
  BlockType type;
  const std::uint8_t* data;
  std::int64_t rows, row_bytes, stride;  // stride in bytes
  std::int64_t blocks() const noexcept { return row_bytes / block_bytes(type); }
  const std::uint8_t* row(std::int64_t r) const noexcept { return data + r * stride; }
};

// A row of blocks as dense bytes: the row itself, or a copy in `room`.
const std::uint8_t* dense_bytes(const std::uint8_t* from, std::int64_t stride, std::int64_t n,
                                std::uint8_t* room) noexcept {
  if (stride == 1 || n <= 1) return from;
  copy_row(from, stride, n, room);
  return room;
}

void few(const Launch& launch, const Matrix& w, const float* x, std::int64_t x_stride,
         std::int64_t rows) noexcept {
  float* out = launch.output.as<float>();
  // A chunk is some 2 us of work: few enough to hand over, many enough to even out.
  const std::int64_t weights = std::max<std::int64_t>(w.blocks() * simd::block_weights, 1);
  const std::int64_t grain = std::max<std::int64_t>(65536 / (weights * rows) / 8, 1) * 8;
  parallel_for(w.rows, grain, [&](std::int64_t begin, std::int64_t end) {
    simd::kernels().quantized.product(w.type, x, x_stride, rows, w.row(begin), w.stride,
                                      end - begin, w.blocks(), out + begin, w.rows);
  });
}

void many(const Launch& launch, const Matrix& w, const float* x, std::int64_t x_stride,
          std::int64_t rows) noexcept {
  if (!blas::loaded()) return launch.fault.raise(0, Code::internal);
  float* out = launch.output.as<float>();
  const std::int64_t k = w.blocks() * simd::block_weights;
  // Weights are made once for each chunk of rows of x, and BLAS rearranges x once for each tile of
  // weights: both want to be large, but there must be work for several threads.
  constexpr std::int64_t tile = 192;
  const std::int64_t column_tiles = (w.rows + tile - 1) / tile;
  const std::int64_t row_chunk = column_tiles * ((rows + 511) / 512) >= 12 ? 512 : 256;
  const std::int64_t row_tiles = (rows + row_chunk - 1) / row_chunk;
  parallel_for(column_tiles * row_tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t bytes =
        std::min(tile, w.rows) * k * static_cast<std::int64_t>(sizeof(float));
    Scratch scratch(static_cast<std::size_t>(bytes));
    if (!scratch) return raise_out_of_memory(launch, begin, bytes);
    float* weights = scratch.as<float>();
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first = unit / row_tiles * tile, row = unit % row_tiles * row_chunk;
      const std::int64_t n = std::min(tile, w.rows - first), m = std::min(row_chunk, rows - row);
      for (std::int64_t j = 0; j < n; ++j) {
        simd::kernels().quantized.dequantize(w.type, w.row(first + j), w.blocks(), weights + j * k);
      }
      blas::sgemm(false, true, m, n, k, 1.0f, x + row * x_stride, x_stride, weights, k, 0.0f,
                  out + row * w.rows + first, w.rows);
    }
  });
}

}  // namespace

void quantized_matmul(const Launch& launch) noexcept {
  const std::int64_t size = launch.output.layout->size();
  if (size == 0) return;
  const View& x = launch.inputs[0];
  const View& blocks = launch.inputs[1];
  Matrix w{static_cast<BlockType>(launch.params.ints[0]), blocks.as<const std::uint8_t>(),
           blocks.layout->shape(0), blocks.layout->shape(1), blocks.layout->stride(0)};
  const std::int64_t rows = size / w.rows, k = w.blocks() * simd::block_weights;
  if (k == 0) {
    std::fill_n(launch.output.as<float>(), size, 0.0f);
    return;
  }

  std::optional<Scratch> dense_blocks;
  if (blocks.layout->stride(1) != 1) {
    dense_blocks.emplace(static_cast<std::size_t>(w.rows * w.row_bytes));
    if (!*dense_blocks) return raise_out_of_memory(launch, 0, w.rows * w.row_bytes);
    std::uint8_t* to = dense_blocks->as<std::uint8_t>();
    parallel_for(w.rows, row_grain(w.row_bytes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        copy_row(w.row(r), blocks.layout->stride(1), w.row_bytes, to + r * w.row_bytes);
      }
    });
    w.data = to;
    w.stride = w.row_bytes;
  }

  // BLAS takes rows of x that begin at an even, positive distance.
  std::optional<Scratch> dense_x;
  const float* values = x.as<const float>();
  std::int64_t x_stride = 0;
  const bool even = rows_are_dense(*x.layout) && rows_are_even(*x.layout, &x_stride);
  if (rows == 1) x_stride = k;
  if (!even || x_stride < k) {
    const std::int64_t bytes = rows * k * static_cast<std::int64_t>(sizeof(float));
    dense_x.emplace(static_cast<std::size_t>(bytes));
    if (!*dense_x) return raise_out_of_memory(launch, 0, bytes);
    float* to = dense_x->as<float>();
    const std::int64_t stride = x.layout->stride(x.layout->ndim() - 1);
    parallel_for(rows, row_grain(k), [&](std::int64_t begin, std::int64_t end) {
      RowWalker walker(*x.layout, 1, begin);
      for (std::int64_t r = begin; r < end; ++r, walker.next()) {
        copy_row(values + walker.offset(), stride, k, to + r * k);
      }
    });
    values = to;
    x_stride = k;
  }
  (rows <= few_rows ? few : many)(launch, w, values, x_stride, rows);
}

void dequantize(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  const View& blocks = launch.inputs[0];
  const Layout& layout = *blocks.layout;
  const auto type = static_cast<BlockType>(launch.params.ints[0]);
  const int last = layout.ndim() - 1;
  const std::int64_t bytes = layout.shape(last), stride = layout.stride(last);
  const std::int64_t count = bytes / block_bytes(type), k = count * simd::block_weights;
  float* out = launch.output.as<float>();
  parallel_for(product_of_shape(layout, last), row_grain(k),
               [&](std::int64_t begin, std::int64_t end) {
                 std::optional<Scratch> room;
                 if (stride != 1) {
                   room.emplace(static_cast<std::size_t>(bytes));
                   if (!*room) return raise_out_of_memory(launch, begin, bytes);
                 }
                 RowWalker walker(layout, 1, begin);
                 for (std::int64_t r = begin; r < end; ++r, walker.next()) {
                   const std::uint8_t* row =
                       dense_bytes(blocks.as<const std::uint8_t>() + walker.offset(), stride, bytes,
                                   room ? room->as<std::uint8_t>() : nullptr);
                   simd::kernels().quantized.dequantize(type, row, count, out + r * k);
                 }
               });
}

void quantized_take(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  const View& blocks = launch.inputs[0];
  const View& indices = launch.inputs[1];
  const auto type = static_cast<BlockType>(launch.params.ints[0]);
  const std::int64_t n = blocks.layout->shape(0), bytes = blocks.layout->shape(1);
  const std::int64_t stride = blocks.layout->stride(1);
  const std::int64_t count = bytes / block_bytes(type), k = count * simd::block_weights;
  float* out = launch.output.as<float>();
  dispatch(indices.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) {
      parallel_for(indices.layout->size(), row_grain(k), [&](std::int64_t begin, std::int64_t end) {
        std::optional<Scratch> room;
        if (stride != 1) {
          room.emplace(static_cast<std::size_t>(bytes));
          if (!*room) return raise_out_of_memory(launch, begin, bytes);
        }
        RowWalker walker(*indices.layout, 0, begin);
        for (std::int64_t i = begin; i < end; ++i, walker.next()) {
          const T given = indices.as<const T>()[walker.offset()];
          std::int64_t index = static_cast<std::int64_t>(given);
          // A uint64 beyond int64 is negative here and must not count from the end.
          const bool wrapped = std::is_unsigned_v<T> && index < 0;
          if (index < 0 && !wrapped) index += n;
          if (index < 0 || index >= n || wrapped) {
            launch.fault.raise(i, Code::index_out_of_range, static_cast<std::int64_t>(given), 0, n);
            return;
          }
          const std::uint8_t* row =
              dense_bytes(blocks.as<const std::uint8_t>() + index * blocks.layout->stride(0),
                          stride, bytes, room ? room->as<std::uint8_t>() : nullptr);
          simd::kernels().quantized.dequantize(type, row, count, out + i * k);
        }
      });
    }
  });
}

}  // namespace nitinol::cpu::kernels
