// Tests of the neural-network kernels against plain loops in double precision: random shapes and
// layouts, special values, every instruction set of the machine, bits equal for any thread count.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "check.h"
#include "cpu/blas.h"
#include "cpu/kernels/attention.h"
#include "cpu/kernels/norms.h"
#include "cpu/kernels/quantized.h"
#include "cpu/kernels/rope.h"
#include "cpu/kernels/softmax.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"
#include "strided.h"

using namespace nitinol;
using namespace nitinol::cpu;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// NaN agrees with NaN, an infinity with itself.
void check_close(double got, double expected, double tolerance) {
  const bool same = got == expected || (std::isnan(got) && std::isnan(expected));
  if (same || std::abs(got - expected) <= tolerance * (1 + std::abs(expected))) return;
  std::fprintf(stderr, "got %.17g, expected %.17g within %g\n", got, expected, tolerance);
  CHECK(false);
}

// Runs with 1 to 4 threads; the bits must not change.
template <class T>
void run_everywhere(Kernel kernel, const std::vector<View>& inputs, Output<T>& out,
                    std::vector<std::int64_t> ints = {}, std::vector<double> floats = {}) {
  std::vector<T> first;
  for (int threads : {1, 2, 3, 4}) {
    set_concurrency(threads);
    out.clear();
    CHECK(run(kernel, inputs, out.view(), ints, floats).code == Code::none);
    if (threads == 1) first = out.data;
    CHECK(first.empty() ||
          std::memcmp(first.data(), out.data.data(), first.size() * sizeof(T)) == 0);
  }
}

template <class T>
constexpr double tolerance = std::is_same_v<T, double>  ? 1e-13
                             : std::is_same_v<T, float> ? 2e-6
                                                        : 1e-3;

void test_exp() {
  // exp_sum with shift 0 is exp itself.
  const auto exps = [](std::vector<float>& x) {
    simd::kernels().rows.exp_sum(x.data(), static_cast<std::int64_t>(x.size()), 0.0f, x.data());
  };
  double worst = 0;
  std::vector<float> x(4099), y;
  for (std::uint32_t start = 0; start < 0x42d00000u; start += 4099u * 211u) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::uint32_t bits = start + static_cast<std::uint32_t>(i) * 211u;
      const float magnitude = __builtin_bit_cast(float, bits);
      x[i] = i & 1 ? -magnitude : std::min(magnitude, 88.7f);
    }
    exps(y = x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double unit =
          std::max(std::ldexp(1.0, std::ilogb(exact) - 23), static_cast<double>(0x1p-149));
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / unit);
    }
  }
  CHECK(worst > 0 && worst < 1.5);
  x = {-INFINITY, INFINITY, NAN, 0.0f, -0.0f, 89.0f, 1e30f, -1e30f, -103.0f, -104.0f, 88.72283f};
  exps(x);
  CHECK(x[0] == 0 && !std::signbit(x[0]) && x[1] == INFINITY && std::isnan(x[2]));
  CHECK(x[3] == 1 && x[4] == 1 && x[5] == INFINITY && x[6] == INFINITY && x[7] == 0);
  CHECK(x[8] == 0x1p-149f && x[9] == 0 && std::isfinite(x[10]));
}

template <class T>
void check_softmax(const Strided<T>& x) {
  const Shape& shape = x.shape();
  const std::int64_t n = shape.back(), rows = n > 0 ? x.size() / n : 0;
  Output<T> soft(shape);
  run_everywhere(kernels::softmax, {x.view()}, soft);
  const Shape outer(shape.begin(), shape.end() - 1);
  Output<T> log(outer);
  run_everywhere(kernels::logsumexp, {x.view()}, log, {shape.size() == 1});
  if (n == 0) {
    for (T value : log.data) CHECK(static_cast<double>(value) == -inf);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    double largest = -inf, sum = 0, shifted = 0;
    bool has_nan = false;
    for (std::int64_t i = 0; i < n; ++i) {
      largest = std::max(largest, x[r * n + i]);
      has_nan |= std::isnan(x[r * n + i]);
    }
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[r * n + i] - largest);
    for (std::int64_t i = 0; i < n; ++i) {
      const double expected = std::exp(x[r * n + i] - largest) / sum;
      shifted += soft[r * n + i];
      const double got = soft[r * n + i];
      CHECK(std::isnan(got) == std::isnan(expected));
      if (!std::isnan(expected)) {
        CHECK(std::abs(got - expected) <=
              4 * tolerance<T> * expected + (sizeof(T) == 2 ? 1e-7 : 1e-44));
      }
    }
    const double expected = has_nan ? nan : std::isinf(largest) ? largest : largest + std::log(sum);
    check_close(log[r], expected, tolerance<T>);
  }
}

template <class T>
void test_softmax() {
  Random random(1);
  for (int i = 0; i < 60; ++i) {
    const std::int64_t n = static_cast<std::int64_t>(random() % 150);
    Strided<T> x(
        {static_cast<std::int64_t>(random() % 4), static_cast<std::int64_t>(random() % 40), n},
        any_order(random), random);
    x.fill_uniform(random, -20, 20);
    check_softmax(x);
  }
  for (std::int64_t n : {1, 16, 33, 70001, 200000}) {
    for (Order order : {Order::row_major, Order::step}) {
      Strided<T> x({n}, order, random);
      x.fill_uniform(random, -8, 8);
      check_softmax(x);
      *x.at(n / 2) = static_cast<T>(-inf);
      check_softmax(x);
      *x.at(n / 3) = static_cast<T>(nan);
      check_softmax(x);
      x.fill([](std::int64_t) { return -inf; });
      check_softmax(x);
      *x.at(n - 1) = static_cast<T>(nan);
      check_softmax(x);
      x.fill_uniform(random, -8, 8);
      *x.at(0) = static_cast<T>(inf);
      check_softmax(x);
      x.fill([](std::int64_t) { return 6e4; });  // must not overflow
      check_softmax(x);
    }
  }
}

template <class T>
void test_norms() {
  Random random(2);
  for (int i = 0; i < 60; ++i) {
    const std::int64_t n = static_cast<std::int64_t>(1 + random() % 300);
    const double offset = i % 2 ? 0 : 100;  // a mean far from 0
    Strided<T> x({static_cast<std::int64_t>(random() % 30), n}, any_order(random), random);
    Strided<T> weight({n}, any_order(random), random), bias({n}, any_order(random), random);
    x.fill_uniform(random, offset - 2, offset + 2);
    weight.fill_uniform(random, -2, 2);
    bias.fill_uniform(random, -2, 2);
    const double eps = 1e-5;
    Output<T> rms(x.shape()), layer(x.shape());
    run_everywhere(kernels::rms_norm, {x.view(), weight.view()}, rms, {}, {eps});
    run_everywhere(kernels::layer_norm, {x.view(), weight.view(), bias.view()}, layer, {}, {eps});
    for (std::int64_t r = 0; r < x.shape()[0]; ++r) {
      double squares = 0, mean = 0, variance = 0;
      for (std::int64_t c = 0; c < n; ++c) {
        squares += x[r * n + c] * x[r * n + c] / static_cast<double>(n);
        mean += x[r * n + c] / static_cast<double>(n);
      }
      for (std::int64_t c = 0; c < n; ++c) {
        variance += (x[r * n + c] - mean) * (x[r * n + c] - mean) / static_cast<double>(n);
      }
      for (std::int64_t c = 0; c < n; ++c) {
        const double a = x[r * n + c] / std::sqrt(squares + eps) * weight[c];
        const double b = (x[r * n + c] - mean) / std::sqrt(variance + eps) * weight[c] + bias[c];
        check_close(rms[r * n + c], a, tolerance<T>);
        // The mean is off by half a unit in the last place of the offset, times 1 / sqrt(variance).
        check_close(layer[r * n + c], b, 20 * tolerance<T> * (n == 1 ? 300 : 1));
      }
    }
  }
}

template <class T>
void test_rope() {
  Random random(3);
  for (int i = 0; i < 80; ++i) {
    const std::int64_t d = static_cast<std::int64_t>(2 + random() % 70);
    const std::int64_t dims =
        i % 3 == 0
            ? d / 2 * 2
            : 2 * static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(d / 2));
    const std::int64_t length = static_cast<std::int64_t>(i % 4 == 0 ? 1 : random() % 150);
    Strided<T> x({2, 3, length, d}, any_order(random), random);
    x.fill_uniform(random, -1, 1);
    Strided<std::int64_t> offset({}, Order::row_major, random);
    *offset.at(0) = static_cast<std::int64_t>(random() % 8000);
    const bool interleaved = random() % 2;
    const double base = 1e5, scale = i % 5 == 0 ? 0.25 : 1.0;
    Output<T> out(x.shape());
    run_everywhere(kernels::rope, {x.view(), offset.view()}, out, {dims, interleaved},
                   {base, scale});
    for (std::int64_t row = 0; row < 6 * length; ++row) {
      const double position =
          (static_cast<double>(*offset.at(0)) + static_cast<double>(row % length)) * scale;
      for (std::int64_t p = 0; p < dims / 2; ++p) {
        const double angle =
            position * std::pow(base, -2.0 * static_cast<double>(p) / static_cast<double>(dims));
        const std::int64_t first = row * d + (interleaved ? 2 * p : p);
        const std::int64_t second = first + (interleaved ? 1 : dims / 2);
        const double a = x[first], b = x[second];
        check_close(out[first], a * std::cos(angle) - b * std::sin(angle),
                    tolerance<T> * (sizeof(T) == 8 ? 100 : 1));
        check_close(out[second], a * std::sin(angle) + b * std::cos(angle),
                    tolerance<T> * (sizeof(T) == 8 ? 100 : 1));
      }
      for (std::int64_t c = dims; c < d; ++c) CHECK(out[row * d + c] == x[row * d + c]);
    }
  }
}

struct AttentionCase {
  std::int64_t b, h, hk, lq, lk, d, dv, valid;
  bool causal;
  int mask;     // 0 none, 1 bool, 2 float32, 3 float64
  bool poison;  // the rows beyond `valid` hold NaN
};

// T: of queries and result; Stored: of keys and values.
template <class T, class Stored>
void check_attention(const AttentionCase& c, Random& random) {
  const auto order = [&] {
    return c.lk > 300 ? static_cast<Order>(random() % 3) : any_order(random);
  };
  Strided<T> q({c.b, c.h, c.lq, c.d}, order(), random);
  Strided<Stored> k({c.b, c.hk, c.lk, c.d}, order(), random),
      v({c.b, c.hk, c.lk, c.dv}, order(), random);
  q.fill_uniform(random, -2, 2);
  k.fill_uniform(random, -2, 2);
  v.fill_uniform(random, -2, 2);
  const bool limited = c.valid != c.lk || random() % 2;
  if (c.poison) {
    for (std::int64_t i = 0; i < k.size(); ++i) {
      if (i / c.d % c.lk >= c.valid) *k.at(i) = static_cast<Stored>(nan);
    }
    for (std::int64_t i = 0; i < v.size(); ++i) {
      if (i / c.dv % c.lk >= c.valid) *v.at(i) = static_cast<Stored>(nan);
    }
  }
  const auto maybe_one = [&](std::int64_t n) { return random() % 2 ? n : 1; };
  const Shape mask_shape{maybe_one(c.b), maybe_one(c.h), maybe_one(c.lq), c.lk};
  Strided<bool> keep(mask_shape, any_order(random), random);
  keep.fill([&](std::int64_t) { return random() % 4 != 0; });
  Strided<float> single(mask_shape, any_order(random), random);
  single.fill([&](std::int64_t) { return random() % 8 ? uniform(random, -3, 3) : -inf; });
  Strided<double> wide(mask_shape, any_order(random), random);
  wide.fill([&](std::int64_t) { return random() % 8 ? uniform(random, -3, 3) : -inf; });
  if (c.mask == 1 && random() % 2) keep.fill([&](std::int64_t i) { return i / c.lk % 2 == 0; });
  Strided<std::int64_t> valid({}, Order::row_major, random);
  *valid.at(0) = c.valid;

  std::vector<View> inputs{q.view(), k.view(), v.view()};
  if (c.mask)
    inputs.push_back(c.mask == 1 ? keep.view() : c.mask == 2 ? single.view() : wide.view());
  if (limited) inputs.push_back(valid.view());
  const double scale = 0.3;
  Output<T> out({c.b, c.h, c.lq, c.dv});
  run_everywhere(kernels::attention, inputs, out, {c.causal, c.mask != 0, limited}, {scale});

  std::vector<double> scores(static_cast<std::size_t>(c.lk));
  for (std::int64_t row = 0; row < c.b * c.h * c.lq; ++row) {
    const std::int64_t i = row % c.lq, h = row / c.lq % c.h, b = row / c.lq / c.h;
    const std::int64_t kv = b * c.hk + h / (c.h / c.hk);
    double largest = -inf, total = 0;
    for (std::int64_t j = 0; j < c.valid; ++j) {
      double& score = scores[static_cast<std::size_t>(j)];
      score = 0;
      for (std::int64_t e = 0; e < c.d; ++e)
        score += q[row * c.d + e] * k[(kv * c.lk + j) * c.d + e];
      score *= scale;
      const std::int64_t at =
          (((mask_shape[0] == 1 ? 0 : b) * mask_shape[1] + (mask_shape[1] == 1 ? 0 : h)) *
               mask_shape[2] +
           (mask_shape[2] == 1 ? 0 : i)) *
              c.lk +
          j;
      if (c.mask == 1 && !*keep.at(at)) score = -inf;
      if (c.mask == 2) score += single[at];
      if (c.mask == 3) score += wide[at];
      if (c.causal && j > i + c.valid - c.lq) score = -inf;
      largest = std::max(largest, score);
    }
    std::vector<double> expected(static_cast<std::size_t>(c.dv), 0.0);
    for (std::int64_t j = 0; j < c.valid && largest > -inf; ++j) {
      const double weight = std::exp(scores[static_cast<std::size_t>(j)] - largest);
      total += weight;
      for (std::int64_t e = 0; e < c.dv; ++e) {
        expected[static_cast<std::size_t>(e)] += weight * v[(kv * c.lk + j) * c.dv + e];
      }
    }
    for (std::int64_t e = 0; e < c.dv; ++e) {
      const double value = total > 0 ? expected[static_cast<std::size_t>(e)] / total : 0.0;
      check_close(out[row * c.dv + e], value, 4 * tolerance<T>);
    }
  }
}

template <class T, class Stored = T>
void test_attention(bool many, bool with_mask_types) {
  Random random(4);
  for (int i = 0; i < (many ? 20 : 50); ++i) {
    AttentionCase c{};
    c.b = static_cast<std::int64_t>(1 + random() % 2);
    c.hk = static_cast<std::int64_t>(1 + random() % 3);
    c.h = c.hk * static_cast<std::int64_t>(1 + random() % 4);
    c.lq = static_cast<std::int64_t>(many ? 9 + random() % 200 : 1 + random() % 8);
    c.lk = static_cast<std::int64_t>(1 + random() % (i % 10 == 0 ? 900 : 200));
    c.d = static_cast<std::int64_t>(i % 3 == 0 ? 64 : 1 + random() % 70);
    c.dv = static_cast<std::int64_t>(i % 3 == 0 ? 64 : 1 + random() % 70);
    c.valid = random() % 2
                  ? c.lk
                  : static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(c.lk + 1));
    c.causal = random() % 2;
    c.mask = static_cast<int>(random() % 4);
    if (c.mask == 3 && !with_mask_types) c.mask = 0;
    c.poison = random() % 2;
    check_attention<T, Stored>(c, random);
  }
}

template <class Stored>
void test_attention_special() {
  Random random(5);
  Strided<float> q({1, 1, 2, 4}, Order::row_major, random);
  Strided<Stored> k({1, 1, 300, 4}, Order::row_major, random),
      v({1, 1, 300, 4}, Order::row_major, random);
  q.fill_uniform(random, -1, 1);
  k.fill_uniform(random, -1, 1);
  v.fill_uniform(random, -1, 1);
  Output<float> out({1, 1, 2, 4});
  Strided<std::int64_t> valid({}, Order::row_major, random);
  for (std::int64_t wrong : {std::int64_t{-1}, std::int64_t{301}, INT64_MIN, INT64_MAX}) {
    *valid.at(0) = wrong;
    const Fault fault = run(kernels::attention, {q.view(), k.view(), v.view(), valid.view()},
                            out.view(), {1, 0, 1}, {1.0});
    CHECK(fault.code == Code::index_out_of_range && fault.args[0] == wrong && fault.args[1] == 2 &&
          fault.args[2] == 300);
  }
  // NaN in one key of the second block spoils the query that sees it and no other.
  *k.at(299 * 4) = static_cast<Stored>(nan);
  run_everywhere(kernels::attention, {q.view(), k.view(), v.view()}, out, {1, 0, 0}, {1.0});
  for (int i = 0; i < 4; ++i) CHECK(std::isfinite(out[i]) && std::isnan(out[4 + i]));
  // NaN also where every other score is -inf.
  Strided<float> mask({1, 1, 1, 300}, Order::row_major, random);
  mask.fill([](std::int64_t j) { return j == 299 ? 0.0 : -inf; });
  run_everywhere(kernels::attention, {q.view(), k.view(), v.view(), mask.view()}, out, {0, 1, 0},
                 {1.0});
  for (int i = 0; i < 8; ++i) CHECK(std::isnan(out[i]));
}

constexpr std::int64_t block_size(int type) { return type == 2 ? 18 : type == 3 ? 20 : 34; }

double half(const std::uint8_t* p) {
  float16 value;
  std::memcpy(&value, p, sizeof value);
  return static_cast<double>(value);
}

std::vector<std::uint8_t> dense(const Strided<std::uint8_t>& w) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(w.size()));
  for (std::int64_t i = 0; i < w.size(); ++i) bytes[static_cast<std::size_t>(i)] = *w.at(i);
  return bytes;
}

// Weight i of a row of blocks.
double weight_at(int type, const std::uint8_t* row, std::int64_t i) {
  const std::uint8_t* p = row + i / 32 * block_size(type);
  const int at = static_cast<int>(i % 32);
  if (type == 8) return half(p) * static_cast<std::int8_t>(p[2 + at]);
  const std::uint8_t byte = p[(type == 2 ? 2 : 4) + at % 16];
  const int nibble = at < 16 ? byte & 15 : byte >> 4;
  return type == 2 ? half(p) * (nibble - 8) : half(p) * nibble + half(p + 2);
}

void fill_blocks(Strided<std::uint8_t>& w, int type, Random& random) {
  const std::int64_t size = block_size(type), bytes = w.shape().back();
  w.fill([&](std::int64_t i) -> std::uint8_t {
    const std::int64_t at = i % bytes % size;
    if (at != 1 && !(type == 3 && at == 3)) return static_cast<std::uint8_t>(random());
    // The high byte of a float16: subnormal or up to about 2 in magnitude.
    return static_cast<std::uint8_t>((random() % 2 << 7) | random() % 0x40);
  });
}

void test_dequantize(int type) {
  Random random(6);
  for (int i = 0; i < 30; ++i) {
    const std::int64_t count = static_cast<std::int64_t>(1 + random() % 5);
    Strided<std::uint8_t> w({3, static_cast<std::int64_t>(random() % 20), count * block_size(type)},
                            any_order(random), random);
    fill_blocks(w, type, random);
    if (w.size() > 0 && i % 3 == 0) {
      *w.at(0) = 0;
      *w.at(1) = 0x7c;  // an infinite scale
    }
    const std::int64_t k = count * 32;
    Output<float> out({3, w.shape()[1], k});
    run_everywhere(kernels::dequantize, {w.view()}, out, {type});
    const std::vector<std::uint8_t> bytes = dense(w);
    for (std::int64_t e = 0; e < 3 * w.shape()[1] * k; ++e) {
      const float expected =
          static_cast<float>(weight_at(type, bytes.data() + e / k * w.shape()[2], e % k));
      const float got = static_cast<float>(out[e]);
      CHECK(got == expected || (std::isnan(got) && std::isnan(expected)));
    }
  }
}

template <class Index>
void test_take(int type) {
  Random random(7);
  const std::int64_t n = 50, k = 96;
  Strided<std::uint8_t> w({n, k / 32 * block_size(type)}, any_order(random), random);
  fill_blocks(w, type, random);
  const std::vector<std::uint8_t> bytes = dense(w);
  Strided<Index> indices({7, 60}, any_order(random), random);
  indices.fill([&](std::int64_t) {
    const std::int64_t index = static_cast<std::int64_t>(random() % 50);
    return std::is_signed_v<Index> && random() % 2 ? index - n : index;
  });
  Output<float> out({7, 60, k});
  run_everywhere(kernels::quantized_take, {w.view(), indices.view()}, out, {type});
  for (std::int64_t e = 0; e < 420 * k; ++e) {
    const std::int64_t index = static_cast<std::int64_t>(*indices.at(e / k));
    const std::uint8_t* row = bytes.data() + (index < 0 ? index + n : index) * w.shape()[1];
    CHECK(out[e] == static_cast<double>(static_cast<float>(weight_at(type, row, e % k))));
  }
  // The first index that is out of range is the one reported.
  *indices.at(401) = static_cast<Index>(60);
  *indices.at(300) = static_cast<Index>(std::is_signed_v<Index> ? -51 : 50);
  for (int threads : {1, 4}) {
    set_concurrency(threads);
    const Fault fault =
        run(kernels::quantized_take, {w.view(), indices.view()}, out.view(), {type});
    CHECK(fault.code == Code::index_out_of_range && fault.args[1] == 0 && fault.args[2] == n);
    CHECK(fault.args[0] == static_cast<std::int64_t>(*indices.at(300)));
  }
  if constexpr (std::is_same_v<Index, std::uint64_t>) {
    *indices.at(3) = ~std::uint64_t{0};  // not the last row
    CHECK(run(kernels::quantized_take, {w.view(), indices.view()}, out.view(), {type}).code ==
          Code::index_out_of_range);
  }
}

void check_product(int type, const Shape& x_shape, std::int64_t n, Random& random) {
  const std::int64_t k = x_shape.back();
  Strided<float> x(x_shape, any_order(random), random);
  x.fill_uniform(random, -1, 1);
  Strided<std::uint8_t> w({n, k / 32 * block_size(type)}, any_order(random), random);
  fill_blocks(w, type, random);
  const std::vector<std::uint8_t> bytes = dense(w);
  Shape out_shape = x_shape;
  out_shape.back() = n;
  Output<float> out(out_shape);
  run_everywhere(kernels::quantized_matmul, {x.view(), w.view()}, out, {type});
  for (std::int64_t e = 0; e < static_cast<std::int64_t>(out.data.size()); ++e) {
    double sum = 0, magnitude = 0;
    for (std::int64_t i = 0; i < k; ++i) {
      const double term =
          x[e / n * k + i] * weight_at(type, bytes.data() + e % n * w.shape()[1], i);
      sum += term;
      magnitude += std::abs(term);
    }
    CHECK(std::abs(out[e] - sum) <= 2e-6 * magnitude);
  }
}

void test_product(int type, bool many) {
  Random random(8);
  for (int i = 0; i < 25; ++i) {
    const std::int64_t k = 32 * static_cast<std::int64_t>(1 + random() % 12);
    const std::int64_t rows =
        static_cast<std::int64_t>(many ? 9 + random() % 40 : 1 + random() % 8);
    check_product(type, {rows, k}, static_cast<std::int64_t>(1 + random() % 90), random);
  }
  if (many) {
    check_product(type, {3, 5, 64}, 37, random);
    check_product(type, {300, 64}, 400, random);
    check_product(type, {33, 1536}, 250, random);
  } else {
    check_product(type, {96}, 600, random);
    check_product(type, {2, 2, 2, 64}, 37, random);
    check_product(type, {0, 64}, 37, random);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* library = argc > 1 ? argv[1] : std::getenv("NITINOL_TEST_BLAS");
  if (library && !blas::load(library)) {
    std::fprintf(stderr, "%s\n", blas::load_error());
    return 1;
  }
  for (int isa = 0; isa <= static_cast<int>(simd::best_isa()); ++isa) {
    simd::choose(static_cast<simd::Isa>(isa));
    test_exp();
    test_softmax<float>();
    test_norms<float>();
    test_rope<float>();
    test_attention<float>(false, true);
    test_attention<float, float16>(false, true);
    test_attention_special<float>();
    test_attention_special<float16>();
    for (int type : {2, 3, 8}) {
      test_dequantize(type);
      test_product(type, false);
      if (library) test_product(type, true);
    }
    if (library) test_attention<float>(true, true);
    if (library) test_attention<float, float16>(true, true);
  }
  // These go through the tables of the last set, or through none.
  test_softmax<double>();
  test_softmax<float16>();
  test_norms<double>();
  test_norms<float16>();
  test_rope<double>();
  test_rope<float16>();
  test_attention<double>(false, true);
  test_attention<double>(true, true);
  test_attention<float16>(false, false);
  test_take<std::int64_t>(2);
  test_take<std::int32_t>(3);
  test_take<std::int8_t>(8);
  test_take<std::uint64_t>(8);
  if (!library) {
    std::printf("no OpenBLAS library given: what needs it is skipped\n");
    return 77;
  }
  test_attention<float16>(true, false);
  return 0;
}
