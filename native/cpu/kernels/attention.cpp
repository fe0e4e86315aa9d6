// Attention: brings the operands into the form that the float32 kernels take; float64 in plain
// loops.
#include "cpu/kernels/attention.h"

#include <cmath>
#include <optional>

#include "cpu/kernels/attention_problem.h"
#include "cpu/kernels/rows.h"
#include "cpu/pool.h"

namespace nitinol::cpu::kernels {
namespace {

// Up to so many queries a head, reading keys and values once beats the packing that BLAS does.
constexpr std::int64_t few_queries = 8;

template <class T>
Operand<T> operand(const View& view) noexcept {
  const Layout& l = *view.layout;
  return {view.as<const T>(), {l.stride(0), l.stride(1), l.stride(2), l.stride(3)}};
}

// The first `length` positions as dense rows of type To; false when there is no memory for it.
template <class From, class To>
bool gather(const View& view, std::int64_t length, std::optional<Scratch>& room,
            Operand<To>& result, std::int64_t* bytes) noexcept {
  const Layout& l = *view.layout;
  const Operand<From> from = operand<From>(view);
  const std::int64_t d = l.shape(3), heads = l.shape(1), rows = l.shape(0) * heads * length;
  *bytes = std::max<std::int64_t>(rows * d * static_cast<std::int64_t>(sizeof(To)), 1);
  room.emplace(static_cast<std::size_t>(*bytes));
  if (!*room) return false;
  To* to = room->template as<To>();
  parallel_for(rows, row_grain(d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t i = r % length, h = r / length % heads, b = r / length / heads;
      copy_row(from.row(b, h, i), from.stride[3], d, to + r * d);
    }
  });
  result = {to, {heads * length * d, length * d, d, 1}};
  return true;
}

// The operand as rows of type T: as it lies where it can be, else a copy that `room` holds.
template <class T>
bool rows_of(const View& view, std::int64_t length, std::optional<Scratch>& room,
             Operand<T>& result, std::int64_t* bytes) noexcept {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (view.dtype == DType::float16) {
      return gather<float16, float>(view, length, room, result, bytes);
    }
  }
  const Layout& l = *view.layout;
  result = operand<T>(view);
  // BLAS takes rows that begin at a distance of at least their length.
  const bool usable =
      (l.stride(3) == 1 || l.shape(3) == 1) && (l.stride(2) >= l.shape(3) || l.shape(2) == 1);
  if (!usable && !gather<T, T>(view, length, room, result, bytes)) return false;
  if (result.stride[2] < l.shape(3)) result.stride[2] = l.shape(3);  // one row
  return true;
}

// Keys and values are read as T, which is float16 where both are.
template <class T>
void attend_rows(const Launch& launch, const Problem& p, float* out) noexcept {
  Operands<T> x{};
  std::optional<Scratch> room[3];
  std::int64_t bytes = 0;
  if (!rows_of(launch.inputs[0], p.queries, room[0], x.q, &bytes) ||
      !rows_of(launch.inputs[1], p.keys, room[1], x.k, &bytes) ||
      !rows_of(launch.inputs[2], p.keys, room[2], x.v, &bytes)) {
    return raise_out_of_memory(launch, 0, bytes);
  }
  (p.queries <= few_queries ? attend_few<T> : attend_many<T>)(launch, p, x, out);
}

void attend_float32(const Launch& launch, const Problem& p, float* out) noexcept {
  const bool half =
      launch.inputs[1].dtype == DType::float16 && launch.inputs[2].dtype == DType::float16;
  (half ? attend_rows<float16> : attend_rows<float>)(launch, p, out);
}

void attend_float64(const Launch& launch, const Problem& p) noexcept {
  const auto q = operand<double>(launch.inputs[0]), k = operand<double>(launch.inputs[1]),
             v = operand<double>(launch.inputs[2]);
  double* out = launch.output.as<double>();
  parallel_for(p.batch * p.heads * p.queries, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t bytes =
        std::max<std::int64_t>(p.keys, 1) * static_cast<std::int64_t>(sizeof(double));
    Scratch scratch(static_cast<std::size_t>(bytes));
    if (!scratch) return raise_out_of_memory(launch, begin, bytes);
    double* scores = scratch.as<double>();
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t i = r % p.queries, h = r / p.queries % p.heads;
      const std::int64_t b = r / p.queries / p.heads, hk = h / p.group();
      const std::int64_t visible = p.visible(i);
      for (std::int64_t j = 0; j < visible; ++j) {
        double sum = 0;
        for (std::int64_t c = 0; c < p.d; ++c) {
          sum += q.row(b, h, i)[c * q.stride[3]] * k.row(b, hk, j)[c * k.stride[3]];
        }
        scores[j] = sum * p.scale;
      }
      p.add_mask(b, h, i, 0, visible, scores);
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      for (std::int64_t j = 0; j < visible; ++j) largest = std::fmax(largest, scores[j]);
      if (largest == -std::numeric_limits<double>::infinity()) largest = 0;
      for (std::int64_t j = 0; j < visible; ++j) {
        scores[j] = std::exp(scores[j] - largest);
        total += scores[j];
      }
      for (std::int64_t c = 0; c < p.dv; ++c) {
        double sum = 0;
        for (std::int64_t j = 0; j < visible; ++j) {
          sum += scores[j] * v.row(b, hk, j)[c * v.stride[3]];
        }
        out[r * p.dv + c] = total == 0 ? 0 : sum / total;
      }
    }
  });
}

}  // namespace

void attention(const Launch& launch) noexcept {
  const std::int64_t size = launch.output.layout->size();
  const Problem p(launch);
  if (launch.fault.failed() || size == 0) return;
  if (launch.output.dtype == DType::float64) return attend_float64(launch, p);
  if (launch.output.dtype == DType::float32) {
    return attend_float32(launch, p, launch.output.as<float>());
  }
  const std::int64_t bytes = size * static_cast<std::int64_t>(sizeof(float));
  Scratch result(static_cast<std::size_t>(bytes));
  if (!result) return raise_out_of_memory(launch, 0, bytes);
  attend_float32(launch, p, result.as<float>());
  if (!launch.fault.failed()) copy_row(result.as<float>(), 1, size, launch.output.as<float16>());
}

}  // namespace nitinol::cpu::kernels
