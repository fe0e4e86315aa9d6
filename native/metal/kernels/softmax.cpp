// softmax and logsumexp over the last axis.
#include "metal/kernels/kernels.h"
#include "metal/kernels/rows.h"

namespace nitinol::metal::kernels {
namespace {

// Longer rows are cut into parts; as in rows.metal.
constexpr std::int64_t longest_row = 32768;
constexpr std::int64_t part_length = 8192;

void run(const Launch& launch, bool is_softmax) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& x = launch.inputs[0];
  RowLaunch rows(x, launch.output.dtype);
  if (launch.output.layout->size() == 0) return;
  if (!is_real_floating(x.dtype)) return refuse(launch);
  if (rows.n() <= longest_row) {
    rows.start(encoder, is_softmax ? "softmax" : "logsumexp");
    encoder.buffer(0, x);
    encoder.buffer(1, launch.output);
    return rows.dispatch(encoder);
  }
  rows.cut(ceil_div(rows.n(), part_length));
  const Operand parts =
      encoder.scratch(static_cast<std::size_t>(rows.count() * rows.parts()) * 2 * sizeof(float));
  rows.start(encoder, "exponential_parts");
  encoder.buffer(0, x);
  encoder.buffer(1, parts);
  rows.dispatch_parts(encoder);
  if (!is_softmax) {
    rows.start(encoder, "logsumexp_totals");
    encoder.buffer(0, parts);
    encoder.buffer(1, launch.output);
    return rows.dispatch(encoder);
  }
  const Operand totals =
      encoder.scratch(static_cast<std::size_t>(rows.count()) * 2 * sizeof(float));
  rows.start(encoder, "softmax_totals");
  encoder.buffer(0, parts);
  encoder.buffer(1, totals);
  rows.dispatch(encoder);
  rows.start(encoder, "softmax_apply");
  encoder.buffer(0, x);
  encoder.buffer(1, launch.output);
  encoder.buffer(2, totals);
  rows.dispatch_parts(encoder);
}

}  // namespace

void softmax(const Launch& launch) noexcept { run(launch, true); }
void logsumexp(const Launch& launch) noexcept { run(launch, false); }

}  // namespace nitinol::metal::kernels
