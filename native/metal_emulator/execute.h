// The executor's side of the kernel compiler: what compiler.cpp makes and execute.cpp runs.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "compiler.h"
#include "stdlib/kernel_abi.h"

namespace metal_emulator {

// The code of a library, which may come to be replaced by better code.
class Code {
 public:
  virtual ~Code() = default;
  // A function's optimised code; made on the first call. Never null.
  virtual const metal_abi::Kernel* optimised(const std::string& function) const = 0;
};

class LoadedFunction final : public Function {
 public:
  // `code` is null if the kernel is optimised already.
  LoadedFunction(const metal_abi::Kernel& kernel, const Code* code);

  const std::string& name() const override { return name_; }
  std::size_t static_threadgroup_bytes() const override { return threadgroup_bytes_; }
  const std::vector<int>& buffers() const override { return buffers_; }
  const std::vector<int>& threadgroup_arguments() const override { return threadgroup_; }
  std::uint32_t max_threads() const override { return max_threads_; }

  // What to run that many more threads of the function with. What runs much is optimised;
  // the number of threads alone decides, so that runs repeat.
  const metal_abi::Kernel& kernel_for(std::uint64_t threads) const;

 private:
  std::string name_;
  std::vector<int> buffers_;
  std::vector<int> threadgroup_;
  std::uint32_t max_threads_;
  std::size_t threadgroup_bytes_;
  const Code* code_;
  mutable std::atomic<const metal_abi::Kernel*> kernel_;
  mutable std::atomic<std::uint64_t> threads_{0};
  mutable std::atomic<bool> is_optimised_;
};

// What kernels call.
const metal_abi::Runtime& runtime();

// Ends the process: the kernel or the dispatch is wrong in a way no GPU would report.
[[noreturn]] void misuse(const char* kernel, const std::string& what);

}  // namespace metal_emulator
