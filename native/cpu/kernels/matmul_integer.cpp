// Matrix products of integers and booleans: exact modulo the dtype's width, in any order of
// summation, so the blocking is free to follow the caches.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cpu/kernels/matmul.h"
#include "cpu/pool.h"

namespace nitinol::cpu::kernels {
namespace {

constexpr std::int64_t column_block = 512;  // of c and b, in elements
constexpr std::int64_t depth_block = 128;   // rows of b kept in cache

// Unsigned of the same width: overflow wraps. Arithmetic below 32 bits is done in 32, because
// uint16 * uint16 would overflow int.
template <class T>
using Unsigned = std::conditional_t<
    sizeof(T) == 1, std::uint8_t,
    std::conditional_t<sizeof(T) == 2, std::uint16_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
template <class U>
using Wide = std::conditional_t<(sizeof(U) < 4), std::uint32_t, U>;

template <class U>
void add_product(U* __restrict c, U x, const U* __restrict b, std::int64_t n) noexcept {
  for (std::int64_t j = 0; j < n; ++j) {
    c[j] = static_cast<U>(Wide<U>{c[j]} + Wide<U>{x} * Wide<U>{b[j]});
  }
}

// Four rows of b a pass: the row of c is read and written a quarter as often.
template <class U>
void add_four_products(U* __restrict c, const U* x, const U* __restrict b, std::int64_t ldb,
                       std::int64_t n) noexcept {
  const U* b1 = b + ldb;
  const U* b2 = b1 + ldb;
  const U* b3 = b2 + ldb;
  const Wide<U> x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
  for (std::int64_t j = 0; j < n; ++j) {
    c[j] = static_cast<U>(Wide<U>{c[j]} + x0 * b[j] + x1 * b1[j] + x2 * b2[j] + x3 * b3[j]);
  }
}

void add_product_bool(bool* __restrict c, bool x, const bool* __restrict b,
                      std::int64_t n) noexcept {
  if (!x) return;
  for (std::int64_t j = 0; j < n; ++j) c[j] = c[j] | b[j];
}

// Rows [i0, i1) and columns [j0, j1) of c. b's block is packed when its rows aren't contiguous.
template <class E>
void multiply_block(const E* a, const MatrixBatch& ma, const E* b, const MatrixBatch& mb, E* c,
                    std::int64_t i0, std::int64_t i1, std::int64_t j0, std::int64_t j1, E* packed) {
  using U = std::conditional_t<std::is_same_v<E, bool>, bool, E>;
  const std::int64_t n = mb.columns, depth = ma.columns;
  for (std::int64_t i = i0; i < i1; ++i) std::fill(c + i * n + j0, c + i * n + j1, E{});
  for (std::int64_t j = j0; j < j1; j += column_block) {
    const std::int64_t width = std::min(column_block, j1 - j);
    for (std::int64_t l0 = 0; l0 < depth; l0 += depth_block) {
      const std::int64_t l1 = std::min(depth, l0 + depth_block);
      const E* rows = b + l0 * mb.row_stride + j;
      std::int64_t ld = mb.row_stride;
      if (mb.column_stride != 1) {
        for (std::int64_t l = l0; l < l1; ++l) {
          const E* row = b + l * mb.row_stride + j * mb.column_stride;
          for (std::int64_t t = 0; t < width; ++t) {
            packed[(l - l0) * column_block + t] = row[t * mb.column_stride];
          }
        }
        rows = packed;
        ld = column_block;
      }
      for (std::int64_t i = i0; i < i1; ++i) {
        const E* left = a + i * ma.row_stride + l0 * ma.column_stride;
        U* target = c + i * n + j;
        std::int64_t l = 0;
        if constexpr (std::is_same_v<E, bool>) {
          for (; l < l1 - l0; ++l) {
            add_product_bool(target, left[l * ma.column_stride], rows + l * ld, width);
          }
        } else {
          for (; l + 4 <= l1 - l0; l += 4) {
            const U x[4] = {left[l * ma.column_stride], left[(l + 1) * ma.column_stride],
                            left[(l + 2) * ma.column_stride], left[(l + 3) * ma.column_stride]};
            add_four_products<U>(target, x, rows + l * ld, ld, width);
          }
          for (; l < l1 - l0; ++l) {
            add_product<U>(target, left[l * ma.column_stride], rows + l * ld, width);
          }
        }
      }
    }
  }
}

template <class E>
void multiply(const Launch& launch, const MatrixBatch& a, const MatrixBatch& b,
              const MatrixBatch& c) noexcept {
  const std::int64_t m = c.rows, n = c.columns;
  const Partition cuts = partition(m, n, a.columns);
  const std::int64_t panels = cuts.panels();
  const std::int64_t products =
      std::max<std::int64_t>(1, m * n * std::min<std::int64_t>(a.columns, 1 << 20));
  const std::int64_t grain =
      panels > 1 ? 1 : std::max<std::int64_t>(1, (std::int64_t{1} << 18) / products);
  parallel_for(c.batch() * panels, grain, [&](std::int64_t begin, std::int64_t end) {
    constexpr std::size_t bytes = depth_block * column_block * sizeof(E);
    Scratch packed(b.column_stride != 1 ? bytes : 1);
    if (!packed) {
      launch.fault.raise(begin, Code::out_of_memory, static_cast<std::int64_t>(bytes));
      return;
    }
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t index = task / panels, panel = task % panels;
      const std::int64_t i0 = panel / cuts.column_panels * cuts.row_panel;
      const std::int64_t j0 = panel % cuts.column_panels * cuts.column_panel;
      multiply_block(reinterpret_cast<const E*>(a.data) + a.offset(index), a,
                     reinterpret_cast<const E*>(b.data) + b.offset(index), b,
                     reinterpret_cast<E*>(c.data) + index * m * n, i0,
                     std::min(m, i0 + cuts.row_panel), j0, std::min(n, j0 + cuts.column_panel),
                     packed.as<E>());
    }
  });
}

}  // namespace

void matmul_integer(const Launch& launch, MatrixBatch a, MatrixBatch b,
                    const MatrixBatch& c) noexcept {
  if (launch.output.dtype == DType::bool_) return multiply<bool>(launch, a, b, c);
  switch (itemsize(launch.output.dtype)) {
    case 1:
      return multiply<std::uint8_t>(launch, a, b, c);
    case 2:
      return multiply<std::uint16_t>(launch, a, b, c);
    case 4:
      return multiply<std::uint32_t>(launch, a, b, c);
    default:
      return multiply<std::uint64_t>(launch, a, b, c);
  }
}

}  // namespace nitinol::cpu::kernels
