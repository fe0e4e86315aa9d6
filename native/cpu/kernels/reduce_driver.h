// The part of a reduction that knows no element type: which elements a thread takes.
#pragma once

#include <algorithm>

#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

// Elements of the reduced axis that are reduced in one go; longer axes are cut.
inline constexpr std::int64_t chunk_length = 16384;

// What is reduced: `outer` dimensions (operand 0: output, in elements; 1: x, in bytes)
// and the axis itself.
struct Reduction {
  Nest<2> outer;
  std::int64_t n = 0;
  std::int64_t stride = 0;  // bytes

  explicit Reduction(const Launch& launch) noexcept;

  // The outer dimension along which x is denser than along the reduced axis, or -1.
  int column_dimension() const noexcept;
};

// Cuts a reduction into work: row(output index, chunk, x, length) where x lies densest
// along the reduced axis, columns(output index, its step, chunk, x, length, column
// stride, columns) for at most `widest` columns at a time elsewhere.
template <class Row, class Columns>
void for_each_tile(const Reduction& r, const char* x, std::int64_t chunk, int widest, Row row,
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
  const std::int64_t tile =
      std::clamp<std::int64_t>(ceil_div(width, 2 * concurrency()), 64, widest);
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

// The typed parts of a reduction. Values are accumulators of `width` bytes.
struct Reducer {
  std::size_t width;
  int tile;         // most columns at a time
  int column_work;  // accumulators a column that `columns` needs beside the result
  bool in_chunks;   // chunks may be reduced apart and folded in order

  void (*row)(const char* x, std::int64_t stride, std::int64_t n, void* result) noexcept;
  void (*columns)(const char* x, std::int64_t stride, std::int64_t n, std::int64_t col_stride,
                  int cols, void* results, void* work) noexcept;
  void (*empty)(void* result) noexcept;
  void (*fold)(const void* parts, std::int64_t count, void* result) noexcept;
  // Writes `count` values to out[first + i * step], elements of `item` bytes.
  void (*store)(char* out, std::int64_t first, std::int64_t step, std::int64_t count,
                const void* values, std::size_t item) noexcept;
};

void reduce_with(const Launch& launch, const Reducer& reducer) noexcept;

}  // namespace nitinol::cpu::kernels
