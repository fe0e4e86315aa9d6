// Rotary position embedding: the host gives each pair's frequency as a fraction of a full turn.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// The kernel's argument of this name.
struct Rotation {
  std::int64_t outer, length, d, row_stride, stride, out_stride;
  std::uint32_t first_pair, table_pairs, pairs, rest, interleaved;
};

constexpr std::size_t table_size = max_bytes / sizeof(std::uint64_t);
constexpr std::uint32_t heads = 4;  // rows that share a sine and a cosine

// A turn in radians a position, as a fraction of 2^64 with the lowest bit 0; 1 stands for NaN.
std::uint64_t turn_of(double radians) noexcept {
  const double turns = radians / (2 * std::numbers::pi);
  if (!std::isfinite(turns)) return 1;
  const double fraction = turns - std::floor(turns);
  if (fraction >= 1) return 0;  // a tiny negative number was rounded up
  return static_cast<std::uint64_t>(std::ldexp(fraction, 63)) << 1;
}

}  // namespace

void rope(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  if (launch.output.layout->size() == 0) return;
  const Operand& x = launch.inputs[0];
  const Layout& layout = *x.layout;
  const int ndim = layout.ndim();
  const std::int64_t dims = launch.params.ints[0];
  const double base = launch.params.floats[0], scale = launch.params.floats[1];
  Rotation p{};
  p.d = layout.shape(ndim - 1);
  p.length = layout.shape(ndim - 2);
  p.outer = layout.size() / (p.d * p.length);
  p.stride = layout.stride(ndim - 1);
  p.row_stride = layout.stride(ndim - 2);
  p.out_stride = p.d * p.length;
  p.pairs = static_cast<std::uint32_t>(dims / 2);
  p.interleaved = launch.params.ints[1] != 0;

  Defines defines;
  defines.add("T", x.dtype).add("HEADS", static_cast<std::int64_t>(heads));
  const Walk outer = walk_of(layout, ndim - 2);
  // One dispatch, unless more pairs turn than a table has room for.
  do {
    p.table_pairs = std::min<std::uint32_t>(p.pairs - p.first_pair, table_size);
    const bool last = p.first_pair + p.table_pairs == p.pairs;
    p.rest = last ? static_cast<std::uint32_t>(p.d - dims) : 0;
    std::array<std::uint64_t, table_size> turns;
    turns[0] = 0;
    for (std::uint32_t i = 0; i < p.table_pairs; ++i) {
      const double exponent =
          -2.0 * static_cast<double>(p.first_pair + i) / static_cast<double>(dims);
      turns[i] = turn_of(scale * std::pow(base, exponent));
    }
    defines.pipeline(encoder, "rope", "rope");
    encoder.buffer(0, launch.output);
    encoder.buffer(1, x);
    encoder.buffer(2, launch.inputs[1]);
    outer.bind(encoder, 3);
    bind_value(encoder, 4, p);
    encoder.bytes(5, turns.data(), std::max<std::size_t>(p.table_pairs, 1) * sizeof turns[0]);
    const std::uint32_t threads = p.table_pairs + p.rest;
    const std::uint32_t width = std::min<std::uint32_t>((threads + 31) / 32 * 32, group_threads);
    const std::uint32_t depth = std::min<std::uint32_t>(
        group_threads / width, static_cast<std::uint32_t>(std::min<std::int64_t>(p.length, 8)));
    // Positions beyond the last one are kept out by the shape of the grid: depth divides it.
    const std::uint32_t rows = p.length % depth == 0 ? depth : 1;
    encoder.dispatch({(threads + width - 1) / width, static_cast<std::uint32_t>(p.length / rows),
                      static_cast<std::uint32_t>(ceil_div(p.outer, heads))},
                     {width, rows, 1});
    p.first_pair += p.table_pairs;
  } while (p.first_pair < p.pairs);
}

}  // namespace nitinol::metal::kernels
