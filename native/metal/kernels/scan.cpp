// cumulative_sum and cumulative_prod over the last axis.
#include "metal/kernels/copy.h"
#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// As on the CPU, for the same bits.
constexpr std::int64_t section = 512;
constexpr std::int64_t sections_per_group = 64;  // a thread each

// As in scan.metal.
struct Scan {
  std::int64_t n, stride, rows, section, sections;
};

struct Types {
  std::string_view accumulator, zero, one;
  std::size_t size;
  bool exact;
};

Types types_of(DType dtype) noexcept {
  if (is_complex(dtype)) return {"float2", "float2(-0.0f, -0.0f)", "float2(1.0f, 0.0f)", 8, false};
  if (is_real_floating(dtype)) return {"float", "-0.0f", "1.0f", 4, false};
  return {"ulong", "0", "1", 8, true};
}

void scan(const Launch& launch, const Operand& x, bool product) noexcept {
  Encoder& encoder = launch.encoder;
  const Layout& layout = *x.layout;
  const int axis = layout.ndim() - 1;
  const Walk walk = walk_of(layout, axis);
  const Types types = types_of(x.dtype);
  Scan p{layout.shape(axis), layout.stride(axis), walk.size(), section, 1};
  // A section of a product alone may overflow where the product so far is small.
  if (p.n < section || (product && !types.exact)) p.section = p.n;
  p.sections = ceil_div(p.n, p.section);
  Defines defines;
  defines.add("IN", x.dtype)
      .add("ACC", types.accumulator)
      .add("OUT", launch.output.dtype)
      .add("IDENTITY", product ? types.one : types.zero);
  if (product) defines.add("PRODUCT", "1");
  const std::int64_t all = p.rows * p.sections;
  const Grid groups = grid_of(ceil_div(all, sections_per_group));
  Operand totals = launch.output;  // not read where there is one section
  if (p.sections > 1) {
    totals = encoder.scratch(static_cast<std::size_t>(all) * types.size);
    defines.pipeline(encoder, "scan", "scan_totals");
    encoder.buffer(0, x);
    encoder.buffer(1, totals);
    walk.bind(encoder, 3);
    bind_value(encoder, 4, p);
    encoder.dispatch(groups, {sections_per_group, 1, 1});
    defines.pipeline(encoder, "scan", "scan_prefix");
    encoder.buffer(1, totals);
    bind_value(encoder, 4, p);
    encoder.dispatch(grid_of(p.rows), {32, 1, 1});
  }
  defines.pipeline(encoder, "scan", "scan_sections");
  encoder.buffer(0, x);
  encoder.buffer(1, totals);
  encoder.buffer(2, launch.output);
  walk.bind(encoder, 3);
  bind_value(encoder, 4, p);
  encoder.dispatch(groups, {sections_per_group, 1, 1});
}

void run(const Launch& launch, bool product) noexcept {
  if (refused(launch)) return;
  const DType out = launch.output.dtype;
  if (out == DType::bool_) return refuse(launch);
  Operand x = launch.inputs[0];
  if (x.layout->size() == 0) return;
  const bool whole = is_integer(x.dtype) || x.dtype == DType::bool_;
  const bool directly = (whole && is_integer(out)) || x.dtype == out;
  // Along an axis that is far from dense every element would be a memory access of its own.
  const int axis = x.layout->ndim() - 1;
  const bool sparse = axis > 0 && magnitude(x.layout->stride(axis)) > 8;
  if (directly && !sparse) return scan(launch, x, product);
  try {
    const Layout layout(x.layout->shape());
    const DType dtype = directly ? x.dtype : out;
    Operand dense =
        launch.encoder.scratch(static_cast<std::size_t>(layout.size()) * itemsize(dtype));
    if (directly) {
      copy_dense(launch.encoder, x, dense);
    } else {
      convert_dense(launch.encoder, x, dtype, dense);
    }
    dense.layout = &layout;
    dense.dtype = dtype;
    scan(launch, dense, product);
  } catch (const std::bad_alloc&) {
    launch.encoder.fail(Fault{Code::out_of_memory});
  }
}

}  // namespace

void cumulative_sum(const Launch& launch) noexcept { run(launch, false); }
void cumulative_prod(const Launch& launch) noexcept { run(launch, true); }

}  // namespace nitinol::metal::kernels
