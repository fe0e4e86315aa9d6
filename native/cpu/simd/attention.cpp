// The inner steps of attention over a few query rows; compiled once for each instruction set.
#include "cpu/simd/kernels.h"
#include "cpu/simd/vec.h"

namespace nitinol::cpu::simd::NITINOL_ISA {
namespace {

template <int Distance, int... Lane>
NITINOL_INLINE F merge(F a, F b, std::integer_sequence<int, Lane...>) {
  // Lanes with the bit Distance take from b, the others from a; then each adds its neighbour.
  const F own = __builtin_shufflevector(a, b, (Lane & Distance ? Lane + lanes : Lane)...);
  const F other = __builtin_shufflevector(
      a, b, (Lane & Distance ? (Lane ^ Distance) + lanes : Lane ^ Distance)...);
  return own + other;
}

// Lane i of the result is the sum over the lanes of x[i].
template <int Distance = 1>
NITINOL_INLINE F sum_each(F* x) {
  if constexpr (Distance == lanes) {
    return x[0];
  } else {
    constexpr int left = lanes / (2 * Distance);
    for (int i = 0; i < left; ++i) {
      x[i] = merge<Distance>(x[2 * i], x[2 * i + 1], std::make_integer_sequence<int, lanes>{});
    }
    return sum_each<2 * Distance>(x);
  }
}

template <int Rows, class T>
void score_rows(const float* const* q, std::int64_t d, const T* k, std::int64_t k_stride,
                std::int64_t keys, float scale, float* scores, std::int64_t stride) {
  const F scales = splat(scale);
  for (std::int64_t j = 0; j < keys; j += lanes) {
    const int count = keys - j < lanes ? static_cast<int>(keys - j) : lanes;
    F sums[Rows][lanes];
    for (int r = 0; r < Rows; ++r) {
      for (int t = count; t < lanes; ++t) sums[r][t] = F{};
    }
    for (int t = 0; t < count; ++t) {
      const T* key = k + (j + t) * k_stride;
      F sum[Rows] = {};
      std::int64_t i = 0;
      for (; i + lanes <= d; i += lanes) {
        const F x = load(key + i);
        for (int r = 0; r < Rows; ++r) sum[r] += x * load(q[r] + i);
      }
      if (i < d) {
        const F x = load_part(key + i, d - i, 0.0f);
        for (int r = 0; r < Rows; ++r) sum[r] += x * load_part(q[r] + i, d - i, 0.0f);
      }
      for (int r = 0; r < Rows; ++r) sums[r][t] = sum[r];
    }
    for (int r = 0; r < Rows; ++r) {
      const F sum = sum_each(sums[r]) * scales;
      if (count == lanes) {
        store(scores + r * stride + j, sum);
      } else {
        store_part(scores + r * stride + j, sum, count);
      }
    }
  }
}

template <class T>
void scores(const float* const* q, int rows, std::int64_t d, const T* k, std::int64_t k_stride,
            std::int64_t keys, float scale, float* out, std::int64_t stride) {
  switch (rows) {
    case 1:
      return score_rows<1>(q, d, k, k_stride, keys, scale, out, stride);
    case 2:
      return score_rows<2>(q, d, k, k_stride, keys, scale, out, stride);
    case 3:
      return score_rows<3>(q, d, k, k_stride, keys, scale, out, stride);
    default:
      return score_rows<4>(q, d, k, k_stride, keys, scale, out, stride);
  }
}

float soften(float* x, std::int64_t n, float* largest, float* total) {
  const float before = *largest;
  F best[2] = {splat(before), splat(before)};
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    best[0] = maximum(load(x + i), best[0]);
    best[1] = maximum(load(x + i + lanes), best[1]);
  }
  for (; i + lanes <= n; i += lanes) best[0] = maximum(load(x + i), best[0]);
  if (i < n) best[1] = maximum(load_part(x + i, n - i, -infinity), best[1]);
  const float after = max_lanes(maximum(best[0], best[1]));
  *largest = after;
  // While every score is -inf the weights are exp(-inf) = 0; a NaN must still come through.
  const F shift = splat(after == -infinity ? 0.0f : after);
  F sum[2] = {};
  for (i = 0; i + 2 * lanes <= n; i += 2 * lanes) {
    for (int u = 0; u < 2; ++u) {
      const F e = exp(load(x + i + u * lanes) - shift);
      store(x + i + u * lanes, e);
      sum[u] += e;
    }
  }
  for (; i < n; i += lanes) {
    const std::int64_t count = n - i < lanes ? n - i : lanes;
    F e = exp(load_part(x + i, count, -infinity) - shift);
    store_part(x + i, e, count);
    for (int lane = 0; lane < lanes; ++lane) {
      if (lane >= count) e[lane] = 0;  // -inf - inf is no 0
    }
    sum[0] += e;
  }
  const float correction = before == -infinity ? 0.0f : exp(splat(before - after))[0];
  *total = (*total == 0.0f ? 0.0f : *total * correction) + sum_lanes(sum[0] + sum[1]);
  return correction;
}

NITINOL_INLINE float number(const float* p) { return *p; }
NITINOL_INLINE float number(const _Float16* p) { return half_to_float(p); }

template <int Rows, int Vectors, class T>
NITINOL_INLINE void weigh_tile(const float* weights, std::int64_t stride, std::int64_t keys,
                               const T* v, std::int64_t v_stride, const float* correction,
                               float* out, std::int64_t out_stride) {
  F sums[Rows][Vectors];
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Vectors; ++c) {
      sums[r][c] = correction[r] == 0.0f
                       ? F{}
                       : load(out + r * out_stride + c * lanes) * splat(correction[r]);
    }
  }
  for (std::int64_t j = 0; j < keys; ++j) {
    F value[Vectors];
    for (int c = 0; c < Vectors; ++c) value[c] = load(v + j * v_stride + c * lanes);
    for (int r = 0; r < Rows; ++r) {
      const F weight = splat(weights[r * stride + j]);
      for (int c = 0; c < Vectors; ++c) sums[r][c] += weight * value[c];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int c = 0; c < Vectors; ++c) store(out + r * out_stride + c * lanes, sums[r][c]);
  }
}

template <int Rows, class T>
void weigh_rows(const float* weights, std::int64_t stride, std::int64_t keys, const T* v,
                std::int64_t v_stride, std::int64_t dv, const float* correction, float* out,
                std::int64_t out_stride) {
  std::int64_t i = 0;
  const auto tiles = [&]<int Vectors>(std::integral_constant<int, Vectors>) {
    for (; i + Vectors * lanes <= dv; i += Vectors * lanes) {
      weigh_tile<Rows, Vectors>(weights, stride, keys, v + i, v_stride, correction, out + i,
                                out_stride);
    }
  };
  tiles(std::integral_constant<int, 4>{});
  tiles(std::integral_constant<int, 1>{});
  for (; i < dv; ++i) {
    for (int r = 0; r < Rows; ++r) {
      float* to = out + r * out_stride + i;
      float sum = correction[r] == 0.0f ? 0.0f : *to * correction[r];
      for (std::int64_t j = 0; j < keys; ++j) {
        sum += weights[r * stride + j] * number(v + j * v_stride + i);
      }
      *to = sum;
    }
  }
}

template <class T>
void weigh(const float* weights, std::int64_t stride, int rows, std::int64_t keys, const T* v,
           std::int64_t v_stride, std::int64_t dv, const float* correction, float* out,
           std::int64_t out_stride) {
  const auto run = [&](auto* f) {
    f(weights, stride, keys, v, v_stride, dv, correction, out, out_stride);
  };
  switch (rows) {
    case 1:
      return run(weigh_rows<1, T>);
    case 2:
      return run(weigh_rows<2, T>);
    case 3:
      return run(weigh_rows<3, T>);
    default:
      return run(weigh_rows<4, T>);
  }
}

void widen(const _Float16* x, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, load(x + i));
  for (; i < n; ++i) out[i] = half_to_float(x + i);
}

}  // namespace

extern const AttentionKernels attention_kernels = {
    {scores<float>, weigh<float>}, {scores<_Float16>, weigh<_Float16>}, soften, widen};

}  // namespace nitinol::cpu::simd::NITINOL_ISA
