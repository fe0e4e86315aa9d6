// matmul, inv, solve, cholesky and det against plain loops. The OpenBLAS library is the
// first argument, or NITINOL_TEST_BLAS in the environment; without one the program is skipped (77).
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/blas.h"
#include "cpu/kernels/linalg.h"
#include "cpu/kernels/matmul.h"
#include "cpu/pool.h"
#include "load_blas.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NITINOL_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NITINOL_SANITIZED
#endif
#endif

namespace {

using namespace nitinol;
using namespace nitinol::cpu;
using Shape = std::vector<std::int64_t>;

std::mt19937_64 generator(7);

std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(generator() % n); }

template <class T>
T random_value() {
  if constexpr (std::is_same_v<T, bool>) {
    return below(4) == 0;
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(generator());
  } else if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, complex128>) {
    using R = typename T::value_type;
    return {random_value<R>(), random_value<R>()};
  } else {
    return static_cast<T>(static_cast<double>(below(2001)) / 1000.0 - 1.0);
  }
}

// An array with elements at any distance from each other.
template <class T>
struct Array {
  // Not std::vector: its bool has no elements one can point at.
  std::unique_ptr<T[]> memory;
  Layout layout;
  T* first = nullptr;

  View view(DType dtype) { return {reinterpret_cast<char*>(first), &layout, dtype}; }

  T& at(const Shape& index) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < index.size(); ++i) offset += index[i] * layout.stride(i);
    return first[offset];
  }
};

template <class T>
Array<T> contiguous(const Shape& shape) {
  Array<T> array;
  array.layout = Layout(shape);
  array.memory.reset(new T[array.layout.size() + 1]());
  array.first = array.memory.get();
  for (std::int64_t i = 0; i < array.layout.size(); ++i) array.first[i] = random_value<T>();
  return array;
}

// Random order of axes, gaps, flips, and broadcast axes where `batch` of them may be.
template <class T>
Array<T> strided(const Shape& shape, int batch) {
  const int ndim = static_cast<int>(shape.size());
  std::vector<int> order(ndim);
  for (int i = 0; i < ndim; ++i) order[i] = i;
  if (below(2)) std::shuffle(order.begin(), order.end(), generator);
  Shape strides(ndim);
  std::int64_t step = 1, offset = 0;
  for (int i = ndim - 1; i >= 0; --i) {
    const int axis = order[i];
    if (axis < batch && below(3) == 0) {
      strides[axis] = 0;
      continue;
    }
    if (below(4) == 0) step *= 2;
    strides[axis] = step;
    step *= std::max<std::int64_t>(shape[axis], 1);
    if (below(5) == 0) {
      offset += strides[axis] * (std::max<std::int64_t>(shape[axis], 1) - 1);
      strides[axis] = -strides[axis];
    }
  }
  Array<T> array;
  array.layout = Layout(shape, strides, 0);
  array.memory.reset(new T[step + 1]());
  for (std::int64_t i = 0; i < step; ++i) array.memory[i] = random_value<T>();
  array.first = array.memory.get() + offset;
  return array;
}

const Params no_params;

FaultSlot& run(Kernel kernel, std::vector<View> inputs, View output,
               const Params& params = no_params) {
  static thread_local std::unique_ptr<FaultSlot> fault;
  fault = std::make_unique<FaultSlot>();
  kernel(Launch{params, inputs, output, *fault});
  return *fault;
}

Shape join(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  Shape shape = batch;
  shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

// Every index of the batch axes, as a prefix.
std::vector<Shape> indices(const Shape& batch) {
  std::vector<Shape> all{{}};
  for (std::int64_t extent : batch) {
    std::vector<Shape> next;
    for (const Shape& prefix : all) {
      for (std::int64_t i = 0; i < extent; ++i) {
        next.push_back(prefix);
        next.back().push_back(i);
      }
    }
    all = next;
  }
  return all;
}

template <class T>
double magnitude(T x) {
  if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, complex128>) {
    return std::abs(std::complex<double>(x));
  } else {
    return std::abs(static_cast<double>(x));
  }
}

template <class T>
double tolerance(std::int64_t n) {
  if (std::is_same_v<T, float16>) return 2e-3 * static_cast<double>(n + 1);
  const bool single = std::is_same_v<T, float> || std::is_same_v<T, complex64>;
  return (single ? 1e-6 : 1e-14) * static_cast<double>(n + 1) * 4;
}

template <class T>
void check_matmul(DType dtype, Array<T>& a, Array<T>& b, const Shape& batch, std::int64_t m,
                  std::int64_t n, std::int64_t k) {
  Array<T> c = contiguous<T>(join(batch, m, n));
  // What was there must not show through, NaN least of all.
  std::memset(static_cast<void*>(c.first), std::is_same_v<T, bool> ? 1 : 0xff,
              c.layout.size() * sizeof(T));
  CHECK(!run(kernels::matmul, {a.view(dtype), b.view(dtype)}, c.view(dtype)).failed());
  using Sum =
      std::conditional_t<std::is_same_v<T, complex64> || std::is_same_v<T, complex128>, complex128,
                         std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>>;
  const int rank = static_cast<int>(batch.size()) + 2;
  const std::int64_t a_row = a.layout.stride(rank - 2), a_column = a.layout.stride(rank - 1);
  const std::int64_t b_row = b.layout.stride(rank - 2), b_column = b.layout.stride(rank - 1);
  for (const Shape& at : indices(batch)) {
    const T* a_rows = &a.at(at);
    const T* b_rows = &b.at(at);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        Sum sum{};
        for (std::int64_t l = 0; l < k; ++l) {
          sum += static_cast<Sum>(a_rows[i * a_row + l * a_column]) *
                 static_cast<Sum>(b_rows[l * b_row + j * b_column]);
        }
        const T got = c.at(join(at, i, j));
        if constexpr (std::is_integral_v<T>) {
          CHECK(got == static_cast<T>(sum));
        } else {
          CHECK(magnitude(static_cast<Sum>(got) - sum) <= tolerance<T>(k));
        }
      }
    }
  }
}

void test_matmul() {
  for (int type = 0; type < dtype_count; ++type) {
    const auto dtype = static_cast<DType>(type);
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      for (int round = 0; round < 60; ++round) {
        const Shape batch(below(3), 1 + below(3));
        const std::int64_t m = below(8) == 0 ? 1 : below(9), n = below(8) == 0 ? 1 : below(9);
        const std::int64_t k = below(6) == 0 ? 1 : below(20);
        const int count = static_cast<int>(batch.size());
        auto a = below(3) ? strided<T>(join(batch, m, k), count) : contiguous<T>(join(batch, m, k));
        auto b = strided<T>(join(batch, k, n), count);
        check_matmul<T>(dtype, a, b, batch, m, n, k);
      }
      // Larger than the blocks of the kernels, and with panels.
      auto a = strided<T>({70, 300}, 0);
      auto b = strided<T>({300, 600}, 0);
      check_matmul<T>(dtype, a, b, {}, 70, 600, 300);
      auto wide_a = contiguous<T>({3, 700});
      auto wide_b = contiguous<T>({700, 4100});
      check_matmul<T>(dtype, wide_a, wide_b, {}, 3, 4100, 700);
      auto row = contiguous<T>({1, 1500});
      auto matrix = contiguous<T>({1500, 700});
      check_matmul<T>(dtype, row, matrix, {}, 1, 700, 1500);
      // Vectors, cut into parts.
      for (const auto [m, n, k] : {std::array{1, 1, 600000}, {1, 900, 1100}, {900, 1, 1100}}) {
        auto left = strided<T>({m, k}, 0), right = strided<T>({k, n}, 0);
        check_matmul<T>(dtype, left, right, {}, m, n, k);
      }
      auto lefts = strided<T>({3, 1, 700}, 1), rights = strided<T>({3, 700, 900}, 1);
      check_matmul<T>(dtype, lefts, rights, {3}, 1, 900, 700);
      // One right-hand matrix for the whole batch.
      auto many = contiguous<T>({4, 3, 5, 6});
      auto one = contiguous<T>({6, 7});
      Array<T> shared;
      shared.layout = Layout(Shape{4, 3, 6, 7}, Shape{0, 0, 7, 1}, 0);
      shared.first = one.first;
      check_matmul<T>(dtype, many, shared, {4, 3}, 5, 7, 6);
    });
  }
}

void test_partition() {
  for (int round = 0; round < 20000; ++round) {
    const std::int64_t m = 1 + below(1 << below(24)), n = 1 + below(1 << below(24));
    const std::int64_t k = 1 + below(1 << below(24));
    const auto cuts = kernels::partition(m, n, k);
    CHECK(cuts.row_panels >= 1 && cuts.column_panels >= 1 && cuts.panels() <= 64);
    CHECK((cuts.row_panels - 1) * cuts.row_panel < m && cuts.row_panels * cuts.row_panel >= m);
    CHECK((cuts.column_panels - 1) * cuts.column_panel < n);
    CHECK(cuts.column_panels * cuts.column_panel >= n);
  }
  const std::int64_t far = std::int64_t{1} << 40;
  CHECK(kernels::partition(far, far, far).panels() == 64);
}

// The same bits on one thread and on many, also when several threads call BLAS at once.
void test_bits() {
  auto a = contiguous<float>({2, 311, 517});
  auto b = contiguous<float>({2, 517, 823});
  const View va = a.view(DType::float32), vb = b.view(DType::float32);
  std::vector<std::vector<float>> results(6);
  const auto once = [&](std::vector<float>& out) {
    Array<float> c = contiguous<float>({2, 311, 823});
    CHECK(!run(kernels::matmul, {va, vb}, c.view(DType::float32)).failed());
    out.assign(c.first, c.first + c.layout.size());
  };
  const int usual = concurrency();
  set_concurrency(1);
  once(results[0]);
  set_concurrency(3);
  once(results[1]);
  std::vector<std::thread> threads;
  for (int t = 2; t < 6; ++t) {
    // contiguous() draws from the generator: seeded apart, results are overwritten anyway.
    threads.emplace_back([&, t] {
      std::vector<float> out(2 * 311 * 823);
      const Layout layout(Shape{2, 311, 823});
      for (int i = 0; i < 5; ++i) {
        FaultSlot fault;
        const View inputs[] = {va, vb};
        const View output{reinterpret_cast<char*>(out.data()), &layout, DType::float32};
        kernels::matmul(Launch{no_params, inputs, output, fault});
        CHECK(!fault.failed());
      }
      results[t] = out;
    });
  }
  for (auto& thread : threads) thread.join();
  set_concurrency(usual);
  for (int t = 1; t < 6; ++t) {
    CHECK(std::memcmp(results[0].data(), results[t].data(), results[0].size() * 4) == 0);
  }
}

// OpenBLAS alone ends the process when this many threads need a work buffer at once.
[[maybe_unused]] void test_many_threads() {
  constexpr int count = 800;
  constexpr std::int64_t n = 240;
  const std::vector<float> ones(n * n, 1.0f);
  std::atomic<int> waiting{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&] {
      std::vector<float> c(n * n);
      if (waiting.fetch_add(1) + 1 == count) waiting.notify_all();
      for (int there = waiting.load(); there < count; there = waiting.load()) {
        waiting.wait(there);
      }
      blas::sgemm(false, false, n, n, n, 1, ones.data(), n, ones.data(), n, 0, c.data(), n);
      CHECK(std::count(c.begin(), c.end(), static_cast<float>(n)) == n * n);
    });
  }
  for (auto& thread : threads) thread.join();
}

// Rows further apart than 32-bit indices reach, in memory that is never touched between them.
void test_far_rows() {
  constexpr std::int64_t far = (std::int64_t{1} << 31) + 8;
  constexpr std::size_t bytes = (far + 8) * sizeof(float);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::printf("8 GB of address space can't be had: far rows are not tested\n");
    return;
  }
  float* a = static_cast<float*>(memory);
  for (int i = 0; i < 2; ++i) {
    for (int l = 0; l < 3; ++l) a[i * far + l] = static_cast<float>(3 * i + l);
  }
  const float b[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  float c[8];
  std::fill_n(c, 8, std::numeric_limits<float>::quiet_NaN());
  blas::sgemm(false, false, 2, 4, 3, 1, a, far, b, 4, 0, c, 4);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      float sum = 0;
      for (int l = 0; l < 3; ++l) sum += static_cast<float>(3 * i + l) * b[4 * l + j];
      CHECK(c[4 * i + j] == sum);
    }
  }
  float y[3];
  blas::gemv(true, 2, 3, a, far, b, 1, y);
  CHECK(y[0] == 6 && y[1] == 9 && y[2] == 12);
  blas::gemv(false, 2, 3, a, far, b, 1, y);
  CHECK(y[0] == 8 && y[1] == 26);
  munmap(memory, bytes);
}

template <class T>
T conjugate(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    return x;
  } else {
    return std::conj(x);
  }
}

template <class T>
double worst_difference(const std::vector<T>& a, const std::vector<T>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, magnitude(a[i] - b[i]));
  return worst;
}

template <class T>
std::vector<T> product(const std::vector<T>& a, const std::vector<T>& b, std::int64_t m,
                       std::int64_t n, std::int64_t k) {
  std::vector<T> c(m * n);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t l = 0; l < k; ++l) {
      for (std::int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
  }
  return c;
}

template <class T>
std::vector<T> values(Array<T>& array, const Shape& prefix, std::int64_t m, std::int64_t n) {
  std::vector<T> all;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) all.push_back(array.at(join(prefix, i, j)));
  }
  return all;
}

template <class T>
std::vector<T> identity(std::int64_t n) {
  std::vector<T> eye(n * n);
  for (std::int64_t i = 0; i < n; ++i) eye[i * n + i] = T{1};
  return eye;
}

// Well-conditioned: a dominant diagonal, with broadcast batch axes written more than once.
template <class T>
void strengthen(Array<T>& a, const Shape& batch, std::int64_t n) {
  for (const Shape& at : indices(batch)) {
    for (std::int64_t i = 0; i < n; ++i) {
      a.at(join(at, i, i)) = T(static_cast<decltype(std::abs(T{}))>(2 * n + i));
    }
  }
}

template <class T>
void test_linalg_of(DType dtype) {
  const double scale = std::is_same_v<T, float> || std::is_same_v<T, complex64> ? 1e-4 : 1e-11;
  for (int round = 0; round < 60; ++round) {
    const Shape batch(below(3), below(6) == 0 ? 0 : 1 + below(3));
    const int count = static_cast<int>(batch.size());
    const std::int64_t n = below(10) == 0 ? 70 : below(9), columns = below(4);
    Array<T> a = strided<T>(join(batch, n, n), count);
    strengthen(a, batch, n);
    Array<T> right = strided<T>(join(batch, n, columns), count);
    Array<T> inverse = contiguous<T>(join(batch, n, n));
    Array<T> x = contiguous<T>(join(batch, n, columns));
    CHECK(!run(kernels::inv, {a.view(dtype)}, inverse.view(dtype)).failed());
    CHECK(!run(kernels::solve, {a.view(dtype), right.view(dtype)}, x.view(dtype)).failed());
    for (const Shape& at : indices(batch)) {
      const auto matrix = values(a, at, n, n);
      CHECK(worst_difference(product(matrix, values(inverse, at, n, n), n, n, n), identity<T>(n)) <
            scale);
      CHECK(worst_difference(product(matrix, values(x, at, n, columns), n, columns, n),
                             values(right, at, n, columns)) < scale);
    }
    // Hermitian and positive definite; the other triangle holds rubbish that must not be read.
    Array<T> p = contiguous<T>(join(batch, n, n));
    std::vector<std::vector<T>> wanted;
    const bool upper = below(2);
    for (const Shape& at : indices(batch)) {
      std::vector<T> g = values(a, at, n, n), h(n * n);
      for (std::int64_t i = 0; i < n * n; ++i) h[i % n * n + i / n] = conjugate(g[i]);
      wanted.push_back(product(g, h, n, n, n));
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          if (upper ? j >= i : j <= i) p.at(join(at, i, j)) = wanted.back()[i * n + j];
        }
      }
    }
    Array<T> factor = contiguous<T>(join(batch, n, n));
    Params params;
    params.ints = {upper};
    CHECK(!run(kernels::cholesky, {p.view(dtype)}, factor.view(dtype), params).failed());
    std::size_t which = 0;
    for (const Shape& at : indices(batch)) {
      std::vector<T> l = values(factor, at, n, n), h(n * n);
      for (std::int64_t i = 0; i < n * n; ++i) {
        h[i % n * n + i / n] = conjugate(l[i]);
        const bool kept = upper ? i % n >= i / n : i % n <= i / n;
        CHECK(kept || l[i] == T{});
      }
      const auto back = upper ? product(h, l, n, n, n) : product(l, h, n, n, n);
      CHECK(worst_difference(back, wanted[which++]) < scale * 4e4);
    }
  }

  // det: triangular matrices with rows exchanged; products that leave the range on the way.
  Array<T> d = contiguous<T>({3, 3, 3});
  std::fill_n(d.first, 27, T{});
  const T big(std::numeric_limits<decltype(std::abs(T{}))>::max() / 4);
  d.at({0, 0, 1}) = T{2}, d.at({0, 1, 0}) = T{3}, d.at({0, 2, 2}) = T{5};
  d.at({1, 0, 0}) = big, d.at({1, 1, 1}) = big, d.at({1, 2, 2}) = T{1} / big / big * T{0};
  d.at({2, 0, 0}) = big, d.at({2, 1, 1}) = T{8}, d.at({2, 2, 2}) = T{4} / big;
  Array<T> dets = contiguous<T>({3});
  CHECK(!run(kernels::det, {d.view(dtype)}, dets.view(dtype)).failed());
  CHECK(magnitude(dets.first[0] + T{30}) < 1e-4);
  CHECK(dets.first[1] == T{});
  CHECK(magnitude(dets.first[2] - T{32}) < 1e-3);
  Array<T> empty = contiguous<T>({2, 0, 0});
  Array<T> ones = contiguous<T>({2});
  CHECK(!run(kernels::det, {empty.view(dtype)}, ones.view(dtype)).failed());
  CHECK(ones.first[0] == T{1} && ones.first[1] == T{1});
}

void check_fault(const FaultSlot& slot, Code code, std::int64_t a0, std::int64_t a1) {
  CHECK(slot.failed());
  const Fault& fault = slot.get();
  CHECK(fault.code == code && fault.args[0] == a0 && fault.args[1] == a1);
}

template <class T>
void test_faults_of(DType dtype) {
  constexpr std::int64_t batch = 9000, n = 3;
  Array<T> a = contiguous<T>({batch, n, n});
  for (std::int64_t i = 0; i < batch; ++i) {
    for (std::int64_t j = 0; j < n * n; ++j) a.first[i * n * n + j] = j % (n + 1) ? T{} : T{2};
  }
  Array<T> out = contiguous<T>({batch, n, n});
  a.at({8000, 0, 0}) = T{};
  a.at({4711, 1, 1}) = T{};
  check_fault(run(kernels::inv, {a.view(dtype)}, out.view(dtype)), Code::singular_matrix, 4711, 1);
  check_fault(run(kernels::solve, {a.view(dtype), a.view(dtype)}, out.view(dtype)),
              Code::singular_matrix, 4711, 1);
  check_fault(run(kernels::cholesky, {a.view(dtype)}, out.view(dtype)), Code::not_positive_definite,
              4711, 2);
  Array<T> dets = contiguous<T>({batch});
  CHECK(!run(kernels::det, {a.view(dtype)}, dets.view(dtype)).failed());
  CHECK(dets.first[4711] == T{} && dets.first[8000] == T{} && dets.first[0] == T{8});

  // A NaN is a value: the result of its matrix is NaN, nothing is singular.
  const T nan(std::numeric_limits<decltype(std::abs(T{}))>::quiet_NaN());
  Array<T> bad = contiguous<T>({2, 2});
  std::fill_n(bad.first, 4, T{});
  bad.first[0] = bad.first[3] = nan;
  Array<T> small = contiguous<T>({2, 2});
  for (Kernel kernel : {kernels::inv, kernels::cholesky}) {
    CHECK(!run(kernel, {bad.view(dtype)}, small.view(dtype)).failed());
    CHECK(small.first[0] != small.first[0]);
  }
  bad.first[0] = T{};
  for (Kernel kernel : {kernels::inv, kernels::cholesky}) {
    CHECK(!run(kernel, {bad.view(dtype)}, small.view(dtype)).failed());
    CHECK(small.first[3] != small.first[3]);
  }
}

void test_without_blas() {
  CHECK(!blas::loaded());
  Array<float> a = contiguous<float>({2, 2}), c = contiguous<float>({2, 2});
  const View view = a.view(DType::float32), out = c.view(DType::float32);
  for (Kernel kernel : {kernels::matmul, kernels::solve}) {
    CHECK(run(kernel, {view, view}, out).get().code == Code::internal);
  }
  for (Kernel kernel : {kernels::inv, kernels::cholesky}) {
    CHECK(run(kernel, {view}, out).get().code == Code::internal);
  }
  CHECK(!blas::load("/nonexistent/library.so") && blas::load_error()[0] != '\0');
  CHECK(!blas::loaded());
}

}  // namespace

int main(int argc, char** argv) {
  test_partition();
  test_without_blas();
  if (const int status = cpu::testing::load_blas(argc, argv)) return status;
  CHECK(blas::load("loaded already") && blas::index_width()[0] == 'i');
  test_matmul();
  test_bits();
  test_far_rows();
#ifndef NITINOL_SANITIZED  // their threads are too heavy for it
  test_many_threads();
#endif
  test_linalg_of<float>(DType::float32);
  test_linalg_of<double>(DType::float64);
  test_linalg_of<complex64>(DType::complex64);
  test_linalg_of<complex128>(DType::complex128);
  test_faults_of<float>(DType::float32);
  test_faults_of<double>(DType::float64);
  test_faults_of<complex64>(DType::complex64);
  test_faults_of<complex128>(DType::complex128);
  return 0;
}
