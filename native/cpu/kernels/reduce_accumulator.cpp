// Conversion of an input to the dtype that a sum or product was asked to use.
#include "cpu/kernels/reduce_accumulator.h"

#include <algorithm>
#include <exception>

#include "cpu/loops.h"

namespace nitinol::cpu::kernels {

void with_accumulator_input(const Launch& launch, bool directly, Body body) noexcept {
  if (directly) return body(launch);
  const View& x = launch.inputs[0];
  const DType in = x.dtype, out = launch.output.dtype;
  const StridedLoop loop = find_loop(Op::cast, in, out);
  if (loop == nullptr || out == DType::bool_) return refuse(launch);

  const auto from = static_cast<std::int64_t>(itemsize(in));
  const auto to = static_cast<std::int64_t>(itemsize(out));
  const auto bytes = static_cast<std::size_t>(x.layout->size() * to);
  const Scratch scratch(bytes);
  if (!scratch) return refuse_memory(launch, bytes);

  std::int64_t strides[max_ndim];
  row_major(x.layout->shape(), strides);
  Nest<2> nest;
  for (int d = 0; d < x.layout->ndim(); ++d) {
    nest.push(x.layout->shape(d), {strides[d] * to, x.layout->stride(d) * from});
  }
  if (nest.ndim == 0) nest.ndim = 1, nest.shape[0] = 1, nest.strides[0][0] = nest.strides[1][0] = 0;
  const int inner = nest.ndim - 1;
  const std::int64_t length = nest.shape[inner];
  if (nest.size() != 0) {
    parallel_for(nest.size() / length, items_per_grain(length),
                 [&](std::int64_t begin, std::int64_t end) {
                   Odometer<2> at(nest, inner, begin);
                   const std::intptr_t dimension = length;
                   const std::intptr_t step[2] = {nest.strides[1][inner], nest.strides[0][inner]};
                   LoopContext context{&launch.fault, 0};
                   for (std::int64_t i = begin; i < end; ++i, at.next()) {
                     char* const data[2] = {x.data + at.offset[1], scratch.as() + at.offset[0]};
                     loop(&context, data, &dimension, step, nullptr);
                   }
                 });
  }
  try {
    const Layout layout(x.layout->shape());
    const View converted{scratch.as(), &layout, out};
    body(Launch{launch.params, {&converted, 1}, launch.output, launch.fault, false});
  } catch (const std::exception&) {
    refuse_memory(launch, sizeof(std::int64_t) * 2 * max_ndim);
  }
}

}  // namespace nitinol::cpu::kernels
