// An Encoder for tests of kernels: every dispatch runs at once on the emulator's executor, over
// plain memory. Buffers are host pointers.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "metal/kernel_text.h"
#include "metal/launch.h"
#include "metal_emulator/compiler.h"

namespace nitinol::metal::testing {

class DirectEncoder final : public Encoder {
 public:
  void pipeline(std::string_view file, std::string_view function,
                std::span<const Define> defines) noexcept override {
    const std::string_view body = kernel_text(file);
    if (body.empty()) stop("there is no file " + std::string(file));
    std::string text(kernel_text("common"));
    for (const Define& define : defines) {
      text.append("#define ").append(define.name).append(" ").append(define.value).append("\n");
    }
    text.append(body);
    use(text, function);
  }
  void source(std::string_view text, std::string_view function) noexcept override {
    use(std::string(kernel_text("common")).append(text), function);
  }

  void buffer(int index, const Operand& operand) noexcept override {
    bind(index, static_cast<char*>(operand.buffer) + operand.offset);
  }
  void bytes(int index, const void* data, std::size_t size) noexcept override {
    if (size > 4096) stop("bytes() was given more than 4096 bytes");
    std::vector<char>& copy = bytes_[index];
    copy.assign(static_cast<const char*>(data), static_cast<const char*>(data) + size);
    bind(index, copy.data());
  }
  void fault(int index) noexcept override { bind(index, &fault_word); }
  void threadgroup_memory(int index, std::size_t bytes) noexcept override {
    if (bytes % 16 != 0) stop("threadgroup memory comes in multiples of 16 bytes");
    threadgroup_bytes_[static_cast<std::size_t>(index)] = bytes;
  }
  Operand scratch(std::size_t bytes) noexcept override {
    // Never zero, so that what a kernel forgot to write shows.
    scratch_.push_back(std::make_unique<char[]>(bytes + 1));
    std::memset(scratch_.back().get(), 0xa5, bytes);
    Operand operand;
    operand.buffer = scratch_.back().get();
    return operand;
  }

  void dispatch(Grid groups, Grid threads) noexcept override {
    if (failed()) return;
    ++dispatches;
    if (function_ == nullptr) stop("a dispatch without a pipeline");
    if (groups.x == 0 || groups.y == 0 || groups.z == 0) stop("an empty grid");
    if (threads.x * threads.y * threads.z > 1024) stop("too many threads a threadgroup");
    metal_emulator::Dispatch run;
    run.function = function_;
    for (const int index : function_->buffers()) {
      if (!bound_.contains(index)) stop("buffer " + std::to_string(index) + " is not bound");
      run.buffers[static_cast<std::size_t>(index)] = bound_[index];
    }
    run.threadgroup_bytes = threadgroup_bytes_;
    run.threadgroups = {groups.x, groups.y, groups.z};
    run.threads_per_threadgroup = {threads.x, threads.y, threads.z};
    metal_emulator::run(run);
    // As in Metal a new pipeline keeps arguments; here each dispatch must bind its own, so
    // that none rests on what an earlier one left.
    bound_.clear();
    threadgroup_bytes_.fill(0);
  }

  void fail(const Fault& fault) noexcept override {
    if (!failed()) failure = fault;
  }
  bool failed() const noexcept override { return failure.code != Code::none; }

  std::uint32_t fault_word = 0xffffffffu;
  Fault failure;
  int dispatches = 0;
  std::string last_text;

 private:
  [[noreturn]] void stop(const std::string& message) const {
    std::fprintf(stderr, "direct encoder: %s (function %s)\n", message.c_str(), name_.c_str());
    std::abort();
  }
  void bind(int index, void* pointer) {
    if (index < 0 || index >= metal_emulator::max_buffers) stop("a buffer index beyond 30");
    bound_[index] = pointer;
  }
  void use(const std::string& text, std::string_view function) {
    name_ = function;
    last_text = text;
    std::shared_ptr<const metal_emulator::Library>& library = libraries()[text];
    if (!library) {
      std::string error;
      library = metal_emulator::Library::compile(text, error);
      if (!library) {
        std::fprintf(stderr, "%s\n%s\n", text.c_str(), error.c_str());
        stop("a kernel does not compile");
      }
    }
    function_ = library->find(name_);
    if (function_ == nullptr) stop("there is no such function");
  }
  static std::map<std::string, std::shared_ptr<const metal_emulator::Library>>& libraries() {
    static std::map<std::string, std::shared_ptr<const metal_emulator::Library>> all;
    return all;
  }

  const metal_emulator::Function* function_ = nullptr;
  std::string name_;
  std::map<int, void*> bound_;
  std::map<int, std::vector<char>> bytes_;
  std::vector<std::unique_ptr<char[]>> scratch_;
  std::array<std::size_t, metal_emulator::max_buffers> threadgroup_bytes_{};
};

}  // namespace nitinol::metal::testing
