// LU factorisation of small column-major matrices: below order 16 a call of LAPACK costs more than
// the arithmetic, and its workspace lock keeps threads from working side by side.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <utility>

namespace nitinol::cpu::kernels {

inline constexpr std::int64_t small_order = 16;

// What LAPACK compares to choose a pivot.
template <class R>
R pivot_size(R x) noexcept {
  return std::abs(x);
}
template <class R>
R pivot_size(const std::complex<R>& x) noexcept {
  return std::abs(x.real()) + std::abs(x.imag());
}

// (a + bi)(c + di) without the C++ rules for infinities, which cost a branch a product.
template <class R>
R plain_product(R x, R y) noexcept {
  return x * y;
}
template <class R>
std::complex<R> plain_product(const std::complex<R>& x, const std::complex<R>& y) noexcept {
  return {x.real() * y.real() - x.imag() * y.imag(), x.real() * y.imag() + x.imag() * y.real()};
}

// As LAPACK's getrf: the 1-based place of the first zero pivot, or 0; `pivots` are 0-based.
template <class T>
std::int64_t small_lu(std::int64_t n, T* a, std::int64_t* pivots) noexcept {
  std::int64_t info = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    T* column = a + j * n;
    std::int64_t p = j;
    for (std::int64_t i = j + 1; i < n; ++i) {
      if (pivot_size(column[i]) > pivot_size(column[p])) p = i;
    }
    pivots[j] = p;
    if (column[p] == T{}) {
      if (info == 0) info = j + 1;
      continue;
    }
    if (p != j) {
      for (std::int64_t l = 0; l < n; ++l) std::swap(a[l * n + j], a[l * n + p]);
    }
    for (std::int64_t i = j + 1; i < n; ++i) column[i] /= column[j];
    for (std::int64_t l = j + 1; l < n; ++l) {
      T* other = a + l * n;
      for (std::int64_t i = j + 1; i < n; ++i) other[i] -= plain_product(column[i], other[j]);
    }
  }
  return info;
}

// Solves for the columns of `b`, in place.
template <class T>
void small_solve(std::int64_t n, std::int64_t columns, const T* lu, const std::int64_t* pivots,
                 T* b) noexcept {
  for (std::int64_t c = 0; c < columns; ++c, b += n) {
    for (std::int64_t j = 0; j < n; ++j) {
      if (pivots[j] != j) std::swap(b[j], b[pivots[j]]);
    }
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = j + 1; i < n; ++i) b[i] -= plain_product(lu[j * n + i], b[j]);
    }
    for (std::int64_t j = n - 1; j >= 0; --j) {
      b[j] /= lu[j * n + j];
      for (std::int64_t i = 0; i < j; ++i) b[i] -= plain_product(lu[j * n + i], b[j]);
    }
  }
}

}  // namespace nitinol::cpu::kernels
