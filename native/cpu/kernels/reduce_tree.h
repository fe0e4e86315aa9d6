// How a reduction over one axis is cut and combined. The order is fixed by the length
// alone, never by strides, threads or instruction set:
//   - up to 8 elements: one after the other;
//   - a block of lanes * 16 elements: element r goes to lane r % lanes, the lanes are
//     then combined in halves;
//   - blocks are combined pairwise, like the carries of a binary counter.
// A chunk is a whole subtree, so chunks may be computed apart and combined later.
// The error grows with 16 + log2(n), like NumPy's pairwise sum.
//
// A policy P has In (as stored), Acc, exact (any order gives the same bits), sequential
// (no other order will do), identity(), empty(), load(In), combine(Acc older, Acc newer)
// and store(char* out, int64 index, Acc, std::size_t itemsize); where a faster way than
// combine is known for a block, block(const In*, int64 n).
#pragma once

#include <algorithm>
#include <bit>

#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

inline constexpr std::int64_t chunk_length = 16384;
inline constexpr std::int64_t short_length = 8;

template <class P>
inline constexpr int lanes = 128 / static_cast<int>(sizeof(typename P::Acc));
template <class P>
inline constexpr std::int64_t block_length = lanes<P> * 16;

// Pairwise combination of values that arrive one after the other.
template <class P>
class Tree {
 public:
  using Acc = typename P::Acc;
  NITINOL_INLINE void push(Acc value) noexcept {
    int level = 0;
    for (std::uint64_t c = count_; c & 1; c >>= 1) value = P::combine(levels_[level++], value);
    levels_[level] = value;
    ++count_;
  }
  NITINOL_INLINE Acc fold() const noexcept {
    bool first = true;
    Acc value = P::identity();
    for (int level = 0; count_ >> level; ++level) {
      if (!(count_ >> level & 1)) continue;
      value = first ? levels_[level] : P::combine(levels_[level], value);
      first = false;
    }
    return value;
  }

 private:
  std::uint64_t count_ = 0;
  Acc levels_[48];
};

template <class P>
NITINOL_INLINE typename P::Acc fold_lanes(typename P::Acc* acc) noexcept {
  for (int width = lanes<P> / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) acc[j] = P::combine(acc[j], acc[j + width]);
  }
  return acc[0];
}

template <class P>
NITINOL_INLINE typename P::Acc load_at(const char* p) noexcept {
  return P::load(*reinterpret_cast<const typename P::In*>(p));
}

// One block: `n` elements that lie side by side, n <= block_length unless P is exact.
template <class P>
NITINOL_INLINE typename P::Acc reduce_block(const typename P::In* x, std::int64_t n) noexcept {
  if constexpr (requires { P::block(x, n); }) return P::block(x, n);
  typename P::Acc acc[lanes<P>];
  for (int j = 0; j < lanes<P>; ++j) acc[j] = P::identity();
  const std::int64_t full = n / lanes<P> * lanes<P>;
#pragma GCC unroll 1
  for (std::int64_t i = 0; i < full; i += lanes<P>) {
    for (int j = 0; j < lanes<P>; ++j) acc[j] = P::combine(acc[j], P::load(x[i + j]));
  }
  const int rest = static_cast<int>(n - full);
#pragma GCC unroll 1
  for (int j = 0; j < rest; ++j) acc[j] = P::combine(acc[j], P::load(x[full + j]));
  return fold_lanes<P>(acc);
}

// Collects a block of elements that don't lie side by side.
template <class In>
void gather_block(In* block, const char* x, std::int64_t stride, std::int64_t n) noexcept {
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < n; ++i) block[i] = *reinterpret_cast<const In*>(x + i * stride);
}

// A row of at most chunk_length elements (any length where P is sequential).
template <class P>
NITINOL_INLINE typename P::Acc reduce_row_here(const char* x, std::int64_t stride,
                                          std::int64_t n) noexcept {
  using In = typename P::In;
  if (P::sequential || n <= short_length) {
    typename P::Acc acc = P::identity();
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < n; ++i) acc = P::combine(acc, load_at<P>(x + i * stride));
    return acc;
  }
  constexpr std::int64_t item = sizeof(In);
  if (P::exact && stride == item) return reduce_block<P>(reinterpret_cast<const In*>(x), n);
  In block[block_length<P>];
  Tree<P> tree;
  for (std::int64_t i = 0; i < n; i += block_length<P>) {
    const std::int64_t count = std::min(block_length<P>, n - i);
    const In* p = reinterpret_cast<const In*>(x + i * stride);
    if (stride != item) {
      gather_block(block, x + i * stride, stride, count);
      p = block;
    }
    tree.push(reduce_block<P>(p, count));
  }
  return tree.fold();
}

// Columns that are reduced side by side where x is denser along them than along the
// reduced axis: a page of accumulators.
template <class P>
inline constexpr int column_tile = 4096 / static_cast<int>(sizeof(typename P::Acc));

// Adds `rows` rows to `acc` in order, four at a time so that acc is loaded and stored
// a quarter as often.
template <class P>
NITINOL_INLINE void accumulate_rows(typename P::Acc* acc, const char* x, std::int64_t stride,
                                    std::int64_t rows, std::int64_t col_stride,
                                    int cols) noexcept {
  using In = typename P::In;
  std::int64_t r = 0;
  if (col_stride == static_cast<std::int64_t>(sizeof(In))) {
    for (; r + 4 <= rows; r += 4) {
      const In* a = reinterpret_cast<const In*>(x + r * stride);
      const In* b = reinterpret_cast<const In*>(x + (r + 1) * stride);
      const In* c = reinterpret_cast<const In*>(x + (r + 2) * stride);
      const In* d = reinterpret_cast<const In*>(x + (r + 3) * stride);
#pragma GCC ivdep
      for (int j = 0; j < cols; ++j) {
        auto v = P::combine(acc[j], P::load(a[j]));
        v = P::combine(v, P::load(b[j]));
        v = P::combine(v, P::load(c[j]));
        acc[j] = P::combine(v, P::load(d[j]));
      }
    }
  }
  for (; r < rows; ++r) {
#pragma GCC unroll 1
    for (int j = 0; j < cols; ++j) {
      acc[j] = P::combine(acc[j], load_at<P>(x + r * stride + j * col_stride));
    }
  }
}

// A binary counter of columns: pushes `values` into the levels that `count` occupies.
template <class P>
NITINOL_INLINE void push_columns(typename P::Acc* levels, std::uint64_t count,
                                 typename P::Acc* values, int cols) noexcept {
  for (; count & 1; count >>= 1, levels += cols) {
    for (int j = 0; j < cols; ++j) values[j] = P::combine(levels[j], values[j]);
  }
  std::copy_n(values, cols, levels);
}

// Levels of the trees over the lanes of a block and over the blocks of a chunk.
template <class P>
inline constexpr int lane_levels = std::bit_width(static_cast<unsigned>(lanes<P>));
template <class P>
inline constexpr int column_work =
    lane_levels<P> + std::bit_width(static_cast<unsigned>(chunk_length / block_length<P>));

// `n` rows of `cols` columns; the result of column c goes to result[c]. `work` holds
// column_work<P> values a column. The same bits as reduce_row of each column.
template <class P>
NITINOL_INLINE void reduce_columns_here(const char* x, std::int64_t stride, std::int64_t n,
                                   std::int64_t col_stride, int cols, typename P::Acc* result,
                                   typename P::Acc* work) noexcept {
  using Acc = typename P::Acc;
  if (P::exact || P::sequential || n <= short_length) {
    std::fill_n(result, cols, P::identity());
    return accumulate_rows<P>(result, x, stride, n, col_stride, cols);
  }
  Acc* blocks = work + lane_levels<P> * cols;
  std::uint64_t count = 0;
  for (std::int64_t r = 0; r < n; r += block_length<P>) {
    const std::int64_t rows = std::min(block_length<P>, n - r);
    // Lanes in bit-reversed order are the leaves, left to right, of the tree that
    // combines them in halves.
    for (int i = 0; i < lanes<P>; ++i) {
      int lane = 0;
      for (int bit = 1; bit < lanes<P>; bit *= 2) lane = lane * 2 + ((i & bit) != 0);
      std::fill_n(result, cols, P::identity());
      accumulate_rows<P>(result, x + (r + lane) * stride, stride * lanes<P>,
                         (rows - lane + lanes<P> - 1) / lanes<P>, col_stride, cols);
      push_columns<P>(work, static_cast<std::uint64_t>(i), result, cols);
    }
    std::copy_n(work + (lane_levels<P> - 1) * cols, cols, result);
    push_columns<P>(blocks, count++, result, cols);
  }
  bool first = true;
  for (int level = 0; count >> level; ++level) {
    if (!(count >> level & 1)) continue;
    const Acc* value = blocks + level * cols;
    for (int j = 0; j < cols; ++j) result[j] = first ? value[j] : P::combine(value[j], result[j]);
    first = false;
  }
}

// The two above for the machine at hand, but for complex numbers: GCC 12 turns their
// products into fused ones even where contraction is off.
template <class P>
NITINOL_CLONES typename P::Acc reduce_row_cloned(const char* x, std::int64_t stride,
                                                 std::int64_t n) noexcept {
  return reduce_row_here<P>(x, stride, n);
}
template <class P>
NITINOL_CLONES void reduce_columns_cloned(const char* x, std::int64_t stride, std::int64_t n,
                                          std::int64_t col_stride, int cols,
                                          typename P::Acc* result,
                                          typename P::Acc* work) noexcept {
  reduce_columns_here<P>(x, stride, n, col_stride, cols, result, work);
}
template <class P>
typename P::Acc reduce_row(const char* x, std::int64_t stride, std::int64_t n) noexcept {
  if constexpr (std::is_arithmetic_v<typename P::Acc>) {
    return reduce_row_cloned<P>(x, stride, n);
  } else {
    return reduce_row_here<P>(x, stride, n);
  }
}
template <class P>
void reduce_columns(const char* x, std::int64_t stride, std::int64_t n, std::int64_t col_stride,
                    int cols, typename P::Acc* result, typename P::Acc* work) noexcept {
  if constexpr (std::is_arithmetic_v<typename P::Acc>) {
    reduce_columns_cloned<P>(x, stride, n, col_stride, cols, result, work);
  } else {
    reduce_columns_here<P>(x, stride, n, col_stride, cols, result, work);
  }
}

// What is reduced: `outer` dimensions (operand 0: output, in elements; 1: x, in bytes)
// and the axis itself.
struct Reduction {
  Nest<2> outer;
  std::int64_t n = 0;
  std::int64_t stride = 0;  // bytes

  explicit Reduction(const Launch& launch) noexcept {
    const View& x = launch.inputs[0];
    const Layout& layout = *x.layout;
    const auto item = static_cast<std::int64_t>(itemsize(x.dtype));
    const int axis = layout.ndim() - 1;
    n = layout.shape(axis);
    stride = layout.stride(axis) * item;
    std::int64_t strides[max_ndim];
    row_major(layout.shape().first(static_cast<std::size_t>(axis)), strides);
    for (int d = 0; d < axis; ++d) {
      outer.push(layout.shape(d), {strides[d], layout.stride(d) * item});
    }
  }

  // The outer dimension along which x is denser than along the reduced axis, or -1.
  int column_dimension() const noexcept {
    int best = -1;
    std::int64_t smallest = magnitude(stride);
    for (int d = 0; d < outer.ndim; ++d) {
      const std::int64_t s = magnitude(outer.strides[1][d]);
      if (s != 0 && s < smallest) {
        smallest = s;
        best = d;
      }
    }
    return best;
  }
};

// Cuts a reduction into work: row(output index, chunk, x, length) where x lies densest
// along the reduced axis, columns(output index, its step, chunk, x, length, column
// stride, columns) for a tile of columns elsewhere.
template <class P, class Row, class Columns>
void for_each_tile(const Reduction& r, const char* x, std::int64_t chunk, Row row,
                   Columns columns) noexcept {
  const std::int64_t chunks = ceil_div(r.n, chunk);
  const int column = r.column_dimension();
  if (column < 0) {
    parallel_for(r.outer.size() * chunks, items_per_grain(std::min(chunk, r.n)),
                 [&](std::int64_t begin, std::int64_t end) {
                   Odometer<2> at(r.outer, r.outer.ndim, begin / chunks);
                   std::int64_t c = begin % chunks;
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t first = c * chunk;
                     row(at.offset[0], c, x + at.offset[1] + first * r.stride,
                         std::min(chunk, r.n - first));
                     if (++c == chunks) {
                       c = 0;
                       at.next();
                     }
                   }
                 });
    return;
  }
  Nest<2> rest = r.outer;
  std::int64_t s[2];
  const std::int64_t width = rest.take(column, s);
  // Every thread gets a tile, but none narrower than a few cache lines.
  const std::int64_t tile = std::clamp<std::int64_t>(ceil_div(width, 2 * concurrency()), 64,
                                                     column_tile<P>);
  const std::int64_t tiles = ceil_div(width, tile);
  parallel_for(rest.size() * tiles * chunks,
               items_per_grain(std::min(chunk, r.n) * std::min(tile, width)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t c = i % chunks;
                   const std::int64_t first_column = i / chunks % tiles * tile;
                   const std::int64_t first_row = c * chunk;
                   const Odometer<2> at(rest, rest.ndim, i / chunks / tiles);
                   columns(at.offset[0] + first_column * s[0], s[0], c,
                           x + at.offset[1] + first_column * s[1] + first_row * r.stride,
                           std::min(chunk, r.n - first_row), s[1],
                           static_cast<int>(std::min(tile, width - first_column)));
                 }
               });
}

// Reduces chunk by chunk and hands each value to put(output index, chunk, value).
template <class P, class Put>
void reduce_chunks(const Launch& launch, const Reduction& r, std::int64_t chunk,
                   Put put) noexcept {
  using Acc = typename P::Acc;
  const bool needs_work = !P::exact && !P::sequential && r.n > short_length;
  for_each_tile<P>(
      r, launch.inputs[0].data, chunk,
      [&](std::int64_t i, std::int64_t c, const char* x, std::int64_t n) {
        put(i, c, reduce_row<P>(x, r.stride, n));
      },
      [&](std::int64_t i, std::int64_t step, std::int64_t c, const char* x, std::int64_t n,
          std::int64_t col_stride, int cols) {
        Acc result[column_tile<P>];
        const std::size_t bytes =
            needs_work ? sizeof(Acc) * static_cast<std::size_t>(column_work<P> * cols) : 0;
        const Scratch work(bytes);
        if (!work) return refuse_memory(launch, bytes);
        reduce_columns<P>(x, r.stride, n, col_stride, cols, result, work.template as<Acc>());
        for (int j = 0; j < cols; ++j) put(i + j * step, c, result[j]);
      });
}

// The whole kernel of a policy.
template <class P>
void reduce(const Launch& launch) noexcept {
  using Acc = typename P::Acc;
  const Reduction r(launch);
  char* out = launch.output.data;
  const std::size_t item = itemsize(launch.output.dtype);
  const std::int64_t size = r.outer.size();
  if (size == 0) return;
  if (r.n == 0) {
    for (std::int64_t i = 0; i < size; ++i) P::store(out, i, P::empty(), item);
    return;
  }
  if (P::sequential || r.n <= chunk_length) {
    reduce_chunks<P>(launch, r, r.n, [&](std::int64_t i, std::int64_t, Acc value) {
      P::store(out, i, value, item);
    });
    return;
  }
  const std::int64_t chunks = ceil_div(r.n, chunk_length);
  const std::size_t bytes = sizeof(Acc) * static_cast<std::size_t>(size * chunks);
  const Scratch parts(bytes);
  if (!parts) return refuse_memory(launch, bytes);
  Acc* part = parts.as<Acc>();
  reduce_chunks<P>(launch, r, chunk_length, [&](std::int64_t i, std::int64_t c, Acc value) {
    part[i * chunks + c] = value;
  });
  parallel_for(size, items_per_grain(chunks), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      Tree<P> tree;
      for (std::int64_t c = 0; c < chunks; ++c) tree.push(part[i * chunks + c]);
      P::store(out, i, tree.fold(), item);
    }
  });
}

}  // namespace nitinol::cpu::kernels
