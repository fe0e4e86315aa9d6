// The emulator's kernel compiler and executor: Metal Shading Language text becomes native
// code through clang, and a grid of threads runs on the CPU. Plain C++, no Objective-C.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace metal_emulator {

struct Size3 {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;
};

inline constexpr int max_buffers = 31;
inline constexpr std::uint32_t simd_width = 32;
inline constexpr std::uint32_t max_threads_per_threadgroup = 1024;
inline constexpr std::size_t max_threadgroup_bytes = 32768;

// One kernel function of a library.
class Function {
 public:
  virtual ~Function() = default;
  virtual const std::string& name() const = 0;
  virtual std::size_t static_threadgroup_bytes() const = 0;
  // The indices of the buffers and threadgroup arguments it declares.
  virtual const std::vector<int>& buffers() const = 0;
  virtual const std::vector<int>& threadgroup_arguments() const = 0;
  // Of one threadgroup: max_total_threads_per_threadgroup(n), or the device's limit.
  virtual std::uint32_t max_threads() const = 0;
};

class Library {
 public:
  virtual ~Library() = default;
  virtual const std::vector<std::string>& function_names() const = 0;
  virtual const Function* find(const std::string& name) const = 0;

  // Null, and a compiler's message in `error`, when the text does not compile. Compiled
  // text is cached by its hash, in memory and on disk. From any thread.
  static std::shared_ptr<const Library> compile(const std::string& source, std::string& error);
};

struct Dispatch {
  const Function* function = nullptr;
  std::array<void*, max_buffers> buffers{};                  // by index
  std::array<std::size_t, max_buffers> buffer_bytes{};       // to its end; 0: of setBytes
  std::array<std::size_t, max_buffers> threadgroup_bytes{};  // by index
  Size3 threadgroups;
  Size3 threads_per_threadgroup;
};

// Runs the whole grid; returns when every thread has ended. From any thread.
void run(const Dispatch& dispatch);

}  // namespace metal_emulator
