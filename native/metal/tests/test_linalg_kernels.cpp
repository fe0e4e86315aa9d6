// Linear algebra on Metal: matrices of any strides against the CPU's LAPACK, singular ones, NaN.
// OpenBLAS as for native/tests/test_linalg.cpp.
#include <algorithm>
#include <limits>

#include "kernel_case.h"
#include "load_blas.h"

using namespace nitinol;
using namespace nitinol::metal;
using namespace nitinol::metal::testing;

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// Random matrices with a heavy diagonal, so that results are accurate; of any order in memory, but
// no element twice.
Array well_conditioned(DType dtype, const Shape& shape) {
  Array a = random_numbers(dtype, shape, -1, 1, true);
  if (pick(0, 1) == 0) {
    do {
      a = random_numbers(dtype, shape, -1, 1);
    } while (std::ranges::count(a.layout.strides(), 0) > 0);
  }
  const std::int64_t n = shape.back();
  for (std::int64_t i = 0; i < product(shape); ++i) {
    const Shape at = cpu::testing::unravel(i, shape);
    // Beside the diagonal, so that rows have to be exchanged.
    if ((at.end()[-2] + 1) % n != at.back()) continue;
    if (dtype == DType::complex64) {
      a.get<complex64>(at) = {static_cast<float>(2 * n), 1};
    } else {
      a.get<float>(at) = static_cast<float>(2 * n);
    }
  }
  return a;
}

// m @ m^H + 1 of a random m.
Array positive_definite(DType dtype, const Shape& shape) {
  Array m = random_numbers(dtype, shape, -1, 1, true), a = random_array(dtype, shape, true);
  const std::int64_t n = shape.back();
  for (std::int64_t i = 0; i < product(shape); ++i) {
    const Shape at = cpu::testing::unravel(i, shape);
    Shape left = at, right = at;
    right.end()[-2] = at.back();
    complex128 sum = at.end()[-2] == at.back() ? 1 : 0;
    for (std::int64_t k = 0; k < n; ++k) {
      left.back() = right.back() = k;
      if (dtype == DType::complex64) {
        sum += complex128(m.get<complex64>(left)) * std::conj(complex128(m.get<complex64>(right)));
      } else {
        sum += static_cast<double>(m.get<float>(left)) * static_cast<double>(m.get<float>(right));
      }
    }
    if (dtype == DType::complex64) {
      a.get<complex64>(at) = {static_cast<float>(sum.real()), static_cast<float>(sum.imag())};
    } else {
      a.get<float>(at) = static_cast<float>(sum.real());
    }
  }
  return a;
}

Shape with(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  Shape shape(batch.size() + 2, rows);
  std::copy(batch.begin(), batch.end(), shape.begin());
  shape.back() = columns;
  return shape;
}

void test_random() {
  for (const DType dtype : {DType::float32, DType::complex64}) {
    for (int round = 0; round < 40; ++round) {
      const std::int64_t n = round % 5 == 0   ? pick(33, 60)
                             : round % 5 == 1 ? pick(0, 2)
                                              : pick(1, 20);
      const Shape batch = random_shape(static_cast<int>(pick(0, 2)), 4);
      const Shape shape = with(batch, n, n);
      Array a = well_conditioned(dtype, shape);
      const double tolerance = 2e-5;
      check({Op::inv, {&a}, shape, dtype}, tolerance, "inv");
      const std::int64_t columns = round % 3 == 0 ? 1 : pick(0, 40);
      Array b = random_numbers(dtype, with(batch, n, columns), -1, 1);
      check({Op::solve, {&a, &b}, with(batch, n, columns), dtype}, tolerance, "solve");
      check({Op::det, {&a}, batch, dtype}, 1e-4, "det");
      Array p = positive_definite(dtype, shape);
      for (const std::int64_t upper : {0, 1}) {
        check({Op::cholesky, {&p}, shape, dtype, {upper}}, 1e-4, "cholesky");
      }
      // One matrix for the whole batch.
      if (batch.size() == 1 && n > 0) {
        Array one = well_conditioned(dtype, {n, n});
        one.layout = Layout(shape, Shape{0, one.layout.stride(0), one.layout.stride(1)},
                            one.layout.offset());
        check({Op::solve, {&one, &b}, with(batch, n, columns), dtype}, tolerance, "solve");
      }
    }
  }
}

// Which matrix of a batch, and where in it.
void test_faults() {
  for (const DType dtype : {DType::float32, DType::complex64}) {
    for (const std::int64_t n : {3, 40}) {
      Array a = well_conditioned(dtype, {5, n, n});
      const auto put = [&](Array& to, const Shape& at, float value) {
        if (dtype == DType::complex64) {
          to.get<complex64>(at) = value;
        } else {
          to.get<float>(at) = value;
        }
      };
      for (const std::int64_t matrix : {3, 2}) {  // row and column of zeros
        for (std::int64_t i = 0; i < n; ++i) {
          put(a, {matrix, i, n - 1}, 0);
          put(a, {matrix, n - 1, i}, 0);
        }
        const auto position = static_cast<std::uint64_t>(matrix * n + n - 1);
        check_fault({Op::inv, {&a}, {5, n, n}, dtype}, Code::singular_matrix, position);
        const Result r = run_both({Op::inv, {&a}, {5, n, n}, dtype});
        CHECK(r.fault.args[0] == matrix && r.fault.args[1] == n - 1);
        for (const std::int64_t columns : {0, 1, 4}) {
          Array b = random_numbers(dtype, {5, n, columns}, -1, 1);
          check_fault({Op::solve, {&a, &b}, {5, n, columns}, dtype}, Code::singular_matrix,
                      position);
        }
        check({Op::det, {&a}, {5}, dtype}, 1e-4, "det");
      }
      Array p = positive_definite(dtype, {4, n, n});
      for (const std::int64_t matrix : {2, 1}) {
        put(p, {matrix, 1, 1}, -1);
        for (const std::int64_t upper : {0, 1}) {
          const Case cholesky{Op::cholesky, {&p}, {4, n, n}, dtype, {upper}};
          check_fault(cholesky, Code::not_positive_definite,
                      static_cast<std::uint64_t>(matrix * n + 1));
          CHECK(run_both(cholesky).fault.args[1] == 2);
        }
      }
      // A NaN makes a result of NaN, not a fault.
      Array strange = well_conditioned(dtype, {2, n, n}),
            definite = positive_definite(dtype, {2, n, n});
      for (std::int64_t i = 0; i < n; ++i) put(strange, {1, i, 0}, 0);
      put(strange, {1, 1, 1}, nan);
      check({Op::inv, {&strange}, {2, n, n}, dtype}, 1e-4, "inv of NaN");
      check({Op::det, {&strange}, {2}, dtype}, 1e-4, "det of NaN");
      put(definite, {0, 2, 2}, nan);
      check({Op::cholesky, {&definite}, {2, n, n}, dtype, {0}}, 1e-4, "cholesky of NaN");
    }
  }
  // Whether a matrix is singular is a matter of rounding: here it is the CPU's.
  for (int round = 0; round < 200; ++round) {
    Array a = random_array(DType::float32, {3, 3}, true);
    for (std::int64_t i = 0; i < 9; ++i) a.data<float>()[i] = static_cast<float>(pick(-3, 3)) / 3;
    const Case inverse{Op::inv, {&a}, {3, 3}, DType::float32};
    const Result r = run_both(inverse);
    CHECK((r.fault.code == Code::singular_matrix) == r.failed());
    if (r.failed()) CHECK(r.fault.args[1] == r.position);
  }
}

void test_extremes() {
  // The product of the pivots over- or underflows on the way, not in the end.
  for (const float size : {1e30f, 1e-30f}) {
    Array a = random_array(DType::float32, {4, 4}, true);
    for (std::int64_t i = 0; i < 16; ++i) a.data<float>()[i] = 0;
    for (std::int64_t i = 0; i < 4; ++i) a.get<float>({i, 3 - i}) = i % 2 ? 1 / size : size;
    check({Op::det, {&a}, {}, DType::float32}, 1e-6, "det of extremes");
  }
  Array a = array_of<float>(DType::float32, {2, 2}, {infinity, 1, 2, 3});
  check({Op::det, {&a}, {}, DType::float32}, 1e-6, "det of an infinity");
  Array none = random_array(DType::float32, {3, 0, 0});
  check({Op::det, {&none}, {3}, DType::float32}, 1e-6, "det of nothing");
}

}  // namespace

int main(int argc, char** argv) {
  if (const int status = cpu::testing::load_blas(argc, argv)) return status;
  test_random();
  test_faults();
  test_extremes();
}
