// matmul: tiles of simdgroup matrices for float32 and float16 (summed in float32), vectors times a
// matrix where one side is a few rows, a thread an element for the rest.
#include <algorithm>

#include "metal/kernels/kernels.h"
#include "metal/kernels/region.h"

namespace nitinol::metal::kernels {
namespace {

// One operand as a batch of matrices, strides in elements.
struct Matrices {
  std::int64_t rows, columns, row_stride, column_stride;

  explicit Matrices(const Layout& layout) noexcept
      : rows(layout.shape(layout.ndim() - 2)),
        columns(layout.shape(layout.ndim() - 1)),
        row_stride(rows == 1 ? 0 : layout.stride(layout.ndim() - 2)),
        column_stride(columns == 1 ? 0 : layout.stride(layout.ndim() - 1)) {}
};

// The kernels' arguments of these names.
struct Product {
  std::int64_t a[2], b[2];
  std::int64_t m, n, k;
};
struct Place {
  std::int64_t vector, result, matrix;
};

// (batch..., m, k) @ (k, n) with one right-hand matrix is a single product of batch * m rows, where
// those rows lie evenly spaced. The batch is `walk` then: empty.
bool join_batch_with_rows(Matrices& a, const Walk& batch) noexcept {
  if (batch.ndim() == 0) return false;
  std::int64_t rows = a.rows, spacing = a.row_stride;
  for (int d = batch.ndim() - 1; d >= 0; --d) {
    if (batch.stride(1, d) != 0) return false;
    if (rows == 1) {
      spacing = batch.stride(0, d);
    } else if (batch.stride(0, d) != rows * spacing) {
      return false;
    }
    rows *= batch.shape(d);
  }
  a.rows = rows;
  a.row_stride = spacing;
  return true;
}

// Whether neighbours in memory are neighbours along k.
bool along(std::int64_t k_stride, std::int64_t other_stride) noexcept {
  return magnitude(k_stride) <= magnitude(other_stride) || other_stride == 0;
}

struct Problem {
  const Launch& launch;
  Product p{};
  Walk batch{2};
  std::int64_t count = 1;  // matrices of the batch

  void bind(const Operand& a, const Operand& b) const noexcept {
    launch.encoder.buffer(0, launch.output);
    launch.encoder.buffer(1, a);
    launch.encoder.buffer(2, b);
    bind_value(launch.encoder, 3, p);
    batch.bind(launch.encoder, 4);
  }
};

void multiply_elements(const Problem& problem) noexcept {
  const Launch& launch = problem.launch;
  const DType dtype = launch.output.dtype;
  const std::int64_t size = launch.output.layout->size();
  Defines defines;
  std::string_view type = msl_type(dtype), sum = type;
  std::string_view kind = "0";
  if (dtype == DType::bool_) {
    kind = "1";
  } else if (is_complex(dtype)) {
    kind = "2";
  } else if (dtype == DType::float16) {
    sum = "float";
  } else if (is_integer(dtype)) {
    // Unsigned numbers of the same width wrap as signed ones do, without undefined overflow.
    type = move_type(itemsize(dtype));
    sum = itemsize(dtype) == 8 ? "ulong" : "uint";
  }
  defines.add("T", type).add("ACC", sum).add("PLAIN", kind);
  defines.add("IS_FLOAT", is_real_floating(dtype) ? "1" : "0");
  add_index_type(defines, size);
  defines.pipeline(launch.encoder, "matmul", "multiply_elements");
  problem.bind(launch.inputs[0], launch.inputs[1]);
  bind_value(launch.encoder, 5, size);
  dispatch_elements(launch.encoder, size);
}

// Whether lines of k can be read by fours.
bool by_fours(const Operand& x, std::int64_t k_stride, std::int64_t line_stride, const Walk& batch,
              int operand) noexcept {
  bool fine = k_stride == 1 && line_stride % 4 == 0 && x.offset % (4 * itemsize(x.dtype)) == 0;
  for (int d = 0; d < batch.ndim(); ++d) fine = fine && batch.stride(operand, d) % 4 == 0;
  return fine;
}

// `swapped`: b has few columns, and the product is transposed: b's columns times a's rows.
void multiply_vectors(const Problem& problem, bool swapped) noexcept {
  const Launch& launch = problem.launch;
  Problem turned{launch, problem.p, Walk(2), problem.count};
  Product& p = turned.p;
  Place place{p.n, 1, p.m * p.n};
  if (swapped) {
    for (int d = 0; d < problem.batch.ndim(); ++d) {
      turned.batch.push(problem.batch.shape(d),
                        {problem.batch.stride(1, d), problem.batch.stride(0, d)});
    }
    p = Product{{problem.p.b[1], problem.p.b[0]},
                {problem.p.a[1], problem.p.a[0]},
                problem.p.n,
                problem.p.m,
                problem.p.k};
    place = {1, problem.p.n, problem.p.m * problem.p.n};
  } else {
    turned.batch = problem.batch;
  }
  const Operand& x = launch.inputs[swapped ? 1 : 0];
  const Operand& w = launch.inputs[swapped ? 0 : 1];
  const bool along_k = p.n == 1 || along(p.b[0], p.b[1]);
  const std::int64_t vectors = p.m <= 2 ? p.m : 4;
  constexpr std::int64_t simdgroups = 4, rows = 2;
  Defines defines;
  defines.add("T", x.dtype).add("VECTORS", vectors).add("SIMDGROUPS", simdgroups);
  if (along_k) {
    const bool fours = by_fours(x, p.a[1], p.a[0], turned.batch, 0) &&
                       by_fours(w, p.b[0], p.b[1], turned.batch, 1);
    defines.add("ALONG_K", "1").add("ROWS", rows).add("FOURS", fours ? "1" : "0");
  }
  defines.pipeline(launch.encoder, "matmul", "multiply_vectors");
  turned.bind(x, w);
  bind_value(launch.encoder, 5, place);
  const std::int64_t width = along_k ? rows * simdgroups : 32;
  launch.encoder.dispatch({static_cast<std::uint32_t>(ceil_div(p.n, width)),
                           static_cast<std::uint32_t>(ceil_div(p.m, vectors)),
                           static_cast<std::uint32_t>(turned.count)},
                          {32 * simdgroups, 1, 1});
}

void multiply_tiles(const Problem& problem) noexcept {
  const Launch& launch = problem.launch;
  const Product& p = problem.p;
  // Large tiles read each element less often; small ones keep more of the GPU at work.
  const std::int64_t large_tiles = ceil_div(p.m, 64) * ceil_div(p.n, 64) * problem.count;
  const std::int64_t tile = large_tiles >= 32 && p.m > 32 && p.n > 32 ? 64 : 32;
  Defines defines;
  defines.add("T", launch.output.dtype).add("TILE", tile);
  defines.add("A_ALONG_K", along(p.a[1], p.a[0]) ? "1" : "0");
  defines.add("B_ALONG_K", along(p.b[0], p.b[1]) ? "1" : "0");
  defines.pipeline(launch.encoder, "matmul", "multiply_tiles");
  problem.bind(launch.inputs[0], launch.inputs[1]);
  launch.encoder.dispatch(
      {static_cast<std::uint32_t>(ceil_div(p.n, tile)),
       static_cast<std::uint32_t>(ceil_div(p.m, tile)), static_cast<std::uint32_t>(problem.count)},
      {128, 1, 1});
}

}  // namespace

void matmul(const Launch& launch) noexcept {
  if (refused(launch)) return;
  if (launch.output.layout->size() == 0) return;
  const Layout &la = *launch.inputs[0].layout, &lb = *launch.inputs[1].layout;
  Matrices a(la), b(lb);
  Problem problem{launch};
  for (int d = 0; d < la.ndim() - 2; ++d) {
    problem.batch.push(la.shape(d), {la.stride(d), lb.stride(d)});
    problem.count *= la.shape(d);
  }
  if (join_batch_with_rows(a, problem.batch)) {
    problem.batch = Walk(2);
    problem.count = 1;
  }
  problem.p = {{a.row_stride, a.column_stride},
               {b.row_stride, b.column_stride},
               a.rows,
               b.columns,
               a.columns};
  const bool in_tiles =
      launch.output.dtype == DType::float32 || launch.output.dtype == DType::float16;
  constexpr std::int64_t few = 8;
  const std::int64_t m = a.rows, n = b.columns;
  // A grid has 32 bits a dimension.
  const bool countable = std::max({m, n, problem.count}) < std::int64_t{1} << 32;
  if (!in_tiles || !countable || (m <= few && n <= few && problem.count >= 64)) {
    return multiply_elements(problem);
  }
  if (m <= few && (n > few || m <= n)) return multiply_vectors(problem, false);
  if (n <= few) return multiply_vectors(problem, true);
  multiply_tiles(problem);
}

}  // namespace nitinol::metal::kernels
