// The array kernels against plain loops over random shapes, strides and dtypes.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "arrays.h"
#include "check.h"
#include "cpu/kernels/concatenate.h"
#include "cpu/kernels/copy.h"
#include "cpu/kernels/random.h"
#include "cpu/kernels/random_philox.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/scan.h"
#include "cpu/kernels/sort.h"
#include "cpu/pool.h"

using namespace nitinol;
using namespace nitinol::cpu;
using namespace nitinol::cpu::testing;

namespace {

void test_moves() {
  for (int round = 0; round < 300; ++round) {
    const DType dtype = random_dtype();
    const int ndim = static_cast<int>(pick(1, 4));
    Array x = random_array(dtype, random_shape(ndim, round % 20 == 0 ? 24 : 6));
    Array out = empty(dtype, x.shape());
    CHECK(run(kernels::copy, {&x}, out).code == Code::none);
    for (std::int64_t i = 0; i < out.layout.size(); ++i) {
      const Shape index = unravel(i, x.shape());
      CHECK(same(out.at(index), x.at(index), dtype));
    }

    const auto axis = static_cast<std::size_t>(pick(0, ndim - 1));
    Shape second = x.shape();
    second[axis] = pick(0, 4);
    Array y = random_array(dtype, second);
    Shape joined = x.shape();
    joined[axis] += second[axis];
    Array both = empty(dtype, joined);
    CHECK(run(kernels::concatenate, {&x, &y}, both, {static_cast<std::int64_t>(axis)}).code ==
          Code::none);
    for (std::int64_t i = 0; i < both.layout.size(); ++i) {
      Shape index = unravel(i, joined);
      const char* got = both.at(index);
      const bool first = index[axis] < x.shape()[axis];
      if (!first) index[axis] -= x.shape()[axis];
      CHECK(same(got, first ? x.at(index) : y.at(index), dtype));
    }

    Array value = random_array(dtype, {});
    Shape padded = x.shape();
    std::vector<std::int64_t> widths;
    for (std::int64_t& n : padded) {
      widths.push_back(pick(0, 3));
      widths.push_back(pick(0, 3));
      n += widths[widths.size() - 2] + widths.back();
    }
    Array framed = empty(dtype, padded);
    CHECK(run(kernels::pad, {&x, &value}, framed, widths).code == Code::none);
    for (std::int64_t i = 0; i < framed.layout.size(); ++i) {
      Shape index = unravel(i, padded);
      const char* got = framed.at(index);
      bool inside = true;
      for (std::size_t d = 0; d < index.size(); ++d) {
        index[d] -= widths[2 * d];
        inside = inside && index[d] >= 0 && index[d] < x.shape()[d];
      }
      CHECK(same(got, inside ? x.at(index) : value.at({}), dtype));
    }
  }
}

// Reductions and scans in float64 of numbers that are exact in every dtype.
void test_reductions() {
  const DType dtypes[] = {DType::int8,    DType::uint16,  DType::int32,
                          DType::float16, DType::float32, DType::float64};
  const std::int64_t lengths[] = {1,   2,   8,   9,    31,    33,    255,
                                  256, 512, 513, 4097, 16384, 16390, 40000};
  for (int round = 0; round < 200; ++round) {
    const DType dtype = dtypes[pick(0, 5)];
    Shape shape = random_shape(static_cast<int>(pick(0, 2)), 5);
    shape.push_back(round % 4 ? pick(1, 30) : lengths[pick(0, 13)]);
    Array x = random_array(dtype, shape);
    Shape outer(shape.begin(), shape.end() - 1);
    const DType total = is_integer(dtype) ? DType::int64 : dtype;
    Array sums = empty(total, outer), scans = empty(total, shape);
    Array largest = empty(dtype, outer), smallest = empty(dtype, outer);
    Array at_largest = empty(DType::int64, outer), every = empty(DType::bool_, outer);
    CHECK(run(kernels::sum, {&x}, sums).code == Code::none);
    CHECK(run(kernels::cumulative_sum, {&x}, scans).code == Code::none);
    CHECK(run(kernels::max, {&x}, largest).code == Code::none);
    CHECK(run(kernels::min, {&x}, smallest).code == Code::none);
    CHECK(run(kernels::argmax, {&x}, at_largest).code == Code::none);
    CHECK(run(kernels::all, {&x}, every).code == Code::none);
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      const auto number = [](auto v) -> double {
        if constexpr (std::is_same_v<decltype(v), float16>) {
          return to_float(v);
        } else if constexpr (requires { v.real(); }) {
          return static_cast<double>(v.real());
        } else {
          return static_cast<double>(v);
        }
      };
      const auto total_of = [&](Array& a, const Shape& index) {
        return total == DType::int64 ? static_cast<double>(a.get<std::int64_t>(index))
                                     : number(a.get<T>(index));
      };
      for (std::int64_t i = 0; i < product(outer); ++i) {
        const Shape row = unravel(i, outer);
        double sum = 0, best = -1e300, least = 1e300;
        std::int64_t best_at = 0;
        bool all = true;
        for (std::int64_t k = 0; k < shape.back(); ++k) {
          Shape index = row;
          index.push_back(k);
          const double v = number(x.get<T>(index));
          sum += v;
          all = all && v != 0;
          least = std::min(least, v);
          if (v > best) best = v, best_at = k;
          // float16 rounds and overflows.
          if (dtype != DType::float16) CHECK(total_of(scans, index) == sum);
        }
        if (dtype != DType::float16) CHECK(total_of(sums, row) == sum);
        CHECK(number(largest.get<T>(row)) == best);
        CHECK(number(smallest.get<T>(row)) == least);
        CHECK(at_largest.get<std::int64_t>(row) == best_at);
        CHECK(every.get<bool>(row) == all);
      }
    });
  }
}

// The bits of float sums depend on the values alone: not on strides, not on threads.
void test_bits() {
  std::normal_distribution<float> normal;
  const int threads = concurrency();
  for (const std::int64_t n : {7, 40, 600, 5000, 50000}) {
    Array rows = empty(DType::float32, {6, n});
    for (std::int64_t i = 0; i < 6 * n; ++i) rows.data<float>()[i] = normal(generator);
    Array columns = rows;
    columns.layout = Layout(Shape{6, n}, Shape{1, 6}, 0);
    for (std::int64_t i = 0; i < 6 * n; ++i) {
      const Shape index = unravel(i, {6, n});
      columns.get<float>(index) = rows.get<float>(index);
    }
    for (const Kernel kernel : {kernels::sum, kernels::prod}) {
      Array a = empty(DType::float32, {6}), b = a, c = a;
      run(kernel, {&rows}, a);
      run(kernel, {&columns}, b);
      set_concurrency(1);
      run(kernel, {&rows}, c);
      set_concurrency(threads);
      CHECK(a.storage == b.storage && a.storage == c.storage);
    }
    Array a = empty(DType::float32, {6, n}), b = a;
    run(kernels::cumulative_sum, {&rows}, a);
    set_concurrency(1);
    run(kernels::cumulative_sum, {&columns}, b);
    set_concurrency(threads);
    CHECK(a.storage == b.storage);
  }
}

// One long row, which all threads share.
void test_long_scan() {
  const std::int64_t n = (std::int64_t{1} << 20) + 70001;
  Array x = random_array(DType::int32, {n}, true), out = empty(DType::int64, {n});
  Array f = empty(DType::float32, {n}), a = f, b = f;
  for (std::int64_t i = 0; i < n; ++i) {
    f.data<float>()[i] = static_cast<float>(x.data<std::int32_t>()[i]) / 7;
  }
  const int threads = concurrency();
  set_concurrency(3);
  run(kernels::cumulative_sum, {&x}, out);
  run(kernels::cumulative_sum, {&f}, a);
  set_concurrency(1);
  run(kernels::cumulative_sum, {&f}, b);
  set_concurrency(threads);
  CHECK(a.storage == b.storage);
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    total += x.data<std::int32_t>()[i];
    CHECK(out.data<std::int64_t>()[i] == total);
    const double exact = static_cast<double>(total) / 7;
    CHECK(std::abs(static_cast<double>(a.data<float>()[i]) - exact) <= 1e-5 * exact + 1e-3);
    CHECK(i == 0 || a.data<float>()[i] >= a.data<float>()[i - 1]);
  }
}

void test_special_values() {
  const float nan = std::nanf(""), inf = HUGE_VALF;
  Array x = empty(DType::float32, {6});
  const float values[] = {-0.0f, 3.0f, nan, -inf, 0.0f, nan};
  std::copy_n(values, 6, x.data<float>());
  Array value = empty(DType::float32, {}), index = empty(DType::int64, {});
  run(kernels::max, {&x}, value);
  CHECK(std::isnan(value.data<float>()[0]));
  run(kernels::argmin, {&x}, index);
  CHECK(index.data<std::int64_t>()[0] == 2);
  Array order = empty(DType::int64, {6}), sorted = x;
  run(kernels::argsort, {&x}, order, {0});
  const std::int64_t ascending[] = {3, 0, 4, 1, 2, 5}, descending[] = {1, 0, 4, 3, 2, 5};
  CHECK(std::equal(ascending, ascending + 6, order.data<std::int64_t>()));
  run(kernels::argsort, {&x}, order, {1});
  CHECK(std::equal(descending, descending + 6, order.data<std::int64_t>()));
  run(kernels::sort, {&x}, sorted, {0});
  CHECK(sorted.data<float>()[0] == -inf && std::signbit(sorted.data<float>()[1]));
  CHECK(!std::signbit(sorted.data<float>()[2]) && std::isnan(sorted.data<float>()[5]));
  Array nothing = empty(DType::float32, {0});
  run(kernels::sum, {&nothing}, value);
  CHECK(value.data<float>()[0] == 0 && !std::signbit(value.data<float>()[0]));
  Array zeros = empty(DType::float32, {20});
  std::fill_n(zeros.data<float>(), 20, -0.0f);
  run(kernels::sum, {&zeros}, value);
  CHECK(std::signbit(value.data<float>()[0]));
}

void test_sorts() {
  for (int round = 0; round < 60; ++round) {
    const DType dtypes[] = {DType::uint8, DType::int16, DType::int32, DType::int64, DType::float64};
    const DType dtype = dtypes[pick(0, 4)];
    const std::int64_t n = round == 0 ? 150000 : round % 3 ? pick(0, 80) : pick(1000, 5000);
    Array x = random_array(dtype, {pick(1, 3), n});
    const std::int64_t descending = round % 2;
    dispatch(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
        if (sizeof(T) == 8 && round % 3 == 0) {  // keys beyond 32 bits
          for (std::size_t i = 0; i < x.storage.size() / 8; ++i) {
            x.data<T>()[i] *= static_cast<T>(pick(-(std::int64_t{1} << 50), std::int64_t{1} << 50));
          }
        }
        Array order = empty(DType::int64, x.shape()), sorted = empty(dtype, x.shape());
        CHECK(run(kernels::argsort, {&x}, order, {descending}).code == Code::none);
        CHECK(run(kernels::sort, {&x}, sorted, {descending}).code == Code::none);
        for (std::int64_t r = 0; r < x.shape()[0]; ++r) {
          std::vector<std::int64_t> expected(static_cast<std::size_t>(n));
          std::iota(expected.begin(), expected.end(), 0);
          std::sort(expected.begin(), expected.end(), [&](auto a, auto b) {
            const T u = x.get<T>({r, a}), v = x.get<T>({r, b});
            return u == v ? a < b : descending ? v < u : u < v;
          });
          for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t from = expected[static_cast<std::size_t>(i)];
            CHECK(order.get<std::int64_t>({r, i}) == from);
            CHECK(sorted.get<T>({r, i}) == x.get<T>({r, from}));
          }
        }
        if (descending || n == 0) return;
        Array row = empty(dtype, {n}), values = random_array(dtype, {3, 5});
        std::copy_n(sorted.data<T>(), n, row.data<T>());
        for (const std::int64_t right : {0, 1}) {
          Array found = empty(DType::int64, {3, 5});
          CHECK(run(kernels::searchsorted, {&row, &values}, found, {right}).code == Code::none);
          for (std::int64_t i = 0; i < 15; ++i) {
            const Shape index = unravel(i, {3, 5});
            const T* first = row.data<T>();
            const T v = values.get<T>(index);
            const T* place = right ? std::upper_bound(first, first + n, v)
                                   : std::lower_bound(first, first + n, v);
            CHECK(found.get<std::int64_t>(index) == place - first);
          }
        }
      }
    });
  }
}

// Nothing to do, along the axis or beside it.
void test_empty() {
  for (const Shape& shape : {Shape{0, 5}, Shape{5, 0}, Shape{0, 0}, Shape{3, 0, 5}}) {
    Array x = empty(DType::float32, shape), same_shape = x;
    Array order = empty(DType::int64, shape);
    const Shape outer(shape.begin(), shape.end() - 1);
    Array values = empty(DType::float32, outer), positions = empty(DType::int64, outer);
    std::fill(values.storage.begin(), values.storage.end(), 1);
    for (const Kernel kernel : {kernels::copy, kernels::sort, kernels::cumulative_sum}) {
      CHECK(run(kernel, {&x}, same_shape, {0}).code == Code::none);
    }
    CHECK(run(kernels::argsort, {&x}, order, {0}).code == Code::none);
    if (shape.back() != 0) CHECK(run(kernels::argmax, {&x}, positions).code == Code::none);
    CHECK(run(kernels::sum, {&x}, values).code == Code::none);
    for (std::int64_t i = 0; i < product(outer); ++i) CHECK(values.data<float>()[i] == 0);
  }
}

void test_random() {
  using kernels::PhiloxKey;
  std::uint64_t words[kernels::philox_words / 2];
  const auto check = [&](std::uint64_t a, std::uint64_t b) {
    CHECK(words[0] == a && words[1] == b);
  };
  // The known answers that Random123 publishes.
  kernels::philox_block(PhiloxKey(0), 0, 0, words);
  check(0xe169c58d6627e8d5u, 0x9b00dbd8bc57ac4cu);
  kernels::philox_block(PhiloxKey(~0ull), ~0ull, ~0ull, words);
  check(0x41c83b0e408f276du, 0x6d5451fda20bc7c6u);
  kernels::philox_block(PhiloxKey(0x299f31d0a4093822u), 0x0370734413198a2eu, 0x85a308d3243f6a88u,
                        words);
  check(0x94fdccebd16cfe09u, 0x24126ea15001e420u);

  // A shorter draw is the beginning of a longer one, whatever the threads.
  const int threads = concurrency();
  for (const Kernel kernel : {kernels::random_uniform, kernels::random_normal}) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      Array a = empty(dtype, {100001}), b = empty(dtype, {777});
      CHECK(run(kernel, {}, a, {5, 6}, {0.0, 1.0}).code == Code::none);
      set_concurrency(1);
      CHECK(run(kernel, {}, b, {5, 6}, {0.0, 1.0}).code == Code::none);
      set_concurrency(threads);
      CHECK(std::equal(b.storage.begin(), b.storage.end(), a.storage.begin()));
    }
  }
  Array uniform = empty(DType::float32, {100000});
  run(kernels::random_uniform, {}, uniform, {1, 0}, {2.0, 3.0});
  double mean = 0;
  for (int i = 0; i < 100000; ++i) {
    const float v = uniform.data<float>()[i];
    CHECK(v >= 2 && v < 3);
    mean += static_cast<double>(v) / 100000;
  }
  CHECK(std::abs(mean - 2.5) < 0.005);
  Array integers = empty(DType::int8, {100000});
  run(kernels::random_integers, {}, integers, {1, 0, -100, 101});
  const auto [low, high] =
      std::minmax_element(integers.data<std::int8_t>(), integers.data<std::int8_t>() + 100000);
  CHECK(*low == -100 && *high == 100);
}

}  // namespace

int main() {
  test_moves();
  test_reductions();
  test_bits();
  test_long_scan();
  test_special_values();
  test_sorts();
  test_empty();
  test_random();
}
