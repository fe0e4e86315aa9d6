// Copies between strided regions (transposes in square tiles), and arange.
#include "metal/kernels/copy.h"

#include <cmath>

#include "metal/kernels/kernels.h"

namespace nitinol::metal::kernels {
namespace {

constexpr int tile = 32;       // of a side, as in copy.metal
constexpr int tile_rows = 8;   // threads along the other side
constexpr int per_thread = 4;  // elements that lie side by side

std::string_view position_type(std::int64_t size) noexcept {
  return size < std::int64_t{1} << 31 ? "uint" : "ulong";
}

// The dimension along which the source is denser than along the last one, or -1.
int transposed_dimension(const Walk& walk) noexcept {
  const int inner = walk.ndim() - 1;
  if (magnitude(walk.stride(1, inner)) <= 2 || walk.shape(inner) < 8) return -1;
  int best = -1;
  std::int64_t smallest = magnitude(walk.stride(1, inner));
  for (int d = 0; d < inner; ++d) {
    const std::int64_t s = magnitude(walk.stride(1, d));
    if (s != 0 && s < smallest && walk.shape(d) >= 8) {
      smallest = s;
      best = d;
    }
  }
  return best;
}

// What copy_tiles gets, in this order.
struct Tiles {
  std::int64_t rows, columns;            // of the region
  std::int64_t row_tiles, column_tiles;  // and in tiles
  std::int64_t count;                    // of tiles over all outer dimensions
  std::int64_t to_row, to_column;        // strides
  std::int64_t from_row, from_column;
};

Walk dense_walk(const Layout& layout) noexcept {
  std::array<std::int64_t, max_ndim> dense;
  std::int64_t step = 1;
  for (int d = layout.ndim() - 1; d >= 0; --d) {
    dense[static_cast<std::size_t>(d)] = step;
    step *= layout.shape(d);
  }
  Walk walk(2);
  for (int d = 0; d < layout.ndim(); ++d) {
    walk.push(layout.shape(d), {dense[static_cast<std::size_t>(d)], layout.stride(d)});
  }
  return walk;
}

}  // namespace

std::string_view word_type(std::size_t item) noexcept {
  switch (item) {
    case 1:
      return "uchar";
    case 2:
      return "ushort";
    case 4:
      return "uint";
    default:
      return "ulong";
  }
}

void copy_region(Encoder& encoder, std::size_t item, const Walk& whole, const Operand& to,
                 const Operand& from) noexcept {
  Walk walk = whole;
  const std::int64_t size = walk.size();
  if (size == 0) return;
  Defines defines;
  defines.add("T", word_type(item)).add("POSITION", position_type(size));
  const int row = walk.ndim() >= 2 ? transposed_dimension(walk) : -1;
  if (row >= 0) {
    const int inner = walk.ndim() - 1;
    Tiles tiles;
    tiles.rows = walk.shape(row);
    tiles.columns = walk.shape(inner);
    tiles.row_tiles = ceil_div(tiles.rows, tile);
    tiles.column_tiles = ceil_div(tiles.columns, tile);
    tiles.to_row = walk.stride(0, row);
    tiles.to_column = walk.stride(0, inner);
    tiles.from_row = walk.stride(1, row);
    tiles.from_column = walk.stride(1, inner);
    walk.remove(inner);
    walk.remove(row);
    tiles.count = walk.size() * tiles.row_tiles * tiles.column_tiles;
    defines.pipeline(encoder, "copy", "copy_tiles");
    encoder.buffer(0, from);
    encoder.buffer(1, to);
    walk.bind(encoder, 2);
    bind_value(encoder, 3, tiles);
    encoder.dispatch(grid_of(tiles.count), {tile, tile_rows, 1});
    return;
  }
  bool dense = walk.ndim() <= 1;
  for (int k = 0; k < 2 && walk.ndim() == 1; ++k) dense = dense && walk.stride(k, 0) == 1;
  defines.pipeline(encoder, "copy", dense ? "copy_dense" : "copy_strided");
  encoder.buffer(0, from);
  encoder.buffer(1, to);
  if (!dense) walk.bind(encoder, 2);
  bind_value(encoder, 3, size);
  dispatch_elements(encoder, size, dense ? per_thread : 1);
}

void copy_dense(Encoder& encoder, const Operand& x, const Operand& to) noexcept {
  copy_region(encoder, itemsize(x.dtype), dense_walk(*x.layout), to, x);
}

void convert_dense(Encoder& encoder, const Operand& x, DType dtype, const Operand& to) noexcept {
  const Instruction step{Op::cast, x.dtype, dtype, 1, 1, {0, 0, 0}};
  Program program;
  program.code = {&step, 1};
  program.inputs = program.outputs = 1;
  try {
    const Layout layout(x.layout->shape());
    Operand target = to;
    target.layout = &layout;
    target.dtype = dtype;
    launch_program(program, {&x, 1}, {&target, 1}, encoder);
  } catch (const std::bad_alloc&) {
    encoder.fail(Fault{Code::out_of_memory, false, 0, 0, {sizeof(Layout), 0, 0, 0}});
  }
}

void copy(const Launch& launch) noexcept {
  if (refused(launch)) return;
  copy_dense(launch.encoder, launch.inputs[0], launch.output);
}

void arange(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const DType dtype = launch.output.dtype;
  const std::int64_t size = launch.output.layout->size();
  if (size == 0) return;
  const bool integers = is_integer(dtype) || dtype == DType::bool_;
  Defines()
      .add("T", dtype)
      .pipeline(encoder, "arange",
                integers                    ? "arange_integers"
                : dtype == DType::float16   ? "arange_halves"
                : dtype == DType::complex64 ? "arange_complex"
                                            : "arange_floats");
  encoder.buffer(0, launch.output);
  bind_value(encoder, 1, size);
  if (integers) {
    const std::int64_t progression[2] = {launch.params.ints[0], launch.params.ints[1]};
    bind_value(encoder, 2, progression);
  } else {
    // Each as the sum of two floats, which together have most digits of a double.
    float progression[4];
    for (std::size_t i = 0; i < 2; ++i) {
      const double value = launch.params.floats[i];
      progression[2 * i] = static_cast<float>(value);
      progression[2 * i + 1] =
          std::isfinite(progression[2 * i])
              ? static_cast<float>(value - static_cast<double>(progression[2 * i]))
              : 0.0f;
    }
    bind_value(encoder, 2, progression);
  }
  dispatch_elements(encoder, size);
}

}  // namespace nitinol::metal::kernels
