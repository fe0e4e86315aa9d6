// Linear algebra: one threadgroup a matrix.
// Faults: for a matrix of order n, number m of the batch, the position m * n + p says that pivot p
// (counted from 0) of it was zero (inv, solve), or that its leading minor of order p + 1 was not
// positive (cholesky).
#include <algorithm>

#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// The kernels' argument of this name.
struct Matrices {
  std::int64_t count;
  std::int64_t a[2], b[2];
  std::int64_t n, columns;
};

struct Problem {
  Matrices p{};
  Walk batch{2};
  std::int64_t simdgroups = 1;

  // `b`: null where there is one operand alone.
  Problem(const Operand& a, const Operand* b) noexcept {
    const Layout& layout = *a.layout;
    const int axes = layout.ndim() - 2;
    p.count = 1;
    for (int d = 0; d < axes; ++d) {
      batch.push(layout.shape(d), {layout.stride(d), b ? b->layout->stride(d) : 0});
      p.count *= layout.shape(d);
    }
    p.n = layout.shape(axes);
    p.a[0] = layout.stride(axes);
    p.a[1] = layout.stride(axes + 1);
    if (b) {
      p.b[0] = b->layout->stride(axes);
      p.b[1] = b->layout->stride(axes + 1);
      p.columns = b->layout->shape(axes + 1);
    }
    // Barriers cost more than small matrices have work.
    simdgroups = std::max(p.n, p.columns) <= 32 ? 1 : 8;
  }

  void launch(Encoder& encoder, Defines& defines, std::string_view function, const Operand& out,
              const Operand& a) const noexcept {
    defines.add("T", out.dtype).add("IS_COMPLEX", is_complex(out.dtype) ? "1" : "0");
    defines.add("SIMDGROUPS", simdgroups);
    defines.pipeline(encoder, "linalg", function);
    encoder.buffer(0, out);
    encoder.buffer(1, a);
    bind_value(encoder, 3, p);
    batch.bind(encoder, 4);
  }
  Operand work(Encoder& encoder, DType dtype) const noexcept {
    return encoder.scratch(static_cast<std::size_t>(p.count * p.n * p.n) * itemsize(dtype));
  }
  void dispatch(Encoder& encoder) const noexcept {
    encoder.dispatch(grid_of(p.count), {static_cast<std::uint32_t>(32 * simdgroups), 1, 1});
  }
};

// The types that LAPACK has, less those that this device lacks; anything else is a bug.
bool is_fit(const Launch& launch) noexcept {
  if (refused(launch)) return false;
  bool fit = launch.output.dtype == DType::float32 || launch.output.dtype == DType::complex64;
  for (const Operand& input : launch.inputs) fit = fit && input.dtype == launch.output.dtype;
  if (!fit) refuse(launch);
  return fit;
}

void solve_for(const Launch& launch, const Operand* b) noexcept {
  Encoder& encoder = launch.encoder;
  Problem problem(launch.inputs[0], b);
  if (!b) {
    problem.p.columns = problem.p.n;
  }
  if (problem.p.count == 0 || problem.p.n == 0) return;
  const Operand work = problem.work(encoder, launch.output.dtype);
  if (encoder.failed()) return;
  Defines defines;
  defines.add("SOLVE", "1").add("INVERSE", b ? "0" : "1");
  problem.launch(encoder, defines, "solve", launch.output, launch.inputs[0]);
  encoder.buffer(2, work);
  encoder.fault(5);
  if (b) encoder.buffer(6, *b);
  problem.dispatch(encoder);
}

}  // namespace

void inv(const Launch& launch) noexcept {
  if (is_fit(launch)) solve_for(launch, nullptr);
}

// No right-hand side: still an error when a matrix is singular.
void solve(const Launch& launch) noexcept {
  if (is_fit(launch)) solve_for(launch, &launch.inputs[1]);
}

void cholesky(const Launch& launch) noexcept {
  if (!is_fit(launch)) return;
  const Problem problem(launch.inputs[0], nullptr);
  if (launch.output.layout->size() == 0) return;
  const bool upper = !launch.params.ints.empty() && launch.params.ints[0] == 1;
  Defines defines;
  defines.add("CHOLESKY", "1").add("UPPER", upper ? "1" : "0");
  problem.launch(launch.encoder, defines, "cholesky", launch.output, launch.inputs[0]);
  launch.encoder.fault(5);
  problem.dispatch(launch.encoder);
}

void det(const Launch& launch) noexcept {
  if (!is_fit(launch)) return;
  const Problem problem(launch.inputs[0], nullptr);
  if (problem.p.count == 0) return;
  const Operand work = problem.work(launch.encoder, launch.output.dtype);
  if (launch.encoder.failed()) return;
  Defines defines;
  defines.add("DETERMINANT", "1");
  problem.launch(launch.encoder, defines, "det", launch.output, launch.inputs[0]);
  launch.encoder.buffer(2, work);
  problem.dispatch(launch.encoder);
}

}  // namespace nitinol::metal::kernels
