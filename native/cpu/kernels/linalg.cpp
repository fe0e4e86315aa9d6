// Linear algebra on batches of matrices: each matrix goes through LAPACK on one thread, the batch
// over the pool; what LAPACK's info says becomes the fault of the first matrix that failed.
#include "cpu/kernels/linalg.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <utility>

#include "cpu/blas.h"
#include "cpu/kernels/linalg_small.h"
#include "cpu/kernels/matmul.h"
#include "cpu/pool.h"

namespace nitinol::cpu::kernels {
namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::size_t bytes) noexcept {
  return (bytes + alignment - 1) & ~(alignment - 1);
}

template <class T>
bool is_nan(T x) noexcept {
  return x != x;
}

// Copies a matrix of any strides to contiguous rows; with rows and columns exchanged, to the
// column-major order that LAPACK reads.
template <class T>
void gather(const T* source, std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
            std::int64_t column_stride, T* target) noexcept {
  constexpr std::int64_t block = 32;  // both sides of a transposition stay in cache
  for (std::int64_t i0 = 0; i0 < rows; i0 += block) {
    for (std::int64_t j0 = 0; j0 < columns; j0 += block) {
      const std::int64_t i1 = std::min(rows, i0 + block), j1 = std::min(columns, j0 + block);
      for (std::int64_t i = i0; i < i1; ++i) {
        for (std::int64_t j = j0; j < j1; ++j) {
          target[i * columns + j] = source[i * row_stride + j * column_stride];
        }
      }
    }
  }
}

template <class T>
bool has_nan(const T* source, std::int64_t n, std::int64_t row_stride,
             std::int64_t column_stride) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      if (is_nan(source[i * row_stride + j * column_stride])) return true;
    }
  }
  return false;
}

template <class T>
void transpose_square(T* a, std::int64_t n) noexcept {
  constexpr std::int64_t block = 32;
  for (std::int64_t i0 = 0; i0 < n; i0 += block) {
    for (std::int64_t j0 = 0; j0 <= i0; j0 += block) {
      for (std::int64_t i = i0; i < std::min(n, i0 + block); ++i) {
        for (std::int64_t j = j0; j < std::min(i, j0 + block); ++j) {
          std::swap(a[i * n + j], a[j * n + i]);
        }
      }
    }
  }
}

// Calls one(index, workspace) for each matrix of the batch, `workspace` bytes of it reused within
// a chunk of the batch.
template <class F>
void for_each_matrix(const Launch& launch, std::int64_t batch, std::int64_t n,
                     std::size_t workspace, F&& one) noexcept {
  const std::int64_t cost = std::max<std::int64_t>(1, n) * std::max<std::int64_t>(1, n);
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / cost);
  parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
    Scratch memory(std::max<std::size_t>(workspace, 1));
    if (!memory) {
      launch.fault.raise(begin, Code::out_of_memory, static_cast<std::int64_t>(workspace));
      return;
    }
    for (std::int64_t index = begin; index < end; ++index) one(index, memory.as<char>());
  });
}

// A matrix with a NaN has NaN for a result; LAPACK may call it singular, which says nothing.
template <class T>
void fill_nan(T* target, std::int64_t count) noexcept {
  using Real = decltype(std::abs(T{}));
  T nan{std::numeric_limits<Real>::quiet_NaN()};
  if constexpr (!std::is_same_v<T, Real>) nan.imag(nan.real());
  std::fill_n(target, count, nan);
}

// Raises what a factorisation's info says of matrix `index`, unless a NaN made it.
template <class T>
void report(const Launch& launch, std::int64_t index, std::int64_t info, Code code,
            std::int64_t place, bool nan, T* target, std::int64_t count) noexcept {
  if (info < 0) {
    launch.fault.raise(index, Code::internal, info);
  } else if (nan) {
    fill_nan(target, count);
  } else {
    launch.fault.raise(index, code, index, place);
  }
}

// LU of a column-major matrix, and what is made of it; who does it depends on the order alone.
template <class T>
std::int64_t factorise(std::int64_t n, T* a, std::int64_t* pivots) noexcept {
  return n <= small_order ? small_lu(n, a, pivots) : blas::getrf(n, a, n, pivots);
}

template <class T>
std::int64_t solve_factorised(std::int64_t n, std::int64_t columns, const T* lu,
                              const std::int64_t* pivots, T* b) noexcept {
  if (n > small_order) return blas::getrs(false, n, columns, lu, n, pivots, b, n);
  small_solve(n, columns, lu, pivots, b);
  return 0;
}

std::int64_t pivot_of(std::int64_t n, const std::int64_t* pivots, std::int64_t i) noexcept {
  return n <= small_order ? pivots[i] : blas::pivot(pivots, i);
}

template <class T>
void inv_of(const Launch& launch, const MatrixBatch& a) noexcept {
  const std::int64_t n = a.rows;
  const std::size_t pivot_bytes = aligned(static_cast<std::size_t>(n) * sizeof(std::int64_t));
  const std::int64_t work_size = n <= small_order ? n * n : blas::getri_work(n);
  const std::size_t bytes = pivot_bytes + static_cast<std::size_t>(work_size) * sizeof(T);
  for_each_matrix(launch, a.batch(), n, bytes, [&](std::int64_t index, char* memory) {
    auto* pivots = reinterpret_cast<std::int64_t*>(memory);
    T* work = reinterpret_cast<T*>(memory + pivot_bytes);
    const T* source = reinterpret_cast<const T*>(a.data) + a.offset(index);
    T* target = launch.output.as<T>() + index * n * n;
    T* lu = n <= small_order ? work : target;
    gather(source, n, n, a.column_stride, a.row_stride, lu);
    std::int64_t info = factorise(n, lu, pivots);
    if (info == 0 && n <= small_order) {
      std::fill_n(target, n * n, T{});
      for (std::int64_t i = 0; i < n; ++i) target[i * n + i] = T{1};
      info = solve_factorised(n, n, lu, pivots, target);
    } else if (info == 0) {
      info = blas::getri(n, lu, n, pivots, work, work_size);
    }
    if (info == 0) {
      transpose_square(target, n);
    } else {
      report(launch, index, info, Code::singular_matrix, info - 1,
             has_nan(source, n, a.row_stride, a.column_stride), target, n * n);
    }
  });
}

template <class T>
void solve_of(const Launch& launch, const MatrixBatch& a, const MatrixBatch& b) noexcept {
  const std::int64_t n = a.rows, columns = b.columns;
  const std::size_t pivot_bytes = aligned(static_cast<std::size_t>(n) * sizeof(std::int64_t));
  const std::size_t matrix_bytes = aligned(static_cast<std::size_t>(n * n) * sizeof(T));
  const std::size_t bytes = pivot_bytes + matrix_bytes +
                            (columns == 1 ? 0 : static_cast<std::size_t>(n * columns) * sizeof(T));
  for_each_matrix(launch, a.batch(), n, bytes, [&](std::int64_t index, char* memory) {
    auto* pivots = reinterpret_cast<std::int64_t*>(memory);
    T* lu = reinterpret_cast<T*>(memory + pivot_bytes);
    const T* source = reinterpret_cast<const T*>(a.data) + a.offset(index);
    const T* right = reinterpret_cast<const T*>(b.data) + b.offset(index);
    T* target = launch.output.as<T>() + index * n * columns;
    // One column is its own transpose and is solved where it goes.
    T* x = columns == 1 ? target : reinterpret_cast<T*>(memory + pivot_bytes + matrix_bytes);
    gather(source, n, n, a.column_stride, a.row_stride, lu);
    gather(right, columns, n, b.column_stride, b.row_stride, x);
    std::int64_t info = factorise(n, lu, pivots);
    if (info == 0) info = solve_factorised(n, columns, lu, pivots, x);
    if (info != 0) {
      report(launch, index, info, Code::singular_matrix, info - 1,
             has_nan(source, n, a.row_stride, a.column_stride), target, n * columns);
    } else if (columns != 1) {
      gather(x, n, columns, 1, n, target);
    }
  });
}

// Row-major memory read column-major is the transpose, which for a Hermitian matrix is the
// conjugate; so the lower factor in rows is what LAPACK calls the upper one, and no copy is turned.
template <class T>
void cholesky_of(const Launch& launch, const MatrixBatch& a, bool upper) noexcept {
  const std::int64_t n = a.rows;
  for_each_matrix(launch, a.batch(), n, 0, [&](std::int64_t index, char*) {
    const T* source = reinterpret_cast<const T*>(a.data) + a.offset(index);
    T* target = launch.output.as<T>() + index * n * n;
    bool nan = false;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t begin = upper ? i : 0, end = upper ? n : i + 1;
      std::fill(target + i * n, target + i * n + begin, T{});
      for (std::int64_t j = begin; j < end; ++j) {
        const T value = source[i * a.row_stride + j * a.column_stride];
        nan |= is_nan(value);
        target[i * n + j] = value;
      }
      std::fill(target + i * n + end, target + (i + 1) * n, T{});
    }
    const std::int64_t info = blas::potrf(!upper, n, target, n);
    if (info != 0) {
      report(launch, index, info, Code::not_positive_definite, info, nan, target, n * n);
    }
  });
}

// A product kept as fraction * 2^exponent, so that it overflows only when the result does.
template <class T>
struct ScaledProduct {
  T fraction{1};
  std::int64_t exponent = 0;

  void multiply(T x) noexcept {
    fraction *= scaled(x, exponent);
    fraction = scaled(fraction, exponent);
  }
  T value() const noexcept {
    const int e = static_cast<int>(std::clamp<std::int64_t>(exponent, -10000, 10000));
    if constexpr (std::is_floating_point_v<T>) {
      return std::ldexp(fraction, e);
    } else {
      return {std::ldexp(fraction.real(), e), std::ldexp(fraction.imag(), e)};
    }
  }

 private:
  // x / 2^e with magnitude about 1; e is added to `exponent`.
  static T scaled(T x, std::int64_t& exponent) noexcept {
    if constexpr (std::is_floating_point_v<T>) {
      if (x == 0 || !std::isfinite(x)) return x;
      int e;
      x = std::frexp(x, &e);
      exponent += e;
      return x;
    } else {
      const auto magnitude = std::max(std::abs(x.real()), std::abs(x.imag()));
      if (magnitude == 0 || !std::isfinite(x.real()) || !std::isfinite(x.imag())) return x;
      int e;
      std::frexp(magnitude, &e);
      exponent += e;
      return {std::ldexp(x.real(), -e), std::ldexp(x.imag(), -e)};
    }
  }
};

template <class T>
void det_of(const Launch& launch, const MatrixBatch& a) noexcept {
  const std::int64_t n = a.rows;
  const std::size_t pivot_bytes = aligned(static_cast<std::size_t>(n) * sizeof(std::int64_t));
  const std::size_t bytes = pivot_bytes + static_cast<std::size_t>(n * n) * sizeof(T);
  for_each_matrix(launch, a.batch(), n, bytes, [&](std::int64_t index, char* memory) {
    auto* pivots = reinterpret_cast<std::int64_t*>(memory);
    T* lu = reinterpret_cast<T*>(memory + pivot_bytes);
    const T* source = reinterpret_cast<const T*>(a.data) + a.offset(index);
    T& target = launch.output.as<T>()[index];
    gather(source, n, n, a.column_stride, a.row_stride, lu);
    const std::int64_t info = factorise(n, lu, pivots);
    if (info < 0) {
      launch.fault.raise(index, Code::internal, info);
    } else if (info > 0) {
      target = T{};
      if (has_nan(source, n, a.row_stride, a.column_stride)) fill_nan(&target, 1);
    } else {
      ScaledProduct<T> product;
      for (std::int64_t i = 0; i < n; ++i) {
        const T factor = lu[i * n + i];
        product.multiply(pivot_of(n, pivots, i) == i ? factor : -factor);
      }
      target = product.value();
    }
  });
}

// The four element types LAPACK has; anything else is a bug of the builder.
template <class F>
void with_lapack_type(const Launch& launch, F&& f) noexcept {
  const DType dtype = launch.inputs[0].dtype;
  for (const View& input : launch.inputs) {
    if (input.dtype != launch.output.dtype) return launch.fault.raise(0, Code::internal);
  }
  if (!blas::loaded()) return launch.fault.raise(0, Code::internal);
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::complex64:
      return f(complex64{});
    case DType::complex128:
      return f(complex128{});
    default:
      return launch.fault.raise(0, Code::internal);
  }
}

}  // namespace

void inv(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  const MatrixBatch a = MatrixBatch::of(launch.inputs[0]);
  with_lapack_type(launch, [&](auto zero) { inv_of<decltype(zero)>(launch, a); });
}

void solve(const Launch& launch) noexcept {
  const MatrixBatch a = MatrixBatch::of(launch.inputs[0]);
  const MatrixBatch b = MatrixBatch::of(launch.inputs[1]);
  // No right-hand side: still an error when a matrix is singular, as in LAPACK.
  if (a.rows == 0) return;
  with_lapack_type(launch, [&](auto zero) { solve_of<decltype(zero)>(launch, a, b); });
}

void cholesky(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  const MatrixBatch a = MatrixBatch::of(launch.inputs[0]);
  const bool upper = !launch.params.ints.empty() && launch.params.ints[0] == 1;
  with_lapack_type(launch, [&](auto zero) { cholesky_of<decltype(zero)>(launch, a, upper); });
}

void det(const Launch& launch) noexcept {
  const MatrixBatch a = MatrixBatch::of(launch.inputs[0]);
  with_lapack_type(launch, [&](auto zero) { det_of<decltype(zero)>(launch, a); });
}

}  // namespace nitinol::cpu::kernels
