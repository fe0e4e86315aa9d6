// Softmax, norms and rotation of one row of float32; compiled once for each instruction set.
#include "cpu/simd/kernels.h"
#include "cpu/simd/vec.h"

namespace nitinol::cpu::simd::NITINOL_ISA {
namespace {

float row_max(const float* x, std::int64_t n) {
  F best[4] = {splat(-infinity), splat(-infinity), splat(-infinity), splat(-infinity)};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (int u = 0; u < 4; ++u) best[u] = maximum(load(x + i + u * lanes), best[u]);
  }
  for (; i + lanes <= n; i += lanes) best[0] = maximum(load(x + i), best[0]);
  if (i < n) best[1] = maximum(load_part(x + i, n - i, -infinity), best[1]);
  return max_lanes(maximum(maximum(best[0], best[1]), maximum(best[2], best[3])));
}

template <bool Store>
float exp_sum(const float* x, std::int64_t n, float shift, float* out) {
  const F shifts = splat(shift);
  F sum[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (int u = 0; u < 4; ++u) {
      const F e = exp(load(x + i + u * lanes) - shifts);
      if constexpr (Store) store(out + i + u * lanes, e);
      sum[u] += e;
    }
  }
  for (; i + lanes <= n; i += lanes) {
    const F e = exp(load(x + i) - shifts);
    if constexpr (Store) store(out + i, e);
    sum[0] += e;
  }
  if (i < n) {
    // Lanes that hold no element: exp(-inf - shift) is 0, but shift itself may be -inf or NaN.
    F e = exp(load_part(x + i, n - i, -infinity) - shifts);
    if constexpr (Store) store_part(out + i, e, n - i);
    for (int lane = 0; lane < lanes; ++lane) {
      if (lane >= n - i) e[lane] = 0;
    }
    sum[1] += e;
  }
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

float row_exp_sum(const float* x, std::int64_t n, float shift, float* out) {
  return exp_sum<true>(x, n, shift, out);
}
float row_sum_exp(const float* x, std::int64_t n, float shift) {
  return exp_sum<false>(x, n, shift, nullptr);
}

void scale(float* x, std::int64_t n, float factor) {
  const F factors = splat(factor);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(x + i, load(x + i) * factors);
  for (; i < n; ++i) x[i] *= factor;
}

// The sum over i of (x[i] - shift), or of its square.
template <bool Square>
float sum(const float* x, std::int64_t n, float shift) {
  const F shifts = splat(shift);
  F total[4] = {};
  const auto term = [&](F v) {
    v -= shifts;
    return Square ? v * v : v;
  };
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    for (int u = 0; u < 4; ++u) total[u] += term(load(x + i + u * lanes));
  }
  for (; i + lanes <= n; i += lanes) total[0] += term(load(x + i));
  if (i < n) total[1] += term(load_part(x + i, n - i, shift));
  return sum_lanes((total[0] + total[1]) + (total[2] + total[3]));
}

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  const float mean = sum<true>(x, n, 0.0f) / static_cast<float>(n);
  const float factor = 1.0f / __builtin_sqrtf(mean + eps);
  const F factors = splat(factor);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, load(x + i) * factors * load(weight + i));
  for (; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps,
                float* out) {
  // Two passes: the row is in the cache, and E[x^2] - E[x]^2 cancels.
  const float count = static_cast<float>(n);
  // Summed around the first element, so that a large common offset costs no digits.
  const float first = n > 0 ? x[0] : 0.0f;
  const float mean = first + sum<false>(x, n, first) / count;
  const float variance = sum<true>(x, n, mean) / count;
  const float factor = 1.0f / __builtin_sqrtf(variance + eps);
  const F means = splat(mean), factors = splat(factor);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    store(out + i, (load(x + i) - means) * factors * load(weight + i) + load(bias + i));
  }
  for (; i < n; ++i) out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

void rotate_halves(const float* x, std::int64_t n, const float* cosines, const float* sines,
                   float* out) {
  const std::int64_t half = n / 2;
  std::int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const F a = load(x + i), b = load(x + half + i), c = load(cosines + i), s = load(sines + i);
    store(out + i, a * c - b * s);
    store(out + half + i, b * c + a * s);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    out[i] = a * cosines[i] - b * sines[i];
    out[half + i] = b * cosines[i] + a * sines[i];
  }
}

void rotate_pairs(const float* x, std::int64_t n, const float* cosines, const float* sines,
                  float* out) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F a = load(x + i);
    store(out + i, a * load(cosines + i) + exchange<1>(a) * load(sines + i));
  }
  for (; i < n; i += 2) {
    const float a = x[i], b = x[i + 1];
    out[i] = a * cosines[i] + b * sines[i];
    out[i + 1] = b * cosines[i + 1] + a * sines[i + 1];
  }
}

}  // namespace

extern const RowKernels row_kernels = {row_max,  row_exp_sum, row_sum_exp,   scale,
                                       rms_norm, layer_norm,  rotate_halves, rotate_pairs};

}  // namespace nitinol::cpu::simd::NITINOL_ISA
