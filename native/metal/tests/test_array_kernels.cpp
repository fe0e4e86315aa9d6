// Kernels of Metal against those of the CPU: copies, reductions, rows, scans, sorting, random
// numbers. Any layout, any dtype.
#include <limits>

#include "kernel_case.h"

using namespace nitinol;
using namespace nitinol::metal::testing;
using nitinol::cpu::testing::pick;
using nitinol::cpu::testing::random_array;
using nitinol::cpu::testing::random_shape;

namespace {

constexpr DType dtypes[] = {DType::bool_,  DType::int8,    DType::int16,   DType::int32,
                            DType::int64,  DType::uint8,   DType::uint16,  DType::uint32,
                            DType::uint64, DType::float16, DType::float32, DType::complex64};

// Any numbers, and in floats NaN, infinities and zeros of both signs.
Array wild_array(DType dtype, const Shape& shape, bool dense = false) {
  Array a = random_array(dtype, shape, dense);
  const std::size_t item = itemsize(dtype);
  for (std::size_t i = 0; i + item <= a.storage.size(); i += item) {
    char* p = a.storage.data() + i;
    if (dtype == DType::bool_) continue;
    if (is_integer(dtype)) {
      const std::uint64_t bits = cpu::testing::generator() >> pick(0, 63);
      std::memcpy(p, &bits, item);
    } else if (pick(0, 15) == 0) {
      constexpr float infinity = std::numeric_limits<float>::infinity();
      const float special[] = {std::nanf(""), infinity, -infinity, 0.0f, -0.0f, -1e-40f, 3e38f};
      const float v = special[pick(0, 6)];
      if (dtype == DType::float16) {
        *reinterpret_cast<float16*>(p) = cpu::to_half(v);
      } else {
        *reinterpret_cast<float*>(p) = v;
      }
    }
  }
  return a;
}

Shape without_last(Shape shape) {
  shape.pop_back();
  return shape;
}

void test_copy() {
  for (int round = 0; round < rounds(60); ++round) {
    const DType dtype = dtypes[round % 12];
    const Shape shape = random_shape(static_cast<int>(pick(0, 4)), round % 3 == 0 ? 40 : 9);
    Array x = random_array(dtype, shape);
    compare(Op::copy, {&x}, dtype, shape);
  }
  for (const DType dtype : {DType::uint8, DType::int16, DType::float32, DType::int64}) {
    Array x = random_array(dtype, {3, 100, 70});
    const std::int64_t step = 100 * 70;
    x.layout = Layout(Shape{3, 70, 100}, Shape{step, 1, 70}, 0);
    x.storage.resize(static_cast<std::size_t>(3 * step) * itemsize(dtype));
    compare(Op::copy, {&x}, dtype, {3, 70, 100});
  }
}

void test_arange() {
  for (const DType dtype : dtypes) {
    if (dtype == DType::bool_) continue;
    compare(Op::arange, {}, dtype, {1000}, {-5, 3}, {0.1, 0.3}, {1e-7, 0});
    compare(Op::arange, {}, dtype, {77}, {100, -1}, {1e9 + 0.3, -1e-3}, {1e-7, 0});
    compare(Op::arange, {}, dtype, {0}, {1, 1}, {0, 1});
  }
}

// Lengths around where the way of combining changes.
std::int64_t any_length() {
  const std::int64_t lengths[] = {0, 1, 2, 7, 8, 9, 31, 33, 100, 511, 512, 513, 1500, 4097, 9000};
  return lengths[pick(0, 14)];
}

Shape reduced_shape() {
  const std::int64_t n = any_length();
  Shape shape;
  for (std::int64_t d = pick(0, 2); d > 0; --d) shape.push_back(pick(1, n > 600 ? 4 : 12));
  if (pick(0, 5) == 0) shape.push_back(40);
  shape.push_back(n);
  return shape;
}

void test_reductions() {
  for (int round = 0; round < rounds(150); ++round) {
    const DType dtype = dtypes[round % 12];
    const Shape shape = reduced_shape();
    const bool wild = round % 2;
    Array x = wild ? wild_array(dtype, shape) : random_array(dtype, shape);
    const Shape out = without_last(shape);
    const bool empty = shape.back() == 0;
    DType sum_dtype = dtype;
    if (dtype == DType::bool_ || is_signed_integer(dtype)) sum_dtype = DType::int64;
    if (is_unsigned_integer(dtype)) sum_dtype = DType::uint64;
    const bool half = dtype == DType::float16;
    const double n = static_cast<double>(shape.back());
    // Sums in another order; small numbers cancel. (Extreme ones only where no sum overflows.)
    if (!wild || is_integer(dtype) || dtype == DType::bool_) {
      const Tolerance sums{half ? 1e-3 : 1e-6, 1e-6 * n};
      compare(Op::sum, {&x}, sum_dtype, out, {shape.size() == 1}, {}, sums);
    }
    compare(Op::prod, {&x}, sum_dtype, out, {shape.size() == 1});
    compare(Op::all, {&x}, DType::bool_, out, {shape.size() == 1});
    compare(Op::any, {&x}, DType::bool_, out, {shape.size() == 1});
    // Of no elements there is none: the front end refuses, and only numbers have a bound to give.
    if (is_complex(dtype) || (empty && dtype == DType::bool_)) continue;
    compare(Op::max, {&x}, dtype, out);
    compare(Op::min, {&x}, dtype, out);
    if (empty) continue;
    compare(Op::argmax, {&x}, DType::int64, out);
    compare(Op::argmin, {&x}, DType::int64, out);
  }
  // An explicit dtype, and special sums.
  Array x = random_array(DType::int8, {5, 700});
  compare(Op::sum, {&x}, DType::int16, {5});
  compare(Op::sum, {&x}, DType::float32, {5});
  compare(Op::prod, {&x}, DType::complex64, {5});
  for (const DType dtype : {DType::float16, DType::float32}) {
    for (const float v : {-0.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
      Array y = cpu::testing::empty(dtype, {3, 600});
      for (std::int64_t i = 0; i < 3; ++i) {
        for (std::int64_t j = 0; j < 600; ++j) {
          if (dtype == DType::float16) y.get<float16>({i, j}) = cpu::to_half(v);
          if (dtype == DType::float32) y.get<float>({i, j}) = v;
        }
      }
      compare(Op::sum, {&y}, dtype, {3});
    }
  }
}

// However an array lies in memory, a sum has the same bits.
void test_sum_of_layouts() {
  for (const std::int64_t n : {9, 300, 513, 5000}) {
    Array rows = random_array(DType::float32, {40, n}, true);
    Array columns = cpu::testing::empty(DType::float32, {n, 40});
    for (std::int64_t i = 0; i < 40; ++i) {
      for (std::int64_t j = 0; j < n; ++j) columns.get<float>({j, i}) = rows.get<float>({i, j});
    }
    columns.layout = Layout(Shape{40, n}, Shape{1, 40}, 0);
    Target a(DType::float32, {40}), b(DType::float32, {40});
    metal::testing::DirectEncoder encoder;
    Params params;
    params.ints = {0};
    for (auto [x, to] : {std::pair{&rows, &a}, std::pair{&columns, &b}}) {
      const metal::Operand in = operand_of(*x), out = operand_of(to->array);
      metal::find_kernel(Op::sum)(metal::Launch{params, {&in, 1}, out, false, encoder});
    }
    CHECK(a.array.storage == b.array.storage);
  }
}

void test_rows() {
  for (int round = 0; round < rounds(40); ++round) {
    const DType dtype = round % 2 ? DType::float32 : DType::float16;
    Shape shape = reduced_shape();
    if (shape.back() == 0) shape.back() = 600;
    if (round > 36) shape = {2, 70000};
    const std::int64_t n = shape.back();
    Array x = round % 4 == 0 ? wild_array(dtype, shape) : random_array(dtype, shape);
    const double eps = dtype == DType::float16 ? 1e-3 : 1e-6;
    compare(Op::softmax, {&x}, dtype, shape, {}, {}, {4 * eps, dtype == DType::float16 ? 1e-7 : 0});
    compare(Op::logsumexp, {&x}, dtype, without_last(shape), {}, {}, {2 * eps, 2e-6});
    if (round % 4 == 0) continue;
    Array weight = random_array(dtype, {n}), bias = random_array(dtype, {n});
    compare(Op::rms_norm, {&x, &weight}, dtype, shape, {}, {1e-5}, {2 * eps, 0});
    if (round > 36) continue;
    compare(Op::layer_norm, {&x, &weight, &bias}, dtype, shape, {}, {1e-5}, {2 * eps, 50 * eps});
  }
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const std::int64_t n : {10, 300, 40000}) {
    Array x = cpu::testing::empty(DType::float32, {3, n});
    for (std::int64_t j = 0; j < n; ++j) {
      x.get<float>({0, j}) = -infinity;
      x.get<float>({1, j}) = j % 2 ? -infinity : 3.0f;
      x.get<float>({2, j}) = j == n / 2 ? infinity : 0.0f;
    }
    compare(Op::softmax, {&x}, DType::float32, {3, n}, {}, {}, {1e-5, 0});
    compare(Op::logsumexp, {&x}, DType::float32, {3}, {}, {}, {1e-5, 0});
  }
}

void test_scans() {
  for (int round = 0; round < rounds(60); ++round) {
    const DType dtype = dtypes[round % 12];
    const Shape shape = reduced_shape();
    DType out = dtype;
    if (dtype == DType::bool_ || is_signed_integer(dtype)) out = DType::int64;
    if (is_unsigned_integer(dtype)) out = DType::uint64;
    // The order is the CPU's, so the bits are.
    Array x = round % 2 ? wild_array(dtype, shape) : random_array(dtype, shape);
    compare(Op::cumulative_sum, {&x}, out, shape);
    compare(Op::cumulative_prod, {&x}, out, shape);
  }
  Array x = random_array(DType::int16, {3, 1300});
  compare(Op::cumulative_sum, {&x}, DType::int8, {3, 1300});
  compare(Op::cumulative_sum, {&x}, DType::float32, {3, 1300});
  compare(Op::cumulative_prod, {&x}, DType::complex64, {3, 1300});
  Array column = random_array(DType::float32, {40, 70}, true);
  column.layout = Layout(Shape{70, 40}, Shape{1, 70}, 0);
  compare(Op::cumulative_sum, {&column}, DType::float32, {70, 40});
}

void test_sorting() {
  for (int round = 0; round < rounds(66); ++round) {
    const DType dtype = dtypes[round % 11];
    Shape shape = reduced_shape();
    if (round % 7 == 0) shape.back() = pick(1, 3000);
    Array x = round % 2 ? wild_array(dtype, shape) : random_array(dtype, shape);
    const std::int64_t descending = round / 2 % 2;
    compare(Op::sort, {&x}, dtype, shape, {descending});
    compare(Op::argsort, {&x}, DType::int64, shape, {descending});
  }
  // Zeros of either sign are equal, and stay in their order.
  for (const DType dtype : {DType::float16, DType::float32}) {
    for (const std::int64_t n : {20, 2500}) {
      Array x = cpu::testing::empty(dtype, {n});
      for (std::int64_t i = 0; i < n; ++i) {
        const float v = pick(0, 2) == 0 ? 1.0f : pick(0, 1) ? -0.0f : 0.0f;
        if (dtype == DType::float16) x.get<float16>({i}) = cpu::to_half(v);
        if (dtype == DType::float32) x.get<float>({i}) = v;
      }
      Target expected(dtype, {n}), got(dtype, {n});
      cpu::testing::run(cpu::find_kernel(Op::sort), {&x}, expected.array, {0});
      Params params;
      params.ints = {0};
      const metal::Operand in = operand_of(x), out = operand_of(got.array);
      DirectEncoder encoder;
      metal::find_kernel(Op::sort)(metal::Launch{params, {&in, 1}, out, false, encoder});
      CHECK(expected.array.storage == got.array.storage);
    }
  }
}

void test_searchsorted() {
  for (int round = 0; round < rounds(44); ++round) {
    const DType dtype = dtypes[round % 11];
    const std::int64_t n = pick(0, 200);
    Array x = wild_array(dtype, {n}, true), sorted = cpu::testing::empty(dtype, {n});
    cpu::testing::run(cpu::find_kernel(Op::sort), {&x}, sorted, {0});
    const Shape shape = random_shape(static_cast<int>(pick(0, 3)), 8);
    Array values = wild_array(dtype, shape);
    for (const std::int64_t right : {0, 1}) {
      compare(Op::searchsorted, {&sorted, &values}, DType::int64, shape, {right});
    }
  }
}

void test_random_numbers() {
  for (const std::int64_t seed :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{0x123456789abcdef}}) {
    for (const std::int64_t n : {0, 1, 2, 3, 5, 64, 1003}) {
      const std::int64_t offset = seed * 77 + n;
      for (const DType dtype : {DType::uint32, DType::uint64}) {
        compare(Op::random_bits, {}, dtype, {n}, {seed, offset});
      }
      compare(Op::random_uniform, {}, DType::float32, {n}, {seed, offset}, {0, 1});
      compare(Op::random_uniform, {}, DType::float32, {n}, {seed, offset}, {-3e38, 3e38});
      compare(Op::random_uniform, {}, DType::float32, {n}, {seed, offset}, {1, 1 + 1e-6});
      compare(Op::random_normal, {}, DType::float32, {n}, {seed, offset}, {0, 1}, {1e-6, 1e-8});
      compare(Op::random_normal, {}, DType::float32, {n}, {seed, offset}, {5, 0.1}, {1e-6, 0});
      for (const DType dtype : dtypes) {
        if (!is_integer(dtype)) continue;
        compare(Op::random_integers, {}, dtype, {n}, {seed, offset, -100, 28});
        compare(Op::random_integers, {}, dtype, {n}, {seed, offset, 7, std::int64_t{1} << 32});
        compare(Op::random_integers, {}, dtype, {n},
                {seed, offset, std::numeric_limits<std::int64_t>::min(),
                 std::numeric_limits<std::int64_t>::max()});
      }
    }
  }
}

// What Metal has no type for is refused, not computed otherwise.
void test_refusals() {
  for (const DType dtype : {DType::float64, DType::complex128}) {
    Array x = random_array(dtype, {4});
    Target to(dtype, {4});
    const metal::Operand in = operand_of(x), out = operand_of(to.array);
    Params params;
    params.ints = {0, 0};
    params.floats = {0, 0};
    for (const Op op : {Op::copy, Op::sum, Op::softmax, Op::sort, Op::cumulative_sum, Op::max}) {
      DirectEncoder encoder;
      metal::find_kernel(op)(metal::Launch{params, {&in, 1}, out, false, encoder});
      CHECK(encoder.failure.code == Code::internal && encoder.dispatches == 0);
    }
  }
}

}  // namespace

int main(int count, char** names) {
  run_tests(count, names,
            {
                {"copy", test_copy},
                {"arange", test_arange},
                {"reductions", test_reductions},
                {"sum_of_layouts", test_sum_of_layouts},
                {"rows", test_rows},
                {"scans", test_scans},
                {"sorting", test_sorting},
                {"searchsorted", test_searchsorted},
                {"random_numbers", test_random_numbers},
                {"refusals", test_refusals},
            });
}
