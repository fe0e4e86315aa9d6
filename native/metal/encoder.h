// The Encoder of launch.h over a Metal command buffer.
#pragma once

#import <Metal/Metal.h>

#include <string>
#include <vector>

#include "flight.h"
#include "launch.h"
#include "library.h"

namespace nitinol::metal {

class CommandEncoder final : public Encoder {
 public:
  CommandEncoder(PipelineCache& pipelines, Allocator& memory, Flight& flight) noexcept
      : pipelines_(pipelines), memory_(memory), flight_(flight) {}
  ~CommandEncoder() override { close(); }

  // Around the launch of each unit.
  void begin(const Unit& unit, std::uint32_t index) noexcept;
  void end() noexcept;
  // After the last one.
  void close() noexcept;

  // A unit's input as the kernel sees it; an array in the host's memory is copied first.
  Operand operand(Node& node) noexcept;

  // Of the unit between begin and end.
  const Fault& failure() const noexcept { return failure_; }
  const char* detail() const noexcept { return detail_; }
  bool dispatched() const noexcept { return dispatched_; }
  bool may_fault() const noexcept { return may_fault_; }

  void pipeline(std::string_view file, std::string_view function,
                std::span<const Define> defines) noexcept override;
  void source(std::string_view text, std::string_view function) noexcept override;
  void buffer(int index, const Operand& operand) noexcept override;
  void bytes(int index, const void* data, std::size_t size) noexcept override;
  void fault(int index) noexcept override;
  void threadgroup_memory(int index, std::size_t bytes) noexcept override;
  Operand scratch(std::size_t bytes) noexcept override;
  void dispatch(Grid threadgroups, Grid threads) noexcept override;
  void fail(const Fault& fault) noexcept override;
  bool failed() const noexcept override { return failure_.code != Code::none; }

 private:
  bool open() noexcept;  // false when there is no encoder
  void use(const Pipeline& pipeline) noexcept;
  void refuse(const char* detail) noexcept;  // the unit fails: an error of this library
  void short_of_memory(std::size_t bytes) noexcept;
  // Memory for the unit; `written` by the host now, so that the GPU must not use it yet.
  Buffer* take(std::size_t bytes, bool written) noexcept;
  void label(const Unit& unit) noexcept;

  PipelineCache& pipelines_;
  Allocator& memory_;
  Flight& flight_;
  id<MTLComputeCommandEncoder> encoder_ = nil;  // of the command buffer's pool
  std::uint32_t units_ = 0;                     // in the open encoder
  std::string label_;                           // of the open encoder

  std::size_t most_threads_ = 0;  // of the pipeline in use; 0: none
  const Unit* unit_ = nullptr;
  std::uint32_t index_ = 0;
  std::vector<Ref<Buffer>> taken_;
  Fault failure_;
  const char* detail_ = nullptr;
  bool dispatched_ = false;
  bool may_fault_ = false;
};

}  // namespace nitinol::metal
