// The contract of a CPU kernel: a function over views of memory that is there,
// which reports failure by writing a fault. Kernels know no graph and no device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nitinol/dtype.h"
#include "nitinol/fault.h"
#include "nitinol/layout.h"
#include "nitinol/op.h"
#include "nitinol/reclaim.h"

namespace nitinol::cpu {

// An operand: `data` points at the element with index (0, ..., 0), the layout's
// offset already applied. Inputs may have any strides; outputs are row-major.
struct View {
  char* data = nullptr;
  const Layout* layout = nullptr;
  DType dtype = DType::bool_;

  template <class T>
  T* as() const noexcept {
    return reinterpret_cast<T*>(data);
  }
};

// Temporary memory of a kernel, 64-byte aligned, from the device's recycled
// blocks. null when it cannot be had: the kernel then raises out_of_memory.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) noexcept;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T = char>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }
  explicit operator bool() const noexcept { return data_ != nullptr; }

 private:
  void* data_;
  std::size_t bytes_;
};

struct Launch {
  const Params& params;
  std::span<const View> inputs;
  const View& output;
  FaultSlot& fault;
  // The output lies in the storage of inputs[0] (a donated functional update):
  // only the changed elements need writing.
  bool in_place = false;
  // host_call alone: the function, and where an exception that it raised goes.
  void* callback = nullptr;
  Keep** exception = nullptr;
};

using Kernel = void (*)(const Launch&) noexcept;

// null: this device has no kernel for the op (a fused program or none).
Kernel find_kernel(Op op) noexcept;

}  // namespace nitinol::cpu
