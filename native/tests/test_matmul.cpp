// matmul over own panels, with every instruction set of the machine that has a kernel for it.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>

#include "check.h"
#include "cpu/kernels/matmul.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"
#include "strided.h"

namespace {

using namespace nitinol;
using namespace nitinol::cpu;
using kernels::MatrixBatch;

template <class T>
void packed(const Launch& launch) noexcept {
  kernels::matmul_packed<T>(launch, MatrixBatch::of(launch.inputs[0]),
                            MatrixBatch::of(launch.inputs[1]), MatrixBatch::of(launch.output));
}

template <class T>
void multiply(const Strided<T>& a, const Strided<T>& b, const Output<T>& c) {
  CHECK(run(packed<T>, {a.view(), b.view()}, c.view()).code == Fault{}.code);
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// Element (i, j) of a @ b, and how far from it a sum of T may be.
template <class T>
double reference(const Strided<T>& a, const Strided<T>& b, std::int64_t i, std::int64_t j,
                 double& bound) {
  const std::int64_t k = a.shape()[1], n = b.shape()[1];
  const std::int64_t a_step = a.at(1) - a.at(0), b_step = k > 1 ? b.at(n) - b.at(0) : 0;
  const T* row = a.at(i * k);
  const T* column = b.at(j);
  double sum = 0, size = 0;
  for (std::int64_t l = 0; l < k; ++l) {
    const double product = static_cast<double>(row[l * (k > 1 ? a_step : 0)]) *
                           static_cast<double>(column[l * b_step]);
    sum += product;
    size += std::abs(product);
  }
  bound = size * static_cast<double>(std::numeric_limits<T>::epsilon()) *
          std::min(std::sqrt(static_cast<double>(k)) * 4 + 4, static_cast<double>(k) + 4);
  return sum;
}

template <class T>
void check_product(Random& random, std::int64_t m, std::int64_t n, std::int64_t k) {
  Strided<T> a({m, k}, any_order(random), random), b({k, n}, any_order(random), random);
  a.fill_uniform(random, -1, 1);
  b.fill_uniform(random, -1, 1);
  Output<T> c({m, n});
  multiply(a, b, c);
  const std::int64_t step = std::max<std::int64_t>(1, m * n * k / 20'000'000);
  for (std::int64_t at = 0; at < m * n; at += step) {
    double bound;
    const double wanted = reference(a, b, at / n, at % n, bound);
    CHECK(std::abs(c[at] - wanted) <= bound);
  }
}

template <class T>
void test_products() {
  Random random(3);
  for (int round = 0; round < 150; ++round) {
    const auto pick = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(random() % (1 + random() % most));
    };
    check_product<T>(random, pick(130), pick(150), pick(random() % 4 ? 70 : 1100));
  }
  for (std::int64_t k : {1, 2, 15, 16, 17, 255, 257, 1023, 1025, 2049, 100'003}) {
    check_product<T>(random, 7, 33, k);
  }
  // More than a block of rows, of columns, of depth.
  check_product<T>(random, 2100, 35, 9);
  check_product<T>(random, 9, 2100, 35);
  check_product<T>(random, 2051, 130, 2053);
}

// The bits of an element depend on its row, its column and nothing else: not on threads, on where
// the operands lie, or on what is computed beside it.
template <class T>
void test_bits() {
  Random random(4);
  const std::int64_t m = 301, n = 515, k = 1301;
  Strided<T> a({m, k}, Order::row_major, random), b({k, n}, Order::row_major, random);
  a.fill_uniform(random, -1, 1);
  b.fill_uniform(random, -1, 1);
  const int usual = concurrency();
  Output<T> wanted({m, n}), c({m, n});
  set_concurrency(1);
  multiply(a, b, wanted);
  for (int threads = 2; threads <= 4; ++threads) {
    set_concurrency(threads);
    c.clear();
    multiply(a, b, c);
    CHECK(std::memcmp(c.data.data(), wanted.data.data(), m * n * sizeof(T)) == 0);
  }
  for (Order order : {Order::permuted, Order::gaps, Order::step, Order::flipped}) {
    Strided<T> left({m, k}, order, random), right({k, n}, order, random);
    left.fill([&](std::int64_t i) { return *a.at(i); });
    right.fill([&](std::int64_t i) { return *b.at(i); });
    c.clear();
    multiply(left, right, c);
    CHECK(std::memcmp(c.data.data(), wanted.data.data(), m * n * sizeof(T)) == 0);
  }
  Strided<T> rows({5, k}, Order::row_major, random), columns({k, 3}, Order::row_major, random);
  rows.fill([&](std::int64_t i) { return *a.at(i + 17 * k); });
  columns.fill([&](std::int64_t i) { return *b.at(i / 3 * n + i % 3 + 100); });
  Output<T> part({5, 3});
  multiply(rows, columns, part);
  for (int i = 0; i < 15; ++i) {
    CHECK(same_bits(part.data[i], wanted.data[(i / 3 + 17) * n + i % 3 + 100]));
  }
  std::thread others[3];
  for (auto& thread : others) {
    thread = std::thread([&] {
      Output<T> own({m, n});
      for (int i = 0; i < 3; ++i) {
        multiply(a, b, own);
        CHECK(std::memcmp(own.data.data(), wanted.data.data(), m * n * sizeof(T)) == 0);
      }
    });
  }
  for (auto& thread : others) thread.join();
  set_concurrency(usual);
}

// What fills up the last panels is no part of any sum.
template <class T>
void test_special() {
  Random random(5);
  const std::int64_t m = 17, n = 37, k = 40;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  Strided<T> a({m, k}, Order::row_major, random), b({k, n}, Order::row_major, random);
  a.fill_uniform(random, -1, 1);
  b.fill_uniform(random, -1, 1);
  *a.at(3 * k + 5) = nan;
  *a.at(4 * k + 6) = inf;
  *a.at(16 * k + 39) = inf;
  *a.at(16 * k + 38) = -inf;
  *b.at(7 * n + 36) = inf;
  *b.at(6 * n + 2) = 0;
  *a.at(8 * k + 7) = 0;
  Output<T> c({m, n});
  multiply(a, b, c);
  for (std::int64_t at = 0; at < m * n; ++at) {
    double bound;
    const double wanted = reference(a, b, at / n, at % n, bound);
    CHECK(std::isnan(wanted) == std::isnan(c[at]));
    CHECK(!std::isinf(wanted) || wanted == c[at]);
    CHECK(!std::isfinite(wanted) || std::abs(c[at] - wanted) <= bound);
  }
}

template <class T>
void test_batch() {
  Random random(6);
  const std::int64_t m = 30, n = 40, k = 50;
  Strided<T> a({2, 3, m, k}, Order::gaps, random), b({2, 3, k, n}, Order::permuted, random);
  a.fill_uniform(random, -1, 1);
  b.fill_uniform(random, -1, 1);
  Output<T> c({2, 3, m, n}), one({m, n});
  multiply(a, b, c);
  for (std::int64_t i = 0; i < 6; ++i) {
    Strided<T> left({m, k}, Order::row_major, random), right({k, n}, Order::row_major, random);
    left.fill([&](std::int64_t at) { return *a.at(i * m * k + at); });
    right.fill([&](std::int64_t at) { return *b.at(i * k * n + at); });
    multiply(left, right, one);
    CHECK(std::memcmp(one.data.data(), c.data.data() + i * m * n, m * n * sizeof(T)) == 0);
  }
}

template <class T>
void test_choice(bool has_kernel) {
  const std::int64_t far = std::int64_t{1} << 40;
  CHECK(!kernels::packed_is_faster<T>(16, 16, 16));
  CHECK(!kernels::packed_is_faster<T>(1, 4096, 64) && !kernels::packed_is_faster<T>(4096, 1, 64));
  CHECK(kernels::packed_is_faster<T>(1024, 1024, 128) == has_kernel);
  CHECK(kernels::packed_is_faster<T>(far, far, 128) == has_kernel);
}

template <class T>
void test_all() {
  const auto& simd = simd::kernels();
  const bool has_kernel = (sizeof(T) == 4 ? simd.gemm_float.rows : simd.gemm_double.rows) > 0;
  test_choice<T>(has_kernel);
  if (!has_kernel) return;
  test_products<T>();
  test_bits<T>();
  test_special<T>();
  test_batch<T>();
}

}  // namespace

int main() {
  for (int isa = 0; isa <= static_cast<int>(simd::best_isa()); ++isa) {
    simd::choose(static_cast<simd::Isa>(isa));
    test_all<float>();
    test_all<double>();
  }
  return 0;
}
