// Attention in float32 by online softmax: for a few queries over blocks of keys whose results are
// joined, for many through tiles of scores. Blocks and tiles depend on the shapes alone.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/blas.h"
#include "cpu/kernels/attention_problem.h"
#include "cpu/kernels/rows.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr int max_rows = simd::AttentionKernels::max_rows;

constexpr std::int64_t key_block = 128;  // of attend_few

constexpr std::int64_t tile_queries = 192;
constexpr std::int64_t tile_keys = 512;

// What one block of keys gives one query: exp(score - largest) summed, alone and times the values.
struct Partial {
  float largest, total;
};

void divide(float* row, std::int64_t n, float total) noexcept {
  if (total == 0.0f) {
    std::fill_n(row, n, 0.0f);
  } else {
    simd::kernels().rows.scale(row, n, 1.0f / total);
  }
}

}  // namespace

template <class T>
void attend_few(const Launch& launch, const Problem& p, const Operands<T>& x, float* out) noexcept {
  const simd::AttentionKernels& kernels = simd::kernels().attention;
  const simd::KeyValueKernels<T>& of = kernels.of<T>();
  const std::int64_t group = p.group(), rows = group * p.queries;  // that share keys and values
  const std::int64_t blocks = std::max<std::int64_t>((p.keys + key_block - 1) / key_block, 1);
  const std::int64_t units = p.batch * p.kv_heads * blocks;
  const std::int64_t room = units * rows;
  const std::int64_t bytes = room * static_cast<std::int64_t>(sizeof(Partial)) +
                             room * p.dv * static_cast<std::int64_t>(sizeof(float));
  Scratch scratch(static_cast<std::size_t>(bytes));
  if (!scratch) return raise_out_of_memory(launch, 0, bytes);
  Partial* partials = scratch.as<Partial>();
  float* sums = reinterpret_cast<float*>(partials + room);

  parallel_for(units, 1, [&](std::int64_t unit, std::int64_t) {
    const std::int64_t first = unit % blocks * key_block;
    const std::int64_t count = std::min(key_block, p.keys - first);
    const std::int64_t hk = unit / blocks % p.kv_heads, b = unit / blocks / p.kv_heads;
    for (std::int64_t r = 0; r < rows; r += max_rows) {
      const int some = static_cast<int>(std::min<std::int64_t>(max_rows, rows - r));
      float scores[max_rows][key_block];
      const float* q[max_rows];
      for (int s = 0; s < some; ++s) {
        q[s] = x.q.row(b, hk * group + (r + s) / p.queries, (r + s) % p.queries);
      }
      of.scores(q, some, p.d, x.k.row(b, hk, first), x.k.stride[2], count,
                static_cast<float>(p.scale), scores[0], key_block);
      const float no_correction[max_rows] = {};
      for (int s = 0; s < some; ++s) {
        const std::int64_t h = hk * group + (r + s) / p.queries, i = (r + s) % p.queries;
        const std::int64_t seen = std::clamp<std::int64_t>(p.visible(i) - first, 0, count);
        p.add_mask(b, h, i, first, seen, scores[s]);
        std::fill(scores[s] + seen, scores[s] + count, 0.0f);
        Partial partial{-infinity, 0.0f};
        kernels.soften(scores[s], seen, &partial.largest, &partial.total);
        partials[unit * rows + r + s] = partial;
      }
      of.weigh(scores[0], key_block, some, count, x.v.row(b, hk, first), x.v.stride[2], p.dv,
               no_correction, sums + (unit * rows + r) * p.dv, p.dv);
    }
  });

  // Row r of the group of (b, hk): its partial results lie `rows` apart.
  parallel_for(p.batch * p.heads * p.queries, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at) {
      const std::int64_t r = at % rows, base = at / rows * blocks;
      float largest = -infinity, total = 0.0f;
      for (std::int64_t n = 0; n < blocks; ++n) {
        largest = std::max(largest, partials[(base + n) * rows + r].largest);
      }
      float* to = out + at * p.dv;
      std::fill_n(to, p.dv, 0.0f);
      for (std::int64_t n = 0; n < blocks; ++n) {
        const std::int64_t entry = (base + n) * rows + r;
        const Partial& partial = partials[entry];
        float factor = 0.0f;
        if (partial.largest == largest) {
          factor = 1.0f;  // also when both are infinite
        } else {
          factor = std::exp(partial.largest - largest);
        }
        total += factor * partial.total;
        const float* from = sums + entry * p.dv;
        for (std::int64_t c = 0; c < p.dv; ++c) to[c] += factor * from[c];
      }
      divide(to, p.dv, total);
    }
  });
}

template <class T>
void attend_many(const Launch& launch, const Problem& p, const Operands<T>& x,
                 float* out) noexcept {
  if (!blas::loaded()) return launch.fault.raise(0, Code::internal);
  const simd::Kernels& kernels = simd::kernels();
  const std::int64_t tiles = (p.queries + tile_queries - 1) / tile_queries;
  parallel_for(p.batch * p.heads * tiles, 1, [&](std::int64_t unit, std::int64_t) {
    // Later tiles see more keys: they come first, so that no thread is left with a long one.
    const std::int64_t tile = tiles - 1 - unit / (p.batch * p.heads);
    const std::int64_t h = unit % p.heads, b = unit / p.heads % p.batch, hk = h / p.group();
    const std::int64_t first_query = tile * tile_queries;
    const std::int64_t rows = std::min(tile_queries, p.queries - first_query);
    float* to = out + ((b * p.heads + h) * p.queries + first_query) * p.dv;

    const std::int64_t width = std::min(tile_keys, std::max<std::int64_t>(p.keys, 1));
    const std::int64_t wide = std::is_same_v<T, float> ? 0 : width * std::max(p.d, p.dv);
    const std::int64_t bytes =
        (tile_queries * width + wide) * static_cast<std::int64_t>(sizeof(float));
    Scratch scratch(static_cast<std::size_t>(bytes));
    if (!scratch) return raise_out_of_memory(launch, unit, bytes);
    float* scores = scratch.as<float>();
    // BLAS reads float32: a tile of keys or values at a time is made that.
    float* widened = scores + tile_queries * width;
    const auto tile_of = [&](const Operand<T>& from, std::int64_t first_key, std::int64_t count,
                             std::int64_t size) -> Operand<float> {
      if constexpr (std::is_same_v<T, float>) {
        return {from.row(b, hk, first_key), {0, 0, from.stride[2], 1}};
      } else {
        for (std::int64_t j = 0; j < count; ++j) {
          kernels.attention.widen(from.row(b, hk, first_key + j), size, widened + j * size);
        }
        return {widened, {0, 0, size, 1}};
      }
    };
    float largest[tile_queries], total[tile_queries];
    std::fill_n(largest, rows, -infinity);
    std::fill_n(total, rows, 0.0f);
    std::fill_n(to, rows * p.dv, 0.0f);

    const std::int64_t reach = p.visible(first_query + rows - 1);
    for (std::int64_t first = 0; first < reach; first += width) {
      const std::int64_t count = std::min(width, reach - first);
      const Operand<float> keys = tile_of(x.k, first, count, p.d);
      blas::sgemm(false, true, rows, count, p.d, static_cast<float>(p.scale),
                  x.q.row(b, h, first_query), x.q.stride[2], keys.data, keys.stride[2], 0.0f,
                  scores, width);
      for (std::int64_t r = 0; r < rows; ++r) {
        float* row = scores + r * width;
        const std::int64_t i = first_query + r;
        const std::int64_t seen = std::clamp<std::int64_t>(p.visible(i) - first, 0, count);
        p.add_mask(b, h, i, first, seen, row);
        const float correction = kernels.attention.soften(row, seen, &largest[r], &total[r]);
        std::fill(row + seen, row + count, 0.0f);
        if (correction == 0.0f) {
          std::fill_n(to + r * p.dv, p.dv, 0.0f);
        } else if (correction != 1.0f) {
          kernels.rows.scale(to + r * p.dv, p.dv, correction);
        }
      }
      const Operand<float> values = tile_of(x.v, first, count, p.dv);
      blas::sgemm(false, false, rows, p.dv, count, 1.0f, scores, width, values.data,
                  values.stride[2], 1.0f, to, p.dv);
    }
    for (std::int64_t r = 0; r < rows; ++r) divide(to + r * p.dv, p.dv, total[r]);
  });
}

template void attend_few(const Launch&, const Problem&, const Operands<float>&, float*) noexcept;
template void attend_few(const Launch&, const Problem&, const Operands<float16>&, float*) noexcept;
template void attend_many(const Launch&, const Problem&, const Operands<float>&, float*) noexcept;
template void attend_many(const Launch&, const Problem&, const Operands<float16>&, float*) noexcept;

}  // namespace nitinol::cpu::kernels
