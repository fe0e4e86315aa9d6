// rms_norm and layer_norm, a row at a time.
#include "cpu/kernels/norms.h"

#include <cmath>
#include <optional>
#include <type_traits>

#include "cpu/kernels/rows.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

void rms_norm_row(const float* x, const float* weight, const float*, std::int64_t n, double eps,
                  float* out) noexcept {
  simd::kernels().rows.rms_norm(x, weight, n, static_cast<float>(eps), out);
}
void rms_norm_row(const double* x, const double* weight, const double*, std::int64_t n, double eps,
                  double* out) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const double factor = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * factor * weight[i];
}
void layer_norm_row(const float* x, const float* weight, const float* bias, std::int64_t n,
                    double eps, float* out) noexcept {
  simd::kernels().rows.layer_norm(x, weight, bias, n, static_cast<float>(eps), out);
}
void layer_norm_row(const double* x, const double* weight, const double* bias, std::int64_t n,
                    double eps, double* out) noexcept {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

// Inputs and output of type T, computed in Work; `parameters` is the number of row vectors
// (weight, bias) behind x.
template <class T, class Work, class Row>
void run(const Launch& launch, int parameters, Row row_of) noexcept {
  const View& x = launch.inputs[0];
  const Layout& layout = *x.layout;
  const int last = layout.ndim() - 1;
  const std::int64_t n = layout.shape(last), stride = layout.stride(last);
  const double eps = launch.params.floats[0];
  constexpr bool same = std::is_same_v<T, Work>;

  // The vectors as dense rows of Work; mostly they are that already.
  const auto usable = [&](int p) {
    const Layout& l = *launch.inputs[static_cast<std::size_t>(1 + p)].layout;
    return same && (l.stride(0) == 1 || n == 1);
  };
  std::optional<Scratch> vectors;
  const Work* weight[2] = {nullptr, nullptr};
  for (int p = 0; p < parameters; ++p) {
    const View& from = launch.inputs[static_cast<std::size_t>(1 + p)];
    if (usable(p)) {
      weight[p] = from.as<const Work>();
      continue;
    }
    if (!vectors) {
      const std::int64_t bytes = parameters * n * static_cast<std::int64_t>(sizeof(Work));
      vectors.emplace(static_cast<std::size_t>(bytes));
      if (!*vectors) return raise_out_of_memory(launch, -1, bytes);
    }
    Work* to = vectors->as<Work>() + p * n;
    copy_row(from.as<const T>(), from.layout->stride(0), n, to);
    weight[p] = to;
  }

  const bool direct = same && rows_are_dense(layout);
  T* out = launch.output.as<T>();
  parallel_for(product_of_shape(layout, last), row_grain(n),
               [&](std::int64_t begin, std::int64_t end) {
                 std::optional<Scratch> scratch;
                 if constexpr (!same) {
                   const std::int64_t bytes = 2 * n * static_cast<std::int64_t>(sizeof(Work));
                   scratch.emplace(static_cast<std::size_t>(bytes));
                   if (!*scratch) return raise_out_of_memory(launch, begin, bytes);
                 }
                 RowWalker walker(layout, 1, begin);
                 for (std::int64_t r = begin; r < end; ++r, walker.next()) {
                   const T* from = x.as<const T>() + walker.offset();
                   T* to = out + r * n;
                   if constexpr (same) {
                     if (!direct) copy_row(from, stride, n, to);
                     row_of(direct ? from : to, weight[0], weight[1], n, eps, to);
                   } else {
                     Work* work = scratch->as<Work>();
                     copy_row(from, stride, n, work);
                     row_of(work, weight[0], weight[1], n, eps, work + n);
                     copy_row(work + n, 1, n, to);
                   }
                 }
               });
}

template <class Row>
void run_any(const Launch& launch, int parameters, Row row_of) noexcept {
  if (launch.output.layout->size() == 0) return;
  switch (launch.output.dtype) {
    case DType::float16:
      return run<float16, float>(launch, parameters, row_of);
    case DType::float32:
      return run<float, float>(launch, parameters, row_of);
    default:
      return run<double, double>(launch, parameters, row_of);
  }
}

}  // namespace

void rms_norm(const Launch& launch) noexcept {
  run_any(launch, 1, [](auto... a) { rms_norm_row(a...); });
}

void layer_norm(const Launch& launch) noexcept {
  run_any(launch, 2, [](auto... a) { layer_norm_row(a...); });
}

}  // namespace nitinol::cpu::kernels
