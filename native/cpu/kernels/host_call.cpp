// The kernel that hands its views to a function of the user and waits for it.
#include <array>
#include <vector>

#include "../kernel.h"
#include "nitinol/host.h"

namespace nitinol::cpu::kernels {

void host_call(const Launch& launch) noexcept {
  constexpr std::size_t usual = 16;
  std::array<HostOperand, usual> few;
  std::vector<HostOperand> many;
  std::span<HostOperand> operands(few.data(), std::min(usual, launch.inputs.size()));
  if (launch.inputs.size() > usual) {
    try {
      many.resize(launch.inputs.size());
    } catch (...) {
      launch.fault.raise(0, Code::out_of_memory,
                         static_cast<std::int64_t>(launch.inputs.size() * sizeof(HostOperand)));
      return;
    }
    operands = many;
  }
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const View& input = launch.inputs[i];
    operands[i] = {input.data, input.layout, input.dtype};
  }
  HostCall call;
  call.callback = launch.callback;
  call.inputs = operands;
  call.output = {launch.output.data, launch.output.layout, launch.output.dtype};
  HostQueue::shared().call(call);
  if (call.fault.code != Code::none) {
    launch.fault.raise(0, call.fault.code);
    *launch.exception = call.exception;
  }
}

}  // namespace nitinol::cpu::kernels
