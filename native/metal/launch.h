// The contract of a Metal kernel's host side: it chooses a function, binds operands and
// dispatches, through an Encoder that knows Metal. What is written here is plain C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "nitinol/dtype.h"
#include "nitinol/fault.h"
#include "nitinol/layout.h"
#include "nitinol/op.h"
#include "nitinol/program.h"

namespace nitinol::metal {

// An operand in device memory. `offset` is of the element with index (0, ..., 0), the
// layout's own offset already applied. Inputs may have any strides; outputs are row-major.
struct Operand {
  void* buffer = nullptr;  // id<MTLBuffer>, alive until the submission has completed
  std::size_t offset = 0;  // bytes
  const Layout* layout = nullptr;
  DType dtype = DType::bool_;
};

struct Grid {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;
};

// A preprocessor macro that specialises a kernel file, as in {"T", "half"}.
struct Define {
  std::string_view name;
  std::string_view value;
};

// Dispatches of one submission run in the order they were made, each after the one before.
// Nothing here throws; what can't be had makes the unit fail, and the calls that
// follow for this unit do nothing.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // The kernel `function` of kernels/<file>.metal, compiled with these macros. The text of
  // kernels/common.metal stands in front of every file.
  virtual void pipeline(std::string_view file, std::string_view function,
                        std::span<const Define> defines) noexcept = 0;
  // The kernel `function` of a text made at run time (common.metal in front of it too).
  virtual void source(std::string_view text, std::string_view function) noexcept = 0;

  virtual void buffer(int index, const Operand& operand) noexcept = 0;
  virtual void bytes(int index, const void* data, std::size_t size) noexcept = 0;  // 4096 at most
  // The unit's fault word, a device atomic_uint, 0xffffffff while nothing has failed. A
  // kernel reports by atomic_fetch_min of the position (of a matrix, an index, an element)
  // where it met the error; the host finds code and details from there.
  virtual void fault(int index) noexcept = 0;
  virtual void threadgroup_memory(int index, std::size_t bytes) noexcept = 0;
  // Device memory that lives as long as the submission.
  virtual Operand scratch(std::size_t bytes) noexcept = 0;

  virtual void dispatch(Grid threadgroups, Grid threads_per_threadgroup) noexcept = 0;

  // This unit fails, with this fault.
  virtual void fail(const Fault& fault) noexcept = 0;
  virtual bool failed() const noexcept = 0;
};

struct Launch {
  const Params& params;
  std::span<const Operand> inputs;
  const Operand& output;
  // The output lies in the storage of inputs[0] (a donated functional update): only the
  // changed elements need writing.
  bool in_place;
  Encoder& encoder;
};

using Kernel = void (*)(const Launch&) noexcept;

// null: this device has no kernel for the op.
Kernel find_kernel(Op op) noexcept;

// A fused program, generated as MSL. All outputs have one shape; inputs have been
// broadcast to it by their layouts' strides or have lower rank, as on the CPU.
void launch_program(const Program& program, std::span<const Operand> inputs,
                    std::span<const Operand> outputs, Encoder& encoder) noexcept;

// The type's name in MSL; "" for float64 and complex128, which Metal lacks. complex64 is
// float2.
std::string_view msl_type(DType dtype) noexcept;

}  // namespace nitinol::metal
