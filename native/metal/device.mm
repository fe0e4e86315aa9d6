// From submissions to command buffers.
#include "device.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>

#include "encoder.h"
#include "nitinol/resolver.h"
#include "nitinol/runner.h"
#include "nitinol/schedule.h"
#include "pressure.h"
#include "replay.h"
#include "start.h"

namespace nitinol::metal {

namespace {

constexpr std::size_t usual_operands = 24;

// Runs `life` on a thread of its own that outlives everything. Signals belong to the
// application's threads.
template <class Life>
bool start_thread(Life life) noexcept {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread(life).detach();
  } catch (...) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

Fault simple(Code code) noexcept {
  Fault fault;
  fault.code = code;
  return fault;
}

}  // namespace

Device* system_device() noexcept { return MetalDevice::shared(); }

MetalDevice* MetalDevice::shared() noexcept {
  static MetalDevice* const device = []() -> MetalDevice* {
    Pool pool;
    auto found = Owned<id<MTLDevice>>::adopt(MTLCreateSystemDefaultDevice());
    // Older GPUs, and those with memory of their own, are not what the kernels are for.
    if (!found || ![found.get() supportsFamily:MTLGPUFamilyApple7] ||
        ![found.get() hasUnifiedMemory]) {
      return nullptr;
    }
    const std::size_t recommended = [found.get() recommendedMaxWorkingSetSize];
    std::size_t limit = default_memory_limit();
    if (recommended > 0) limit = std::min(limit, recommended);
    try {
      auto* source = new BufferSource(found.get(), limit);
      auto* made = new MetalDevice(std::move(found), *source, limit);
      return made->start() ? made : nullptr;
    } catch (...) {
      return nullptr;  // the CPU is still there
    }
  }();
  return device;
}

MetalDevice::MetalDevice(Owned<id<MTLDevice>> device, BufferSource& source, std::size_t limit)
    : Device("metal", 0, limit, source),
      device_(std::move(device)),
      residency_(source.residency),
      hardware_(to_string([device_.get() name])),
      pipelines_(device_.get()) {
  for (DType dtype : {DType::float64, DType::complex128}) {
    lacked_types_ |= 1u << static_cast<int>(dtype);
  }
  for (int i = 0; i < op_count; ++i) {
    const Op op = static_cast<Op>(i);
    const bool computes = op != Op::data && op != Op::view && !info(op).elementwise;
    if (computes && !find_kernel(op)) lacked_ops_.set(static_cast<std::size_t>(i));
  }
}

bool MetalDevice::start() noexcept {
  for (Queue& queue : queues_) {
    queue.commands = Owned<id<MTLCommandQueue>>::adopt([device_.get() newCommandQueue]);
    if (!queue.commands) return false;
    residency_.attach(queue.commands.get());
  }
  if (::pipe(wake_) != 0) return false;
  for (int end : wake_) {
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  if (!start_thread([this] { watch(); })) return false;
  queues_[0].served = start_thread([this] { serve(queues_[0]); });
  if (queues_[0].served) yield_under_pressure(memory, residency_);
  return queues_[0].served;
}

MetalDevice::Queue& MetalDevice::queue_of(const Submission& submission) noexcept {
  return queues_[submission.stream->index % queue_count];
}

void MetalDevice::commit(Submission* submission) noexcept {
  Queue* queue = &queue_of(*submission);
  if (!queue->served) queue->served = start_thread([this, queue] { serve(*queue); });
  if (!queue->served) queue = &queues_[0];
  {
    std::lock_guard lock(queue->mutex);
    submission->next_in_queue = nullptr;
    (queue->last ? queue->last->next_in_queue : queue->first) = submission;
    queue->last = submission;
  }
  queue->work.notify_one();
}

bool MetalDevice::runs_on_caller(const Submission& submission) const noexcept {
  // Encoding more than this takes a while, in which the caller would notice no signal.
  constexpr std::size_t few = 256;
  return submission.units.size() <= few && memory.admits_now(submission.planned_bytes);
}

void MetalDevice::run_on_caller(Submission& submission) noexcept {
  launch(queue_of(submission), submission);
}

void MetalDevice::serve(Queue& queue) noexcept {
  for (;;) {
    Submission* submission = nullptr;
    {
      std::unique_lock lock(queue.mutex);
      queue.work.wait(lock, [&queue] { return queue.first != nullptr; });
      submission = queue.first;
      queue.first = submission->next_in_queue;
      if (!queue.first) queue.last = nullptr;
    }
    launch(queue, *submission);
  }
}

void MetalDevice::launch(Queue& queue, Submission& submission) noexcept {
  Pool pool;
  Runner::skip_unwanted(submission);
  const Code ended = ended_by_.load(std::memory_order_acquire);
  if (ended != Code::none) {
    return refuse(submission, simple(refusal_after(ended)), Phase::commit);
  }
  // Suspended by its culprit budget, or lost on purpose.
  const Fault refusal = Runner::turn_away(*this, submission);
  if (refusal.code != Code::none) {
    submission.complete(refusal, Phase::commit);
    Resolver::resolve(*this);
    return;
  }
  // Before anything is encoded: what the GPU was given never waits for memory.
  const auto admission = memory.admit(submission.planned_bytes);
  auto* flight = new (std::nothrow) Flight;
  Fault fault = simple(Code::out_of_memory);
  if (flight) {
    flight->submission = &submission;
    flight->admission = admission;
    fault = prepare(queue, *flight);
  }
  if (fault.code != Code::none) {
    delete flight;
    memory.leave(admission);
    return refuse(submission, fault, Phase::encode);
  }
  submission.flight = flight;
  encode(*flight);
  if (!flight->launched.empty()) return depart(*flight);
  // Nothing of it is for the GPU.
  flight->handled.store(true, std::memory_order_relaxed);
  submission.complete();
  Resolver::resolve(*this);
}

void MetalDevice::refuse(Submission& submission, const Fault& fault, Phase phase) noexcept {
  for (Unit& unit : submission.units) Runner::refuse(unit);
  const bool any = std::any_of(submission.units.begin(), submission.units.end(),
                               [](const Unit& u) { return u.status == UnitStatus::waiting; });
  submission.complete(any ? fault : Fault{}, phase);
  Resolver::resolve(*this);
}

// What has to be had before the first unit is encoded.
Fault MetalDevice::prepare(Queue& queue, Flight& flight) noexcept {
  const std::span<Unit> units = flight.submission->units;
  try {
    flight.launched.reserve(units.size());
    flight.encoders.reserve(units.size() / Flight::units_per_encoder + 1);
    flight.recycler.reserve(*flight.submission);
  } catch (const std::bad_alloc&) {
    return simple(Code::out_of_memory);
  }
  const std::size_t bytes = units.size() * sizeof(std::uint32_t);
  flight.faults = Buffer::allocate(memory, bytes);
  if (!flight.faults) {
    const MemoryStats stats = memory.stats();
    Fault fault = simple(Code::out_of_memory);
    fault.args[0] = static_cast<std::int64_t>(bytes);
    fault.args[1] = static_cast<std::int64_t>(stats.in_use);
    fault.args[2] = static_cast<std::int64_t>(stats.limit);
    return fault;
  }
  std::fill_n(flight.words(), units.size(), no_fault);
  const auto descriptor =
      Owned<MTLCommandBufferDescriptor*>::adopt([[MTLCommandBufferDescriptor alloc] init]);
  [descriptor.get() setErrorOptions:MTLCommandBufferErrorOptionEncoderExecutionStatus];
  id<MTLCommandBuffer> buffer = [queue.commands.get() commandBufferWithDescriptor:descriptor.get()];
  if (buffer == nil) return simple(Code::internal);
  flight.buffer = Owned<id<MTLCommandBuffer>>::share(buffer);
  return {};
}

void MetalDevice::encode(Flight& flight) noexcept {
  CommandEncoder encoder(pipelines_, memory, flight);
  std::uint32_t index = 0;
  for (Unit& unit : flight.submission->units) encode(encoder, unit, index++, flight);
}

// Into memory of its own, not into the recycler's: of that the GPU may have use yet.
Ref<Buffer> MetalDevice::import(const Node& x) noexcept {
  if (!x.layout().contiguous()) return nullptr;
  if (x.buffer()->is_of(memory) && x.layout().offset() == 0) return Ref<Buffer>::share(x.buffer());
  Ref<Buffer> copy = Buffer::allocate(memory, x.bytes());
  if (copy) std::memcpy(copy->data(), x.data(), x.bytes());
  return copy;
}

void MetalDevice::encode(CommandEncoder& encoder, Unit& unit, std::uint32_t index,
                         Flight& flight) noexcept {
  if (closed()) unit.status = UnitStatus::skipped;
  Recycler& recycler = flight.recycler;
  Fault injected;
  if (!Runner::prepare(*this, unit, injected, &recycler)) return;
  if (unit.imported) {
    flight.launched.push_back({index, injected});
    return Runner::launched(unit, injected.code != Code::none, recycler);
  }
  encoder.begin(unit, index);
  std::array<Operand, usual_operands> few;
  std::vector<Operand> many;
  const std::size_t count = unit.inputs.size() + unit.outputs.size();
  Operand* operands = few.data();
  if (count > usual_operands) {
    try {
      many.resize(count);
      operands = many.data();
    } catch (const std::bad_alloc&) {
      encoder.fail(simple(Code::out_of_memory));
    }
  }
  if (!encoder.failed()) {
    std::size_t at = 0;
    for (Node* input : unit.inputs) operands[at++] = encoder.operand(*input);
    for (Node* output : unit.outputs) operands[at++] = encoder.operand(*output);
  }
  if (!encoder.failed()) {
    const std::span<const Operand> inputs(operands, unit.inputs.size());
    const std::span<const Operand> outputs(operands + unit.inputs.size(), unit.outputs.size());
    if (unit.program) {
      launch_program(*unit.program, inputs, outputs, encoder);
    } else if (const Kernel kernel = find_kernel(unit.op)) {
      static const Params no_params;
      const Params* params = unit.outputs[0]->params();
      kernel({params ? *params : no_params, inputs, outputs[0], unit.donor != nullptr, encoder});
    } else {
      encoder.fail(simple(Code::internal));
    }
  }
  if (encoder.failed()) {
    unit.secondary = injected.code;
    unit.detail = encoder.detail();
    Runner::conclude(unit, encoder.failure(), Phase::encode, encoder.dispatched(), &recycler);
  } else {
    if (encoder.may_fault()) {
      for (std::size_t i = uninvolved_inputs(unit.op); i < unit.inputs.size(); ++i) {
        recycler.hold(unit.inputs[i]->storage());
      }
    }
    flight.launched.push_back({index, injected});
    Runner::launched(unit, injected.code != Code::none, recycler);
  }
  encoder.end();
}

}  // namespace nitinol::metal
