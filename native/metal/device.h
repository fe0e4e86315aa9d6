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
  bool conclude(Submission& submission) noexcept override;
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
    Submission* postponed = nullptr;  // to be launched again; in no order
    bool served = false;              // has its thread
  };

  // What became of the units that were encoded next.
  enum class Progress {
    under_way,  // the GPU has them: the flight may be over, and gone
    none_left,  // nothing more of the submission is for the GPU
    again,      // one failed, and all of it is to be launched again
  };

  MetalDevice(Owned<id<MTLDevice>> device, BufferSource& source, std::size_t limit);
  bool start() noexcept;  // false without queues or threads

  // device.mm: from submissions to command buffers.
  Queue& queue_of(const Submission& submission) noexcept;
  Queue& serving(Queue& queue) noexcept;
  void serve(Queue& queue) noexcept;
  static Submission& next(Queue& queue) noexcept;
  void launch(Submission& submission) noexcept;
  Fault prepare(Flight& flight) noexcept;
  Fault open(Flight& flight) noexcept;
  Progress go_on(Flight& flight) noexcept;
  void encode(CommandEncoder& encoder, Unit& unit, std::uint32_t index, Flight& flight) noexcept;
  void refuse(Submission& submission, const Fault& fault, Phase phase) noexcept;
  void postpone(Submission& submission) noexcept;

  // completion.mm: from command buffers to outcomes.
  void depart(Flight& flight) noexcept;
  void ended(Leg& leg, id<MTLCommandBuffer> buffer) noexcept;
  void complete(Leg& leg, const Fault& fault) noexcept;
  static bool isolate(Flight& flight) noexcept;
  void conclude_units(Flight& flight) noexcept;
  void lose_units(Flight& flight) noexcept;
  void put_off(Flight& flight) noexcept;
  void land(Flight& flight) noexcept;
  void dismiss(Flight& flight) noexcept;
  void post() noexcept;
  void watch() noexcept;
  void look_for_overdue() noexcept;
  static void keep_memory(Submission& submission) noexcept;

  Owned<id<MTLDevice>> device_;
  Residency& residency_;
  std::string hardware_;
  PipelineCache pipelines_;
  std::array<Queue, queue_count> queues_;
  int wake_[2] = {-1, -1};  // a pipe: written by completion handlers, read by the resolver

  // Code::none, or how the driver took its leave.
  std::atomic<Code> ended_by_{Code::none};

  std::mutex legs_mutex_;
  Leg* legs_ = nullptr;     // committed, and not yet concluded
  Leg* strayed_ = nullptr;  // concluded, and their handler has not ended yet
};

}  // namespace nitinol::metal
