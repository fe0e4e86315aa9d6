// What the attention kernels share: the operands of one launch, and which keys a query sees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// A 4-d operand: batch, head, position, feature.
template <class T>
struct Operand {
  const T* data;
  std::int64_t stride[4];
  const T* row(std::int64_t b, std::int64_t h, std::int64_t i) const noexcept {
    return data + b * stride[0] + h * stride[1] + i * stride[2];
  }
};

// Element e of the mask's storage as a number to add to a score.
template <class T>
T mask_value(const View& mask, std::int64_t e) noexcept {
  switch (mask.dtype) {
    case DType::bool_:
      return mask.as<const bool>()[e] ? T{0} : -std::numeric_limits<T>::infinity();
    case DType::float16:
      return static_cast<T>(mask.as<const float16>()[e]);
    case DType::float32:
      return static_cast<T>(mask.as<const float>()[e]);
    default:
      return static_cast<T>(mask.as<const double>()[e]);
  }
}

struct Problem {
  std::int64_t batch, heads, kv_heads, queries, d, dv;
  std::int64_t keys;  // the valid ones
  bool causal;
  double scale;
  const View* mask;  // null: none

  explicit Problem(const Launch& launch) noexcept {
    const Layout &q = *launch.inputs[0].layout, &k = *launch.inputs[1].layout;
    batch = q.shape(0);
    heads = q.shape(1);
    queries = q.shape(2);
    d = q.shape(3);
    kv_heads = k.shape(1);
    keys = k.shape(2);
    dv = launch.inputs[2].layout->shape(3);
    causal = launch.params.ints[0] != 0;
    scale = launch.params.floats[0];
    std::size_t next = 3;
    mask = launch.params.ints[1] ? &launch.inputs[next++] : nullptr;
    if (launch.params.ints[2]) {
      const std::int64_t valid = *launch.inputs[next].as<const std::int64_t>();
      if (valid < 0 || valid > keys) {
        launch.fault.raise(0, Code::index_out_of_range, valid, 2, keys);
      } else {
        keys = valid;
      }
    }
  }

  std::int64_t group() const noexcept { return heads / kv_heads; }
  // Query i sees the keys before this one.
  std::int64_t visible(std::int64_t i) const noexcept {
    return causal ? std::clamp<std::int64_t>(i + keys - queries + 1, 0, keys) : keys;
  }
  // Adds the mask to the scores of query i and the keys from `first` on.
  template <class T>
  void add_mask(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t first,
                std::int64_t count, T* scores) const noexcept {
    if (!mask) return;
    const Layout& l = *mask->layout;
    const auto at = [&](int axis, std::int64_t index) {
      return l.shape(axis) == 1 ? 0 : index * l.stride(axis);
    };
    const std::int64_t start = at(0, b) + at(1, h) + at(2, i) + at(3, first);
    const std::int64_t step = l.shape(3) == 1 ? 0 : l.stride(3);
    if (mask->dtype == DType::float32 && step == 1) {
      const float* values = mask->as<const float>() + start;
      for (std::int64_t j = 0; j < count; ++j) scores[j] += static_cast<T>(values[j]);
    } else if (mask->dtype == DType::bool_ && step == 1) {
      const bool* keep = mask->as<const bool>() + start;
      for (std::int64_t j = 0; j < count; ++j) {
        scores[j] = keep[j] ? scores[j] : -std::numeric_limits<T>::infinity();
      }
    } else {
      for (std::int64_t j = 0; j < count; ++j) {
        const T value = mask_value<T>(*mask, start + j * step);
        // A masked score is -inf whatever it was, NaN included.
        scores[j] = mask->dtype == DType::bool_ && value != 0 ? value : scores[j] + value;
      }
    }
  }
};

// Operands whose features lie side by side; T: float or float16.
template <class T>
struct Operands {
  Operand<float> q;
  Operand<T> k, v;
};

// A few queries a head (decoding): straight over the keys, in blocks of fixed length.
template <class T>
void attend_few(const Launch& launch, const Problem& p, const Operands<T>& x, float* out) noexcept;
// Many queries: tiles of scores through BLAS.
template <class T>
void attend_many(const Launch& launch, const Problem& p, const Operands<T>& x, float* out) noexcept;

}  // namespace nitinol::cpu::kernels
