// The Metal device: streams share a few command queues, each with a thread that encodes.
#pragma once

#import <Metal/Metal.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <string>

#include "flight.h"
#include "library.h"
#include "memory.h"
#include "nitinol/device.h"

namespace nitinol::metal {

class CommandEncoder;

class MetalDevice final : public Device {
 public:
  // The system's default device, made on first use, never destroyed; null where there is
  // none.
  static MetalDevice* shared() noexcept;

  void commit(Submission* submission) noexcept override;
  void conclude(Submission& submission) noexcept override;
  bool runs_later() const noexcept override { return true; }
  bool borrows() const noexcept override { return false; }
  Ref<Buffer> import(const Node& x) noexcept override;
  std::uint32_t depth() const noexcept override { return 4; }
  bool runs_on_caller(const Submission& submission) const noexcept override;
  void run_on_caller(Submission& submission) noexcept override;
  const char* hardware() const noexcept override { return hardware_.c_str(); }

 private:
  static constexpr std::size_t queue_count = 4;

  struct Queue {
    Owned<id<MTLCommandQueue>> commands;
    std::mutex mutex;
    std::condition_variable work;
    Submission* first = nullptr;
    Submission* last = nullptr;
    bool served = false;  // has its thread; under the graph lock
  };

  MetalDevice(Owned<id<MTLDevice>> device, BufferSource& source, std::size_t limit);
  bool start() noexcept;  // false without queues or threads

  // device.mm: from submissions to command buffers.
  Queue& queue_of(const Submission& submission) noexcept;
  void serve(Queue& queue) noexcept;
  void launch(Queue& queue, Submission& submission) noexcept;
  Fault prepare(Queue& queue, Flight& flight) noexcept;
  void encode(Flight& flight) noexcept;
  void encode(CommandEncoder& encoder, Unit& unit, std::uint32_t index, Flight& flight) noexcept;
  void refuse(Submission& submission, const Fault& fault, Phase phase) noexcept;

  // completion.mm: from command buffers to outcomes.
  void depart(Flight& flight) noexcept;
  void ended(Flight& flight, id<MTLCommandBuffer> buffer) noexcept;
  void complete(Flight& flight, const Fault& fault) noexcept;
  void conclude_units(Flight& flight) noexcept;
  void lose_units(Flight& flight) noexcept;
  void arrive(Flight& flight) noexcept;
  void post() noexcept;
  void watch() noexcept;
  void look_for_overdue() noexcept;
  static void keep_memory(Flight& flight) noexcept;

  Owned<id<MTLDevice>> device_;
  Residency& residency_;
  std::string hardware_;
  PipelineCache pipelines_;
  std::array<Queue, queue_count> queues_;
  int wake_[2] = {-1, -1};  // a pipe: written by completion handlers, read by the resolver

  // Code::none, or how the driver took its leave.
  std::atomic<Code> ended_by_{Code::none};

  std::mutex flights_mutex_;
  Flight* flights_ = nullptr;  // committed, and not yet concluded
  Flight* strayed_ = nullptr;  // concluded, and their handler has not ended yet
};

}  // namespace nitinol::metal
