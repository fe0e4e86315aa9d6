// The executor's side of the kernel compiler: what compiler.cpp makes and execute.cpp runs.
#pragma once

#include <string>
#include <vector>

#include "compiler.h"
#include "stdlib/kernel_abi.h"

namespace metal_emulator {

class LoadedFunction final : public Function {
 public:
  explicit LoadedFunction(const metal_abi::Kernel& kernel);

  const std::string& name() const override { return name_; }
  std::size_t static_threadgroup_bytes() const override { return kernel_.threadgroup_bytes; }
  const std::vector<int>& buffers() const override { return buffers_; }
  const std::vector<int>& threadgroup_arguments() const override { return threadgroup_; }
  std::uint32_t max_threads() const override { return max_threads_; }

  const metal_abi::Kernel& kernel() const { return kernel_; }

 private:
  const metal_abi::Kernel& kernel_;
  std::string name_;
  std::vector<int> buffers_;
  std::vector<int> threadgroup_;
  std::uint32_t max_threads_;
};

// What kernels call.
const metal_abi::Runtime& runtime();

// Ends the process: the kernel or the dispatch is wrong in a way no GPU would report.
[[noreturn]] void misuse(const char* kernel, const std::string& what);

}  // namespace metal_emulator
