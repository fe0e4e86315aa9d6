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
// combine is known for a block, block(const In*, int64 n). `cloned`: worth compiling for
// every instruction set; never for complex products, which GCC 12 fuses on machines
// that can even where contraction is off.
#pragma once

#include <algorithm>
#include <bit>

#include "cpu/kernels/reduce_driver.h"

namespace nitinol::cpu::kernels {

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
NITINOL_INLINE typename P::Acc reduce_row(const char* x, std::int64_t stride,
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
                                    std::int64_t rows, std::int64_t col_stride, int cols) noexcept {
  using In = typename P::In;
  std::int64_t r = 0;
  if (col_stride == static_cast<std::int64_t>(sizeof(In))) {
    for (; r + 4 <= rows; r += 4) {
      const In* a = reinterpret_cast<const In*>(x + r * stride);
      const In* b = reinterpret_cast<const In*>(x + (r + 1) * stride);
      const In* c = reinterpret_cast<const In*>(x + (r + 2) * stride);
      const In* d = reinterpret_cast<const In*>(x + (r + 3) * stride);
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
NITINOL_INLINE void reduce_columns(const char* x, std::int64_t stride, std::int64_t n,
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

template <class P>
NITINOL_CLONES void row_cloned(const char* x, std::int64_t stride, std::int64_t n,
                               void* result) noexcept {
  *static_cast<typename P::Acc*>(result) = reduce_row<P>(x, stride, n);
}
template <class P>
NITINOL_CLONES void columns_cloned(const char* x, std::int64_t stride, std::int64_t n,
                                   std::int64_t col_stride, int cols, void* result,
                                   void* work) noexcept {
  using Acc = typename P::Acc;
  reduce_columns<P>(x, stride, n, col_stride, cols, static_cast<Acc*>(result),
                    static_cast<Acc*>(work));
}
template <class P>
void row_plain(const char* x, std::int64_t stride, std::int64_t n, void* result) noexcept {
  *static_cast<typename P::Acc*>(result) = reduce_row<P>(x, stride, n);
}
template <class P>
void columns_plain(const char* x, std::int64_t stride, std::int64_t n, std::int64_t col_stride,
                   int cols, void* result, void* work) noexcept {
  using Acc = typename P::Acc;
  reduce_columns<P>(x, stride, n, col_stride, cols, static_cast<Acc*>(result),
                    static_cast<Acc*>(work));
}

// The kernel of a policy: its typed parts under the untyped driver.
template <class P>
void reduce(const Launch& launch) noexcept {
  using Acc = typename P::Acc;
  Reducer reducer;
  reducer.width = sizeof(Acc);
  reducer.tile = column_tile<P>;
  reducer.column_work = P::exact || P::sequential ? 0 : column_work<P>;
  reducer.in_chunks = !P::sequential;
  if constexpr (P::cloned) {
    reducer.row = row_cloned<P>;
    reducer.columns = columns_cloned<P>;
  } else {
    reducer.row = row_plain<P>;
    reducer.columns = columns_plain<P>;
  }
  reducer.empty = [](void* result) noexcept { *static_cast<Acc*>(result) = P::empty(); };
  reducer.fold = [](const void* parts, std::int64_t count, void* result) noexcept {
    Tree<P> tree;
    for (std::int64_t c = 0; c < count; ++c) tree.push(static_cast<const Acc*>(parts)[c]);
    *static_cast<Acc*>(result) = tree.fold();
  };
  reducer.store = [](char* out, std::int64_t first, std::int64_t step, std::int64_t count,
                     const void* values, std::size_t item) noexcept {
    for (std::int64_t i = 0; i < count; ++i) {
      P::store(out, first + i * step, static_cast<const Acc*>(values)[i], item);
    }
  };
  reduce_with(launch, reducer);
}

}  // namespace nitinol::cpu::kernels
