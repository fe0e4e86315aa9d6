// Copies between strided regions: long runs by memcpy, transposes in square tiles.
#include "cpu/kernels/copy.h"

#include <algorithm>
#include <cstring>

#include "cpu/half.h"

namespace nitinol::cpu::kernels {
namespace {

// Runs of a few elements are the usual case of a sliced array; a call of memcpy
// with a length known at compile time is a pair of moves.
NITINOL_INLINE void copy_run(char* dst, const char* src, std::size_t bytes) noexcept {
  switch (bytes) {
    case 4:
      std::memcpy(dst, src, 4);
      break;
    case 8:
      std::memcpy(dst, src, 8);
      break;
    case 16:
      std::memcpy(dst, src, 16);
      break;
    case 32:
      std::memcpy(dst, src, 32);
      break;
    case 64:
      std::memcpy(dst, src, 64);
      break;
    default:
      std::memcpy(dst, src, bytes);
  }
}

template <class T>
void copy_line(char* dst, std::int64_t ds, const char* src, std::int64_t ss,
               std::int64_t n) noexcept {
  constexpr std::int64_t item = sizeof(T);
  if (ds == item && ss == item) {
    copy_run(dst, src, static_cast<std::size_t>(n) * sizeof(T));
  } else if (ds == item && ss == 0) {
    std::fill_n(reinterpret_cast<T*>(dst), n, *reinterpret_cast<const T*>(src));
  } else if (ds == item) {
    T* out = reinterpret_cast<T*>(dst);
    for (std::int64_t i = 0; i < n; ++i) out[i] = *reinterpret_cast<const T*>(src + i * ss);
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      *reinterpret_cast<T*>(dst + i * ds) = *reinterpret_cast<const T*>(src + i * ss);
    }
  }
}

template <class T>
void copy_lines(const Nest<2>& nest, char* dst, const char* src, std::int64_t begin,
                std::int64_t end) noexcept {
  const int inner = nest.ndim - 1;
  const std::int64_t n = nest.shape[inner];
  const std::int64_t ds = nest.strides[0][inner];
  const std::int64_t ss = nest.strides[1][inner];
  const std::int64_t line = begin / n;
  std::int64_t first = begin - line * n;  // inside the line
  std::int64_t left = end - begin;
  for (Odometer<2> at(nest, inner, line); left > 0; at.next()) {
    const std::int64_t count = std::min(left, n - first);
    copy_line<T>(dst + at.offset[0] + first * ds, ds, src + at.offset[1] + first * ss, ss, count);
    left -= count;
    first = 0;
  }
}

// Elements of a tile's side: a cache line of the source holds one column of it.
template <class T>
constexpr int tile_side = sizeof(T) >= 8   ? 8
                          : sizeof(T) == 4 ? 16
                                           : 32;

// One tile, through a buffer, so that every cache line of the source is read at once:
// with power-of-two strides all lines of a tile compete for one set of the cache.
template <class T>
void copy_tile(char* dst, std::int64_t d_row, std::int64_t d_col, const char* src,
               std::int64_t s_row, std::int64_t s_col, int rows, int cols) noexcept {
  constexpr int side = tile_side<T>;
  constexpr std::int64_t item = sizeof(T);
  T buffer[side * side];
  if (rows == side && cols == side && s_row == item && d_col == item) {
    for (int c = 0; c < side; ++c) std::memcpy(buffer + c * side, src + c * s_col, side * item);
    for (int r = 0; r < side; ++r) {
      T* out = reinterpret_cast<T*>(dst + r * d_row);
      for (int c = 0; c < side; ++c) out[c] = buffer[c * side + r];
    }
    return;
  }
  for (int c = 0; c < cols; ++c) {
    for (int r = 0; r < rows; ++r) {
      buffer[c * side + r] = *reinterpret_cast<const T*>(src + c * s_col + r * s_row);
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      *reinterpret_cast<T*>(dst + r * d_row + c * d_col) = buffer[c * side + r];
    }
  }
}

// `row` is the dimension along which the source is dense; the last one is the
// dimension along which the destination is.
template <class T>
void copy_transposed(Nest<2> nest, int row, char* dst, const char* src) noexcept {
  constexpr int side = tile_side<T>;
  std::int64_t col_stride[2], row_stride[2];
  const std::int64_t cols = nest.take(nest.ndim - 1, col_stride);
  const std::int64_t rows = nest.take(row, row_stride);
  const std::int64_t bands = ceil_div(rows, side);  // a band: the tiles of `side` rows
  const std::int64_t outer = nest.size();
  parallel_for(
      outer * bands, items_per_grain(cols * side), [&](std::int64_t begin, std::int64_t end) {
        Odometer<2> at(nest, nest.ndim, begin / bands);
        std::int64_t band = begin % bands;
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t r = band * side;
          char* d = dst + at.offset[0] + r * row_stride[0];
          const char* s = src + at.offset[1] + r * row_stride[1];
          const int height = static_cast<int>(std::min<std::int64_t>(side, rows - r));
          for (std::int64_t c = 0; c < cols; c += side) {
            const int width = static_cast<int>(std::min<std::int64_t>(side, cols - c));
            copy_tile<T>(d + c * col_stride[0], row_stride[0], col_stride[0], s + c * col_stride[1],
                         row_stride[1], col_stride[1], height, width);
          }
          if (++band == bands) {
            band = 0;
            at.next();
          }
        }
      });
}

// The dimension that the source walks in far smaller steps than its last one, or -1.
int transposed_dimension(const Nest<2>& nest, std::size_t itemsize) noexcept {
  const int inner = nest.ndim - 1;
  const auto item = static_cast<std::int64_t>(itemsize);
  if (magnitude(nest.strides[1][inner]) <= 2 * item || nest.shape[inner] < 4) return -1;
  int best = -1;
  std::int64_t smallest = magnitude(nest.strides[1][inner]);
  for (int d = 0; d < inner; ++d) {
    const std::int64_t s = magnitude(nest.strides[1][d]);
    if (s != 0 && s < smallest && nest.shape[d] >= 4) {
      smallest = s;
      best = d;
    }
  }
  return best;
}

}  // namespace

void copy_region(std::size_t itemsize, const Nest<2>& nest, char* dst, const char* src) noexcept {
  const std::int64_t size = nest.size();
  if (size == 0) return;
  if (nest.ndim == 0) {
    std::memcpy(dst, src, itemsize);
    return;
  }
  const int row = transposed_dimension(nest, itemsize);
  dispatch_size(itemsize, [&]<class T>(std::type_identity<T>) {
    if (row >= 0) return copy_transposed<T>(nest, row, dst, src);
    parallel_for(size, 4 * parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      copy_lines<T>(nest, dst, src, begin, end);
    });
  });
}

void copy_region_inline(std::size_t itemsize, const Nest<2>& nest, char* dst,
                        const char* src) noexcept {
  const std::int64_t size = nest.size();
  if (size == 0) return;
  if (nest.ndim == 0) {
    std::memcpy(dst, src, itemsize);
    return;
  }
  dispatch_size(itemsize,
                [&]<class T>(std::type_identity<T>) { copy_lines<T>(nest, dst, src, 0, size); });
}

void copy_into(const View& src, char* dst, std::span<const std::int64_t> dst_shape) noexcept {
  const Layout& layout = *src.layout;
  const auto item = static_cast<std::int64_t>(itemsize(src.dtype));
  std::int64_t dst_strides[max_ndim];
  row_major(dst_shape, dst_strides);
  Nest<2> nest;
  for (int d = 0; d < layout.ndim(); ++d) {
    nest.push(layout.shape(d), {dst_strides[d] * item, layout.stride(d) * item});
  }
  copy_region(itemsize(src.dtype), nest, dst, src.data);
}

void copy(const Launch& launch) noexcept {
  copy_into(launch.inputs[0], launch.output.data, launch.output.layout->shape());
}

void arange(const Launch& launch) noexcept {
  const Params& p = launch.params;
  const View& out = launch.output;
  dispatch(out.dtype, [&]<class T>(std::type_identity<T>) {
    T* data = out.as<T>();
    parallel_for(out.layout->size(), parallel_grain, [&](std::int64_t begin, std::int64_t end) {
      if constexpr (std::is_integral_v<T>) {
        const auto start = static_cast<std::uint64_t>(p.ints[0]);
        const auto step = static_cast<std::uint64_t>(p.ints[1]);
        for (std::int64_t i = begin; i < end; ++i) {
          data[i] = static_cast<T>(start + static_cast<std::uint64_t>(i) * step);
        }
      } else {
        const double start = p.floats[0], step = p.floats[1];
        for (std::int64_t i = begin; i < end; ++i) {
          const double value = start + static_cast<double>(i) * step;
          if constexpr (std::is_same_v<T, float16>) {
            data[i] = to_half(value);
          } else {
            data[i] = static_cast<T>(value);
          }
        }
      }
    });
  });
}

}  // namespace nitinol::cpu::kernels
