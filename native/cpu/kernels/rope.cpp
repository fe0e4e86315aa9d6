// Rotary position embedding: a table of sines for each position, then a rotation of every row.
#include "cpu/kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/kernels/rows.h"
#include "cpu/pool.h"
#include "cpu/simd/dispatch.h"

namespace nitinol::cpu::kernels {
namespace {

// Positions a chunk: the sines of position 64 a + b are combined from those of 64 a and of b, in
// double precision, which saves nearly all calls of sin and cos.
constexpr std::int64_t chunk = 64;

struct Angle {
  double cosine, sine;
};

void rotate(const float* x, std::int64_t dims, bool interleaved, const float* cosines,
            const float* sines, float* out) noexcept {
  const simd::RowKernels& rows = simd::kernels().rows;
  (interleaved ? rows.rotate_pairs : rows.rotate_halves)(x, dims, cosines, sines, out);
}
void rotate(const double* x, std::int64_t dims, bool interleaved, const double* cosines,
            const double* sines, double* out) noexcept {
  for (std::int64_t i = 0; i < dims / 2; ++i) {
    const std::int64_t first = interleaved ? 2 * i : i;
    const std::int64_t second = interleaved ? 2 * i + 1 : i + dims / 2;
    const double c = cosines[first], s = interleaved ? sines[second] : sines[i];
    const double a = x[first], b = x[second];
    out[first] = a * c - b * s;
    out[second] = b * c + a * s;
  }
}

template <class T, class Work>
void run(const Launch& launch) noexcept {
  const View& x = launch.inputs[0];
  const Layout& layout = *x.layout;
  const int ndim = layout.ndim();
  const std::int64_t d = layout.shape(ndim - 1), length = layout.shape(ndim - 2);
  const std::int64_t stride = layout.stride(ndim - 1), row_stride = layout.stride(ndim - 2);
  const std::int64_t outer = product_of_shape(layout, ndim - 2);
  const std::int64_t dims = launch.params.ints[0], pairs = dims / 2;
  const bool interleaved = launch.params.ints[1] != 0;
  const double base = launch.params.floats[0], scale = launch.params.floats[1];
  const double offset = static_cast<double>(*launch.inputs[1].as<const std::int64_t>());
  constexpr bool same = std::is_same_v<T, Work>;
  const bool direct = same && rows_are_dense(layout);

  // frequency[i], then the angles of the positions 0 to chunk - 1.
  const std::int64_t steps = std::min(chunk, length);
  const std::int64_t bytes = pairs * static_cast<std::int64_t>(sizeof(double)) +
                             steps * pairs * static_cast<std::int64_t>(sizeof(Angle));
  Scratch shared(static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)));
  if (!shared) return raise_out_of_memory(launch, -1, bytes);
  double* frequency = shared.as<double>();
  Angle* fine = reinterpret_cast<Angle*>(frequency + pairs);
  for (std::int64_t i = 0; i < pairs; ++i) {
    frequency[i] =
        scale * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
  }
  for (std::int64_t t = 0; t < steps; ++t) {
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(t) * frequency[i];
      fine[t * pairs + i] = {std::cos(angle), std::sin(angle)};
    }
  }

  T* out = launch.output.as<T>();
  parallel_for(length, chunk, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    const std::int64_t table = count * dims;  // cosines; as many sines; a row in Work; the angles
    const std::int64_t here = (2 * table + 2 * d) * static_cast<std::int64_t>(sizeof(Work)) +
                              pairs * static_cast<std::int64_t>(sizeof(Angle));
    Scratch scratch(static_cast<std::size_t>(std::max<std::int64_t>(here, 1)));
    if (!scratch) return raise_out_of_memory(launch, begin, here);
    Angle* coarse = scratch.as<Angle>();
    Work* cosines = reinterpret_cast<Work*>(coarse + pairs);
    Work* sines = cosines + table;
    Work* work = sines + table;
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = (offset + static_cast<double>(begin)) * frequency[i];
      coarse[i] = {std::cos(angle), std::sin(angle)};
    }
    for (std::int64_t t = 0; t < count; ++t) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        const Angle a = coarse[i], b = fine[t * pairs + i];
        const Work c = static_cast<Work>(a.cosine * b.cosine - a.sine * b.sine);
        const Work s = static_cast<Work>(a.sine * b.cosine + a.cosine * b.sine);
        if (interleaved) {
          cosines[t * dims + 2 * i] = cosines[t * dims + 2 * i + 1] = c;
          sines[t * dims + 2 * i] = -s;
          sines[t * dims + 2 * i + 1] = s;
        } else {
          cosines[t * dims + i] = c;
          sines[t * dims + i] = s;
        }
      }
    }
    RowWalker walker(layout, 2, 0);
    for (std::int64_t o = 0; o < outer; ++o, walker.next()) {
      for (std::int64_t t = 0; t < count; ++t) {
        const T* from = x.as<const T>() + walker.offset() + (begin + t) * row_stride;
        T* to = out + (o * length + begin + t) * d;
        const Work *c = cosines + t * dims, *s = sines + t * dims;
        if constexpr (same) {
          if (direct) {
            rotate(from, dims, interleaved, c, s, to);
            std::copy(from + dims, from + d, to + dims);
            continue;
          }
        }
        copy_row(from, stride, d, work);
        rotate(work, dims, interleaved, c, s, work + d);
        copy_row(work + d, 1, dims, to);
        copy_row(work + dims, 1, d - dims, to + dims);
      }
    }
  });
}

}  // namespace

void rope(const Launch& launch) noexcept {
  if (launch.output.layout->size() == 0) return;
  switch (launch.output.dtype) {
    case DType::float16:
      return run<float16, float>(launch);
    case DType::float32:
      return run<float, float>(launch);
    default:
      return run<double, double>(launch);
  }
}

}  // namespace nitinol::cpu::kernels
