// softmax and logsumexp: rows split over the threads, and long rows over blocks of fixed length.
#include "cpu/kernels/softmax.h"

#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "cpu/kernels/rows.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

// Partial results are kept for each block of a row and joined in order, whoever computed them.
constexpr std::int64_t block = 32768;

// What float32 takes from the SIMD tables, float64 does with the C library.
float row_max(const float* x, std::int64_t n) noexcept { return simd::kernels().rows.max(x, n); }
double row_max(const double* x, std::int64_t n) noexcept {
  double best = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}
float row_exp_sum(const float* x, std::int64_t n, float shift, float* out) noexcept {
  return simd::kernels().rows.exp_sum(x, n, shift, out);
}
double row_exp_sum(const double* x, std::int64_t n, double shift, double* out) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += out[i] = std::exp(x[i] - shift);
  return sum;
}
float row_sum_exp(const float* x, std::int64_t n, float shift) noexcept {
  return simd::kernels().rows.sum_exp(x, n, shift);
}
double row_sum_exp(const double* x, std::int64_t n, double shift) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - shift);
  return sum;
}
void row_scale(float* x, std::int64_t n, float factor) noexcept {
  simd::kernels().rows.scale(x, n, factor);
}
void row_scale(double* x, std::int64_t n, double factor) noexcept {
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

// `partial` holds an entry for each block.
template <class T>
T blocked_max(const T* x, std::int64_t n, T* partial) noexcept {
  if (n <= block) return row_max(x, n);
  parallel_for(n, block, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / block] = row_max(x + begin, end - begin);
  });
  return row_max(partial, (n + block - 1) / block);
}

template <class T, class F>
T blocked_sum(std::int64_t n, T* partial, F sum_of) noexcept {
  if (n <= block) return sum_of(std::int64_t{0}, n);
  parallel_for(n, block, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / block] = sum_of(begin, end);
  });
  T sum = 0;
  for (std::int64_t i = 0; i < (n + block - 1) / block; ++i) sum += partial[i];
  return sum;
}

template <class T>
void softmax_row(const T* x, std::int64_t n, T* out, T* partial) noexcept {
  const T largest = blocked_max(x, n, partial);
  const T sum = blocked_sum(n, partial, [&](std::int64_t begin, std::int64_t end) {
    return row_exp_sum(x + begin, end - begin, largest, out + begin);
  });
  const T factor = 1 / sum;
  parallel_for(n, block, [&](std::int64_t begin, std::int64_t end) {
    row_scale(out + begin, end - begin, factor);
  });
}

template <class T>
T logsumexp_row(const T* x, std::int64_t n, T* partial) noexcept {
  const T largest = blocked_max(x, n, partial);
  // An infinite maximum would give inf - inf; without a shift the sum is 0 or inf, as it should.
  const T shift = std::isfinite(largest) ? largest : T{0};
  const T sum = blocked_sum(n, partial, [&](std::int64_t begin, std::int64_t end) {
    return row_sum_exp(x + begin, end - begin, shift);
  });
  return shift + std::log(sum);
}

// Splits `rows` so that few long rows are worked on one after the other, each by all threads.
template <class F>
void for_rows(std::int64_t rows, std::int64_t n, F body) noexcept {
  parallel_for(rows, n > block && rows < 16 ? rows : row_grain(n), body);
}

// Element type T, computed in Work. `row_of` turns row r, brought together in Work, into output;
// it is given its source, the row's number, room for partial results, and room for a row of Work.
template <class T, class Work, class F>
void run_rows(const Launch& launch, bool gather_needs_room, F row_of) noexcept {
  const View& x = launch.inputs[0];
  const Layout& layout = *x.layout;
  const std::int64_t n = layout.shape(layout.ndim() - 1);
  const std::int64_t stride = layout.stride(layout.ndim() - 1);
  const std::int64_t rows = product_of_shape(layout, layout.ndim() - 1);
  const bool direct = std::is_same_v<T, Work> && rows_are_dense(layout);
  const std::int64_t blocks = n / block + 1;
  const std::int64_t room = gather_needs_room && !direct ? n : 0;
  for_rows(rows, n, [&](std::int64_t begin, std::int64_t end) {
    // Rows of one block need no room for partial results.
    const std::int64_t bytes =
        ((n > block ? blocks : 0) + room) * static_cast<std::int64_t>(sizeof(Work));
    std::optional<Scratch> scratch;
    if (bytes > 0) {
      scratch.emplace(static_cast<std::size_t>(bytes));
      if (!*scratch) return raise_out_of_memory(launch, begin, bytes);
    }
    Work* gathered = scratch ? scratch->as<Work>() : nullptr;
    Work* partial = gathered + room;
    RowWalker walker(layout, 1, begin);
    for (std::int64_t r = begin; r < end; ++r, walker.next()) {
      const T* from = x.as<const T>() + walker.offset();
      if constexpr (std::is_same_v<T, Work>) {
        row_of(r, direct, from, stride, gathered, partial, n);
      } else {
        row_of(r, false, from, stride, gathered, partial, n);
      }
    }
  });
}

template <class T, class Work>
void softmax_of(const Launch& launch) noexcept {
  T* out = launch.output.as<T>();
  constexpr bool same = std::is_same_v<T, Work>;
  run_rows<T, Work>(launch, !same,
                    [&](std::int64_t r, bool direct, const T* from, std::int64_t stride,
                        Work* gathered, Work* partial, std::int64_t n) {
                      T* to = out + r * n;
                      if constexpr (same) {
                        if (!direct) copy_row(from, stride, n, to);
                        softmax_row<Work>(direct ? from : to, n, to, partial);
                      } else {
                        copy_row(from, stride, n, gathered);
                        softmax_row<Work>(gathered, n, gathered, partial);
                        copy_row(gathered, 1, n, to);
                      }
                    });
}

template <class T, class Work>
void logsumexp_of(const Launch& launch) noexcept {
  T* out = launch.output.as<T>();
  run_rows<T, Work>(launch, true,
                    [&](std::int64_t r, bool direct, const T* from, std::int64_t stride,
                        Work* gathered, Work* partial, std::int64_t n) {
                      if constexpr (std::is_same_v<T, Work>) {
                        if (direct) {
                          out[r] = logsumexp_row<Work>(from, n, partial);
                          return;
                        }
                      }
                      copy_row(from, stride, n, gathered);
                      out[r] = static_cast<T>(logsumexp_row<Work>(gathered, n, partial));
                    });
}

}  // namespace

void softmax(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  switch (launch.output.dtype) {
    case DType::float16:
      return softmax_of<float16, float>(launch);
    case DType::float32:
      return softmax_of<float, float>(launch);
    default:
      return softmax_of<double, double>(launch);
  }
}

void logsumexp(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  switch (launch.output.dtype) {
    case DType::float16:
      return logsumexp_of<float16, float>(launch);
    case DType::float32:
      return logsumexp_of<float, float>(launch);
    default:
      return logsumexp_of<double, double>(launch);
  }
}

}  // namespace nitinol::cpu::kernels
