// Launching the kernels of rows.metal.
#pragma once

#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {

class RowLaunch {
 public:
  // Rows along the last axis of x, whose results are of the type `dtype`.
  RowLaunch(const Operand& x, DType dtype) noexcept
      : walk_(walk_of(*x.layout, x.layout->ndim() - 1)), dtype_(dtype) {
    const Layout& layout = *x.layout;
    const int axis = layout.ndim() - 1;
    rows_.n = layout.shape(axis);
    rows_.stride = layout.stride(axis);
    rows_.count = walk_.size();
    rows_.parts = 1;
  }

  std::int64_t n() const noexcept { return rows_.n; }
  std::int64_t count() const noexcept { return rows_.count; }
  std::int64_t parts() const noexcept { return rows_.parts; }
  void cut(std::int64_t parts) noexcept { rows_.parts = parts; }
  void set_parameters(std::int64_t weight_stride, std::int64_t bias_stride, double eps) noexcept {
    rows_.weight_stride = weight_stride;
    rows_.bias_stride = bias_stride;
    rows_.eps = static_cast<float>(eps);
  }

  void start(Encoder& encoder, std::string_view function) const noexcept {
    Defines().add("T", dtype_).add("ROW_THREADS", threads()).pipeline(encoder, "rows", function);
    walk_.bind(encoder, 4);
    bind_value(encoder, 5, rows_);
  }
  void dispatch(Encoder& encoder) const noexcept {
    const std::int64_t rows_per_group = group_threads / threads();
    encoder.dispatch(grid_of(ceil_div(rows_.count, rows_per_group)), {group_threads, 1, 1});
  }
  // A threadgroup for each part of each row.
  void dispatch_parts(Encoder& encoder) const noexcept {
    encoder.dispatch(grid_of(rows_.count * rows_.parts), {group_threads, 1, 1});
  }

 private:
  // A simdgroup for short rows.
  std::int64_t threads() const noexcept { return rows_.n <= 256 ? 32 : group_threads; }

  // As in rows.metal.
  struct Rows {
    std::int64_t n = 0, stride = 0, count = 0, weight_stride = 0, bias_stride = 0, parts = 1;
    float eps = 0;
  };

  Walk walk_;
  DType dtype_;
  Rows rows_;
};

}  // namespace nitinol::metal::kernels
