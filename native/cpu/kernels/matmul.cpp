// matmul over BLAS, where own panels are not faster: operands are read as they lie where BLAS can,
// packed where it can't, and the results are cut into panels by shape alone, so that no bit depends
// on the number of threads.
#include "cpu/kernels/matmul.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/blas.h"
#include "cpu/half.h"
#include "cpu/pool.h"

namespace nitinol::cpu::kernels {

MatrixBatch MatrixBatch::of(const View& view) noexcept {
  const Layout& layout = *view.layout;
  MatrixBatch matrices;
  matrices.data = view.data;
  matrices.batch_ndim = layout.ndim() - 2;
  for (int i = 0; i < matrices.batch_ndim; ++i) {
    matrices.batch_shape[i] = layout.shape(i);
    matrices.batch_stride[i] = layout.stride(i);
  }
  matrices.rows = layout.shape(layout.ndim() - 2);
  matrices.columns = layout.shape(layout.ndim() - 1);
  matrices.row_stride = layout.stride(layout.ndim() - 2);
  matrices.column_stride = layout.stride(layout.ndim() - 1);
  return matrices;
}

std::int64_t MatrixBatch::batch() const noexcept {
  std::int64_t count = 1;
  for (int i = 0; i < batch_ndim; ++i) count *= batch_shape[i];
  return count;
}

std::int64_t MatrixBatch::offset(std::int64_t index) const noexcept {
  std::int64_t total = 0;
  for (int i = batch_ndim - 1; i >= 0; --i) {
    total += index % batch_shape[i] * batch_stride[i];
    index /= batch_shape[i];
  }
  return total;
}

namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }

std::int64_t saturating_product(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::int64_t{1} << 62 : product;
}

}  // namespace

Partition partition(std::int64_t m, std::int64_t n, std::int64_t k) noexcept {
  // Below 2^23 products (some 70 us of one core) cutting costs more than it gains; from 4 panels
  // on a panel is 2^27 at least, because every panel packs its operands anew.
  const std::int64_t products = saturating_product(saturating_product(m, n), k);
  const std::int64_t wanted = std::clamp<std::int64_t>(
      std::max(std::min<std::int64_t>(products >> 23, 4), products >> 27), 1, 64);
  const int power = std::bit_width(static_cast<std::uint64_t>(wanted)) - 1;
  // The grid that packs least; narrow panels of a thin product also write the result in pieces.
  const std::int64_t column_weight = k < 256 ? 4 : 1;
  std::int64_t best = -1;
  int best_rows = 0;
  for (int rows = 0; rows <= power; ++rows) {
    const std::int64_t cost = saturating_product(m, column_weight << (power - rows)) / 2 +
                              saturating_product(n, std::int64_t{1} << rows) / 2;
    if (best < 0 || cost < best) {
      best = cost;
      best_rows = rows;
    }
  }
  Partition cuts;
  cuts.row_panel = divide_up(divide_up(m, std::int64_t{1} << best_rows), 32) * 32;
  cuts.column_panel = divide_up(divide_up(n, std::int64_t{1} << (power - best_rows)), 64) * 64;
  cuts.row_panels = divide_up(m, cuts.row_panel);
  cuts.column_panels = divide_up(n, cuts.column_panel);
  return cuts;
}

namespace {

// A matrix batch that BLAS can read: element (i, j) at data[i * ld + j], or with i and j exchanged.
template <class T>
struct BlasOperand {
  const T* data;
  bool transposed;
  std::int64_t ld;
};

// Whether unit-stride rows `ld` apart are a matrix BLAS accepts; sets ld.
bool rows_readable(std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                   std::int64_t column_stride, std::int64_t& ld) noexcept {
  if (column_stride != 1 && columns != 1) return false;
  ld = rows == 1 ? std::max<std::int64_t>(columns, 1) : row_stride;
  return ld >= std::max<std::int64_t>(columns, 1);
}

template <class To, class From>
To convert(From value) noexcept {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else {
    static_assert(std::is_same_v<From, float16> && std::is_same_v<To, float>);
    return to_float(value);
  }
}

template <class T, class From>
void copy_row(T* target, const From* source, std::int64_t count, std::int64_t stride) noexcept {
  if (stride == 1) {
    for (std::int64_t j = 0; j < count; ++j) target[j] = convert<T>(source[j]);
  } else {
    for (std::int64_t j = 0; j < count; ++j) target[j] = convert<T>(source[j * stride]);
  }
}

// One operand of the product, packed into `memory` when BLAS can't read it where it lies.
template <class T, class From>
class Operand {
 public:
  explicit Operand(const MatrixBatch& source) noexcept : m_(source) {
    if constexpr (std::is_same_v<T, From>) {
      if (rows_readable(m_.rows, m_.columns, m_.row_stride, m_.column_stride, ld_)) {
        transposed_ = false;
        packed_ = false;
      } else if (rows_readable(m_.columns, m_.rows, m_.column_stride, m_.row_stride, ld_)) {
        transposed_ = true;
        packed_ = false;
      }
    }
    if (!packed_) return;
    // Packed in the order in which the memory is read.
    transposed_ = std::abs(m_.row_stride) < std::abs(m_.column_stride);
    ld_ = transposed_ ? m_.rows : m_.columns;
    for (int i = 0; i < m_.batch_ndim; ++i) {
      if (m_.batch_stride[i] != 0) distinct_ *= m_.batch_shape[i];
    }
  }

  std::size_t pack_bytes() const noexcept {
    if (!packed_) return 0;
    std::int64_t bytes;
    if (__builtin_mul_overflow(distinct_ * m_.rows, m_.columns * std::int64_t{sizeof(T)}, &bytes)) {
      return std::size_t{1} << 62;
    }
    return static_cast<std::size_t>(bytes);
  }

  void pack(T* memory) noexcept {
    if (!packed_) return;
    MatrixBatch distinct = m_;  // without the broadcast axes
    distinct.batch_ndim = 0;
    std::int64_t stride = m_.rows * m_.columns;
    for (int i = 0; i < m_.batch_ndim; ++i) {
      if (m_.batch_stride[i] == 0) continue;
      distinct.batch_shape[distinct.batch_ndim] = m_.batch_shape[i];
      distinct.batch_stride[distinct.batch_ndim++] = m_.batch_stride[i];
    }
    for (int i = m_.batch_ndim - 1; i >= 0; --i) {
      if (m_.batch_stride[i] == 0) continue;
      m_.batch_stride[i] = stride;
      stride *= m_.batch_shape[i];
    }
    const std::int64_t lines = transposed_ ? m_.columns : m_.rows;
    const std::int64_t line_stride = transposed_ ? m_.column_stride : m_.row_stride;
    const std::int64_t step = transposed_ ? m_.row_stride : m_.column_stride;
    const From* source = reinterpret_cast<const From*>(m_.data);
    const std::int64_t grain = std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, ld_));
    parallel_for(distinct_ * lines, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line) {
        copy_row(memory + line * ld_,
                 source + distinct.offset(line / lines) + line % lines * line_stride, ld_, step);
      }
    });
    m_.data = reinterpret_cast<char*>(memory);
  }

  BlasOperand<T> at(std::int64_t index) const noexcept {
    return {reinterpret_cast<const T*>(m_.data) + m_.offset(index), transposed_, ld_};
  }

 private:
  MatrixBatch m_;
  bool packed_ = true;
  bool transposed_ = false;
  std::int64_t ld_ = 0;
  std::int64_t distinct_ = 1;
};

// A product with a vector is bound by reading its matrix once. `rows` lines of `columns` elements
// lie `ld` apart; the vector's elements lie `step` apart.
template <class T>
struct VectorProduct {
  const T* matrix;
  const T* vector;
  std::int64_t rows, columns, ld, step;
  bool sums_rows;  // out[c] = sum over r, rather than out[r] = sum over c

  std::int64_t size() const noexcept { return sums_rows ? columns : rows; }
};

template <class T>
VectorProduct<T> vector_product(const BlasOperand<T>& a, const BlasOperand<T>& b, std::int64_t m,
                                std::int64_t n, std::int64_t k) noexcept {
  const std::int64_t a_step = a.transposed ? a.ld : 1, b_step = b.transposed ? 1 : b.ld;
  // Two vectors: the contiguous one, if any, is the single row of a matrix.
  if (m == 1 && n == 1 && a_step == 1) return {a.data, b.data, 1, k, k, b_step, false};
  if (m == 1 && n == 1 && b_step == 1) return {b.data, a.data, 1, k, k, a_step, false};
  if (m == 1 && b.transposed) return {b.data, a.data, n, k, b.ld, a_step, false};
  if (m == 1) return {b.data, a.data, k, n, b.ld, a_step, true};
  if (a.transposed) return {a.data, b.data, k, m, a.ld, b_step, true};
  return {a.data, b.data, m, k, a.ld, b_step, false};
}

// Cut into parts between rows of the matrix, which each part reads from one end to the other, or
// between columns where there is one row; sums of parts are added up in their order.
template <class T>
void multiply_vectors(const Launch& launch, const Operand<T, T>& a, const Operand<T, T>& b,
                      const MatrixBatch& mc, std::int64_t k) noexcept {
  const std::int64_t m = mc.rows, n = mc.columns, batch = mc.batch(), size = m * n;
  const VectorProduct<T> first = vector_product(a.at(0), b.at(0), m, n, k);
  const bool one_row = first.rows == 1 && !first.sums_rows;
  const std::int64_t extent = one_row ? first.columns : first.rows;
  const std::int64_t products = saturating_product(size, k);
  const std::int64_t wanted =
      batch >= 8 ? 1 : std::clamp<std::int64_t>(std::min(products >> 18, extent), 1, 8);
  const std::int64_t length = divide_up(extent, wanted), parts = divide_up(extent, length);
  const bool adds_up = parts > 1 && (one_row || first.sums_rows);
  T* out = reinterpret_cast<T*>(mc.data);
  const std::int64_t sums = adds_up ? batch * parts * size : 0;
  Scratch memory(static_cast<std::size_t>(sums) * sizeof(T) + 1);
  if (!memory) {
    launch.fault.raise(0, Code::out_of_memory, sums * static_cast<std::int64_t>(sizeof(T)));
    return;
  }
  const std::int64_t grain =
      parts > 1 ? 1 : std::max<std::int64_t>(1, (std::int64_t{1} << 18) / products);
  parallel_for(batch * parts, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t index = task / parts, at = task % parts * length;
      const std::int64_t count = std::min(length, extent - at);
      const VectorProduct<T> p = vector_product(a.at(index), b.at(index), m, n, k);
      T* target = adds_up ? memory.as<T>() + task * size : out + index * size;
      if (one_row) {
        blas::gemv(false, 1, count, p.matrix + at, count, p.vector + at * p.step, p.step, target);
      } else if (p.sums_rows) {
        blas::gemv(true, count, p.columns, p.matrix + at * p.ld, p.ld, p.vector + at * p.step,
                   p.step, target);
      } else {
        blas::gemv(false, count, p.columns, p.matrix + at * p.ld, p.ld, p.vector, p.step,
                   target + at);
      }
    }
  });
  if (!adds_up) return;
  for (std::int64_t index = 0; index < batch; ++index) {
    const T* part = memory.as<T>() + index * parts * size;
    T* target = out + index * size;
    std::copy_n(part, size, target);
    for (std::int64_t i = 1; i < parts; ++i) {
      for (std::int64_t j = 0; j < size; ++j) target[j] += part[i * size + j];
    }
  }
}

template <class T>
void multiply_panel(const BlasOperand<T>& a, const BlasOperand<T>& b, std::int64_t i0,
                    std::int64_t j0, std::int64_t m, std::int64_t n, std::int64_t k, T* c,
                    std::int64_t ldc) noexcept {
  blas::gemm<T>(a.transposed, b.transposed, m, n, k, T{1}, a.data + (a.transposed ? i0 : i0 * a.ld),
                a.ld, b.data + (b.transposed ? j0 * b.ld : j0), b.ld, T{}, c, ldc);
}

template <class T, class Element>
void multiply(const Launch& launch, const MatrixBatch& ma, const MatrixBatch& mb,
              const MatrixBatch& mc) noexcept {
  if constexpr (std::is_same_v<Element, float> || std::is_same_v<Element, double>) {
    if (packed_is_faster<T>(mc.rows, mc.columns, ma.columns)) {
      return matmul_packed<T>(launch, ma, mb, mc);
    }
  }
  Operand<T, Element> a(ma), b(mb);
  const std::size_t a_bytes = (a.pack_bytes() + 63) & ~std::size_t{63};
  const std::size_t bytes = a_bytes + b.pack_bytes();
  Scratch memory(std::max<std::size_t>(bytes, 1));
  if (!memory) {
    launch.fault.raise(0, Code::out_of_memory, static_cast<std::int64_t>(bytes));
    return;
  }
  a.pack(memory.as<T>());
  b.pack(reinterpret_cast<T*>(memory.as<char>() + a_bytes));

  const std::int64_t m = mc.rows, n = mc.columns, k = ma.columns, batch = mc.batch();
  if constexpr (std::is_same_v<T, Element>) {
    if (m == 1 || n == 1) return multiply_vectors<T>(launch, a, b, mc, k);
  }
  const Partition cuts = partition(m, n, k);
  const std::int64_t panels = cuts.panels();
  const std::int64_t products = saturating_product(saturating_product(m, n), k);
  const std::int64_t grain =
      panels > 1 ? 1 : std::max<std::int64_t>(1, (std::int64_t{1} << 18) / products);
  parallel_for(batch * panels, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t index = task / panels, panel = task % panels;
      const std::int64_t i0 = panel / cuts.column_panels * cuts.row_panel;
      const std::int64_t j0 = panel % cuts.column_panels * cuts.column_panel;
      const std::int64_t rows = std::min(cuts.row_panel, m - i0);
      const std::int64_t columns = std::min(cuts.column_panel, n - j0);
      Element* c = reinterpret_cast<Element*>(mc.data) + index * m * n + i0 * n + j0;
      if constexpr (std::is_same_v<T, Element>) {
        multiply_panel<T>(a.at(index), b.at(index), i0, j0, rows, columns, k, c, n);
      } else {
        Scratch result(static_cast<std::size_t>(rows * columns) * sizeof(T));
        if (!result) {
          launch.fault.raise(task, Code::out_of_memory,
                             rows * columns * static_cast<std::int64_t>(sizeof(T)));
          return;
        }
        T* wide = result.as<T>();
        multiply_panel<T>(a.at(index), b.at(index), i0, j0, rows, columns, k, wide, columns);
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) {
            c[i * n + j] = to_half(wide[i * columns + j]);
          }
        }
      }
    }
  });
}

// (batch..., m, k) @ (k, n) with one right-hand matrix is a single product of batch * m rows,
// where those rows lie evenly spaced.
void join_batch_with_rows(MatrixBatch& a, MatrixBatch& b, MatrixBatch& c) noexcept {
  std::int64_t rows = a.rows;
  std::int64_t spacing = a.row_stride;
  for (int i = a.batch_ndim - 1; i >= 0; --i) {
    if (a.batch_shape[i] == 1) continue;
    if (b.batch_stride[i] != 0) return;
    if (rows == 1) {
      spacing = a.batch_stride[i];
    } else if (a.batch_stride[i] != rows * spacing) {
      return;
    }
    rows *= a.batch_shape[i];
  }
  a.batch_ndim = b.batch_ndim = c.batch_ndim = 0;
  a.rows = c.rows = rows;
  a.row_stride = spacing;
  c.row_stride = c.columns;
}

}  // namespace

void matmul(const Launch& launch) noexcept {
  const DType dtype = launch.output.dtype;
  if (launch.inputs[0].dtype != dtype || launch.inputs[1].dtype != dtype) {
    launch.fault.raise(0, Code::internal);
    return;
  }
  const std::int64_t size = launch.output.layout->size();
  if (size == 0) return;
  MatrixBatch a = MatrixBatch::of(launch.inputs[0]);
  MatrixBatch b = MatrixBatch::of(launch.inputs[1]);
  MatrixBatch c = MatrixBatch::of(launch.output);
  if (a.columns == 0) {
    std::memset(launch.output.data, 0, static_cast<std::size_t>(size) * itemsize(dtype));
    return;
  }
  join_batch_with_rows(a, b, c);
  if (dtype < DType::float16) {
    matmul_integer(launch, a, b, c);
    return;
  }
  if (!blas::loaded()) {
    launch.fault.raise(0, Code::internal);
    return;
  }
  switch (dtype) {
    case DType::float16:
      return multiply<float, float16>(launch, a, b, c);
    case DType::float32:
      return multiply<float, float>(launch, a, b, c);
    case DType::float64:
      return multiply<double, double>(launch, a, b, c);
    case DType::complex64:
      return multiply<complex64, complex64>(launch, a, b, c);
    default:
      return multiply<complex128, complex128>(launch, a, b, c);
  }
}

}  // namespace nitinol::cpu::kernels
