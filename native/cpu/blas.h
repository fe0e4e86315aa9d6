// BLAS and LAPACK on one thread, behind one C++ interface: today OpenBLAS, loaded at run time
// from the scipy-openblas64 or scipy-openblas32 package; the pool does the splitting.
#pragma once

#include <complex>
#include <cstdint>
#include <type_traits>

namespace nitinol::cpu::blas {

template <class T>
concept Scalar = std::is_same_v<T, float> || std::is_same_v<T, double> ||
                 std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

// Loads the shared library at `library_path` as a copy of its own (NumPy's threads and settings
// stay as they are) and sets it to one thread. false when it cannot be loaded or lacks a routine;
// load_error() then says why. Loading again is a no-op once it has succeeded.
bool load(const char* library_path) noexcept;
bool loaded() noexcept;
const char* load_error() noexcept;
// "int64" or "int32" (the width of the library's own indices), "" before it is loaded.
const char* index_width() noexcept;

// Everything below needs loaded(); indices the library cannot take are split or computed here.

// c = alpha * op(a) @ op(b) + beta * c, row-major; op(a) is m x k, op(b) k x n. With beta == 0 the
// old c is never read.
template <Scalar T>
void gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
          T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
          std::int64_t ldc) noexcept;

inline void sgemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n,
                  std::int64_t k, float alpha, const float* a, std::int64_t lda, const float* b,
                  std::int64_t ldb, float beta, float* c, std::int64_t ldc) noexcept {
  gemm<float>(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
inline void dgemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n,
                  std::int64_t k, double alpha, const double* a, std::int64_t lda, const double* b,
                  std::int64_t ldb, double beta, double* c, std::int64_t ldc) noexcept {
  gemm<double>(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// y = op(a) @ x where a is a row-major m x n matrix; elements of x lie `incx` >= 1 apart, y is
// contiguous.
template <Scalar T>
void gemv(bool transpose, std::int64_t m, std::int64_t n, const T* a, std::int64_t lda, const T* x,
          std::int64_t incx, T* y) noexcept;

// LAPACK, on column-major matrices. The result is `info`: 0, or the 1-based place of the failure;
// negative when the call itself was refused. `pivots` holds n entries, to be read with pivot().
template <Scalar T>
std::int64_t getrf(std::int64_t n, T* a, std::int64_t lda, std::int64_t* pivots) noexcept;
template <Scalar T>
std::int64_t getrs(bool transpose, std::int64_t n, std::int64_t columns, const T* lu,
                   std::int64_t lda, const std::int64_t* pivots, T* b, std::int64_t ldb) noexcept;
// `work` holds `work_size` elements (at least n; getri_work(n) is the size to prefer).
template <Scalar T>
std::int64_t getri(std::int64_t n, T* lu, std::int64_t lda, const std::int64_t* pivots, T* work,
                   std::int64_t work_size) noexcept;
constexpr std::int64_t getri_work(std::int64_t n) noexcept { return 64 * n; }
template <Scalar T>
std::int64_t potrf(bool upper, std::int64_t n, T* a, std::int64_t lda) noexcept;

// The 0-based row that was exchanged with row i.
std::int64_t pivot(const std::int64_t* pivots, std::int64_t i) noexcept;

}  // namespace nitinol::cpu::blas
