// Walking strided arrays: dimensions shared by several operands, joined where that
// leaves the order of elements alone, and an odometer over them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernel.h"
#include "cpu/pool.h"

// Compiles a function once per x86-64 level and picks one at load time. The clones
// give the same bits: contraction to fused multiply-add is off for the whole build.
// Sanitizers run before the resolvers may, and clang refuses templates.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define NITINOL_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define NITINOL_CLONES
#endif

// For bodies that must take on the instruction set of the clone that calls them.
#define NITINOL_INLINE inline __attribute__((always_inline))

namespace nitinol::cpu::kernels {

// Elements a unit of parallel work should at least hold: about 10 us of moving memory.
inline constexpr std::int64_t parallel_grain = 32768;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }
constexpr std::int64_t magnitude(std::int64_t v) noexcept { return v < 0 ? -v : v; }

// How many work items of `cost` elements each make one grain.
constexpr std::int64_t items_per_grain(std::int64_t cost) noexcept {
  return cost >= parallel_grain ? 1 : cost <= 1 ? parallel_grain : parallel_grain / cost;
}

// The dimensions of K operands, strides in the unit that the caller chose. Left
// uninitialised beyond ndim: clearing 64 dimensions would cost more than a small op.
template <int K>
struct Nest {
  int ndim = 0;
  bool empty = false;
  std::int64_t shape[max_ndim];
  std::int64_t strides[K][max_ndim];

  // Adds a dimension inside those there are; drops one of size 1 and joins it to
  // its neighbour where every operand walks both as one.
  void push(std::int64_t n, const std::int64_t (&s)[K]) noexcept {
    if (n == 0) empty = true;
    if (n == 1) return;
    if (ndim > 0) {
      bool join = true;
      for (int k = 0; k < K; ++k) join = join && strides[k][ndim - 1] == s[k] * n;
      if (join) {
        shape[ndim - 1] *= n;
        for (int k = 0; k < K; ++k) strides[k][ndim - 1] = s[k];
        return;
      }
    }
    shape[ndim] = n;
    for (int k = 0; k < K; ++k) strides[k][ndim] = s[k];
    ++ndim;
  }

  // Takes dimension `d` out and gives its size and strides.
  std::int64_t take(int d, std::int64_t (&s)[K]) noexcept {
    const std::int64_t n = shape[d];
    for (int k = 0; k < K; ++k) s[k] = strides[k][d];
    for (int i = d + 1; i < ndim; ++i) {
      shape[i - 1] = shape[i];
      for (int k = 0; k < K; ++k) strides[k][i - 1] = strides[k][i];
    }
    --ndim;
    return n;
  }

  std::int64_t size() const noexcept {
    if (empty) return 0;
    std::int64_t n = 1;
    for (int i = 0; i < ndim; ++i) n *= shape[i];
    return n;
  }
};

// Offsets of K operands over the first `dims` dimensions of a nest, in row-major
// order from any flat position.
template <int K>
class Odometer {
 public:
  Odometer(const Nest<K>& nest, int dims, std::int64_t flat) noexcept : nest_(nest), dims_(dims) {
    for (int k = 0; k < K; ++k) offset[k] = 0;
    for (int d = dims - 1; d >= 0; --d) {
      const std::int64_t n = nest.shape[d];
      const std::int64_t rest = flat / n;
      index_[d] = flat - rest * n;
      flat = rest;
      for (int k = 0; k < K; ++k) offset[k] += index_[d] * nest.strides[k][d];
    }
  }

  void next() noexcept {
    for (int d = dims_ - 1; d >= 0; --d) {
      for (int k = 0; k < K; ++k) offset[k] += nest_.strides[k][d];
      if (++index_[d] < nest_.shape[d]) return;
      for (int k = 0; k < K; ++k) offset[k] -= nest_.shape[d] * nest_.strides[k][d];
      index_[d] = 0;
    }
  }

  std::int64_t offset[K];

 private:
  const Nest<K>& nest_;
  int dims_;
  std::int64_t index_[max_ndim];
};

// The row-major strides, in elements, of `shape`.
inline void row_major(std::span<const std::int64_t> shape, std::int64_t* strides) noexcept {
  std::int64_t s = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = s;
    s *= shape[d];
  }
}

// Elements as values that are only moved.
struct Item16 {
  std::uint64_t low, high;
};

// Calls f(std::type_identity<U>{}) with a plain type of `size` bytes.
template <class F>
decltype(auto) dispatch_size(std::size_t size, F&& f) {
  switch (size) {
    case 1:
      return f(std::type_identity<std::uint8_t>{});
    case 2:
      return f(std::type_identity<std::uint16_t>{});
    case 4:
      return f(std::type_identity<std::uint32_t>{});
    case 8:
      return f(std::type_identity<std::uint64_t>{});
    default:
      break;
  }
  return f(std::type_identity<Item16>{});
}

// A kernel that got operands its contract rules out says so rather than guessing.
inline void refuse(const Launch& launch) noexcept { launch.fault.raise(0, Code::internal); }

inline void refuse_memory(const Launch& launch, std::size_t bytes) noexcept {
  launch.fault.raise(0, Code::out_of_memory, static_cast<std::int64_t>(bytes));
}

}  // namespace nitinol::cpu::kernels
