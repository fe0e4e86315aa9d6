// where, and the real and imaginary parts of complex numbers.
#include "cpu/loops_families.h"

namespace nitinol::cpu::loops {
namespace {

template <class T>
int where_loop(void*, char* const* data, const std::intptr_t* dimensions,
               const std::intptr_t* strides, void*) noexcept {
  const std::intptr_t n = *dimensions;
  if (n <= 0) return 0;
  constexpr std::intptr_t item = sizeof(T);
  const auto* condition = reinterpret_cast<const std::uint8_t*>(data[0]);
  const T* x = reinterpret_cast<const T*>(data[1]);
  const T* y = reinterpret_cast<const T*>(data[2]);
  T* out = reinterpret_cast<T*>(data[3]);
  const bool dense = strides[0] == 1 && strides[3] == item;
  if (dense && strides[1] == item && strides[2] == item) {
    for (std::intptr_t i = 0; i < n; ++i) {
      const T a = x[i], b = y[i];
      out[i] = condition[i] ? a : b;
    }
  } else if (dense && strides[1] == item && strides[2] == 0) {
    const T b = *y;
    for (std::intptr_t i = 0; i < n; ++i) {
      const T a = x[i];
      out[i] = condition[i] ? a : b;
    }
  } else if (dense && strides[1] == 0 && strides[2] == item) {
    const T a = *x;
    for (std::intptr_t i = 0; i < n; ++i) {
      const T b = y[i];
      out[i] = condition[i] ? a : b;
    }
  } else if (dense && strides[1] == 0 && strides[2] == 0) {
    const T a = *x, b = *y;
    for (std::intptr_t i = 0; i < n; ++i) out[i] = condition[i] ? a : b;
  } else {
    for (std::intptr_t i = 0; i < n; ++i) {
      const T a = load<T>(data[1], i, strides[1]), b = load<T>(data[2], i, strides[2]);
      *reinterpret_cast<T*>(data[3] + i * strides[3]) = data[0][i * strides[0]] ? a : b;
    }
  }
  return 0;
}

template <class Part, bool imaginary>
int part_loop(void*, char* const* data, const std::intptr_t* n, const std::intptr_t* strides,
              void*) noexcept {
  using Complex = std::complex<Part>;
  map<Complex, Part>(data, *n, strides, [](Complex v) { return imaginary ? v.imag() : v.real(); });
  return 0;
}

// A real number is its own real part, and its imaginary part is zero.
template <class T>
int zero_loop(void*, char* const* data, const std::intptr_t* n, const std::intptr_t* strides,
              void*) noexcept {
  map<T, T>(data, *n, strides, [](T) { return T{}; });
  return 0;
}

}  // namespace

StridedLoop where(DType dtype) noexcept {
  return kernels::dispatch_size(
      itemsize(dtype), []<class T>(std::type_identity<T>) -> StridedLoop { return where_loop<T>; });
}

StridedLoop complex_part(Op op, DType in) noexcept {
  const bool imaginary = op == Op::imag;
  if (in == DType::complex64) return imaginary ? part_loop<float, true> : part_loop<float, false>;
  if (in == DType::complex128) {
    return imaginary ? part_loop<double, true> : part_loop<double, false>;
  }
  if (!imaginary) return cast(in, in);
  return kernels::dispatch_size(
      itemsize(in), []<class T>(std::type_identity<T>) -> StridedLoop { return zero_loop<T>; });
}

}  // namespace nitinol::cpu::loops
