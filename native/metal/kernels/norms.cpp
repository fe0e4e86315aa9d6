// rms_norm and layer_norm over the last axis.
#include "metal/kernels/kernels.h"
#include "metal/kernels/rows.h"

namespace nitinol::metal::kernels {
namespace {

void run(const Launch& launch, int parameters) noexcept {
  if (refused(launch)) return;
  if (launch.output.layout->size() == 0) return;
  Encoder& encoder = launch.encoder;
  const DType dtype = launch.output.dtype;
  for (const Operand& input : launch.inputs) {
    if (!is_real_floating(dtype) || input.dtype != dtype) return refuse(launch);
  }
  RowLaunch rows(launch.inputs[0], dtype);
  const auto stride_of = [&](std::size_t input) { return launch.inputs[input].layout->stride(0); };
  rows.set_parameters(stride_of(1), parameters == 2 ? stride_of(2) : 0, launch.params.floats[0]);
  rows.start(encoder, parameters == 2 ? "layer_norm" : "rms_norm");
  encoder.buffer(0, launch.inputs[0]);
  encoder.buffer(1, launch.output);
  encoder.buffer(2, launch.inputs[1]);
  if (parameters == 2) encoder.buffer(3, launch.inputs[2]);
  rows.dispatch(encoder);
}

}  // namespace

void rms_norm(const Launch& launch) noexcept { run(launch, 1); }
void layer_norm(const Launch& launch) noexcept { run(launch, 2); }

}  // namespace nitinol::metal::kernels
