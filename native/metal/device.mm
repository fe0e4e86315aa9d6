// From submissions to command buffers.
#include "device.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "encoder.h"
#include "nitinol/resolver.h"
#include "nitinol/runner.h"
#include "nitinol/schedule.h"
#include "pressure.h"
#include "replay.h"
#include "start.h"

namespace nitinol::metal {

namespace {

using Clock = std::chrono::steady_clock;

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

// The queue itself, with its thread; the first one if that can't be had.
MetalDevice::Queue& MetalDevice::serving(Queue& queue) noexcept {
  {
    std::lock_guard lock(queue.mutex);
    if (!queue.served) queue.served = start_thread([this, &queue] { serve(queue); });
    if (queue.served) return queue;
  }
  return queues_[0];
}

void MetalDevice::commit(Submission* submission) noexcept {
  Queue& queue = serving(queue_of(*submission));
  {
    std::lock_guard lock(queue.mutex);
    submission->next_in_queue = nullptr;
    (queue.last ? queue.last->next_in_queue : queue.first) = submission;
    queue.last = submission;
  }
  queue.work.notify_one();
}

// What is tried again waits in its queue, and keeps no thread from other work.
void MetalDevice::postpone(Submission& submission) noexcept {
  Queue& queue = serving(queue_of(submission));
  const auto pause = std::chrono::nanoseconds(std::exchange(submission.attempts.pause, 0));
  submission.attempts.due = (Clock::now().time_since_epoch() + pause).count();
  {
    std::lock_guard lock(queue.mutex);
    submission.next_in_queue = queue.postponed;
    queue.postponed = &submission;
  }
  queue.work.notify_one();
}

bool MetalDevice::runs_on_caller(const Submission& submission) const noexcept {
  // Encoding more than this takes a while, in which the caller would notice no signal.
  constexpr std::size_t few = 256;
  return submission.units.size() <= few && memory.admits_now(submission.planned_bytes);
}

void MetalDevice::run_on_caller(Submission& submission) noexcept { launch(submission); }

void MetalDevice::serve(Queue& queue) noexcept {
  for (;;) launch(next(queue));
}

Submission& MetalDevice::next(Queue& queue) noexcept {
  std::unique_lock lock(queue.mutex);
  for (;;) {
    Submission** earliest = nullptr;
    for (Submission** at = &queue.postponed; *at; at = &(*at)->next_in_queue) {
      if (!earliest || (*at)->attempts.due < (*earliest)->attempts.due) earliest = at;
    }
    const Clock::time_point due{std::chrono::nanoseconds(earliest ? (*earliest)->attempts.due : 0)};
    if (earliest && due <= Clock::now()) {
      Submission& submission = **earliest;
      *earliest = submission.next_in_queue;
      return submission;
    }
    if (queue.first) {
      Submission& submission = *queue.first;
      queue.first = submission.next_in_queue;
      if (!queue.first) queue.last = nullptr;
      return submission;
    }
    if (earliest) {
      queue.work.wait_until(lock, due);
    } else {
      queue.work.wait(lock);
    }
  }
}

void MetalDevice::launch(Submission& submission) noexcept {
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
  auto* flight = new (std::nothrow) Flight(submission);
  Fault fault = simple(Code::out_of_memory);
  if (flight) {
    flight->admission = admission;
    fault = prepare(*flight);
  }
  if (fault.code != Code::none) {
    delete flight;
    memory.leave(admission);
    if (!Runner::mend(submission, fault)) return refuse(submission, fault, Phase::encode);
    Runner::start_over(submission);
    return postpone(submission);
  }
  submission.flight = flight;
  switch (go_on(*flight)) {
    case Progress::under_way:
      return;
    case Progress::again:
      Runner::start_over(submission);
      return put_off(*flight);
    case Progress::none_left:
      submission.complete();
      Resolver::resolve(*this);
      return;
  }
}

void MetalDevice::refuse(Submission& submission, const Fault& fault, Phase phase) noexcept {
  for (Unit& unit : submission.units) Runner::refuse(unit);
  const bool any = std::any_of(submission.units.begin(), submission.units.end(),
                               [](const Unit& u) { return u.status == UnitStatus::waiting; });
  submission.complete(any ? fault : Fault{}, phase);
  Resolver::resolve(*this);
}

// What has to be had before the first unit is encoded.
Fault MetalDevice::prepare(Flight& flight) noexcept {
  const std::span<Unit> units = flight.submission.units;
  try {
    flight.recycler.reserve(flight.submission);
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
  return open(flight);
}

// A new command buffer.
Fault MetalDevice::open(Flight& flight) noexcept {
  try {
    flight.leg = std::make_unique<Leg>();
    const std::size_t units = flight.split ? 1 : flight.submission.units.size();
    flight.leg->encoders.reserve(units / Flight::units_per_encoder + 1);
  } catch (const std::bad_alloc&) {
    return simple(Code::out_of_memory);
  }
  flight.leg->submission = &flight.submission;
  const auto descriptor =
      Owned<MTLCommandBufferDescriptor*>::adopt([[MTLCommandBufferDescriptor alloc] init]);
  [descriptor.get() setErrorOptions:MTLCommandBufferErrorOptionEncoderExecutionStatus];
  id<MTLCommandQueue> commands = queue_of(flight.submission).commands.get();
  id<MTLCommandBuffer> buffer = [commands commandBufferWithDescriptor:descriptor.get()];
  if (buffer == nil) return simple(Code::internal);
  flight.leg->buffer = Owned<id<MTLCommandBuffer>>::share(buffer);
  return {};
}

MetalDevice::Progress MetalDevice::go_on(Flight& flight) noexcept {
  const std::span<Unit> units = flight.submission.units;
  bool any = false;
  {
    CommandEncoder encoder(pipelines_, memory, flight);
    while (flight.encoded < units.size()) {
      const std::uint32_t index = flight.encoded++;
      Unit& unit = units[index];
      encode(encoder, unit, index, flight);
      if (unit.status == UnitStatus::waiting) return Progress::again;
      if (unit.status != UnitStatus::launched) continue;
      any = true;
      flight.last = index;
      if (flight.split) break;
    }
  }
  if (!any) return Progress::none_left;
  depart(flight);
  return Progress::under_way;
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
  if (closed() && unit.status == UnitStatus::waiting) unit.status = UnitStatus::skipped;
  Recycler& recycler = flight.recycler;
  Fault injected;
  if (!Runner::prepare(*this, unit, injected, &recycler)) return;
  if (unit.imported) return Runner::launched(unit, injected, recycler);
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
    Runner::launched(unit, injected, recycler);
  }
  encoder.end();
}

}  // namespace nitinol::metal
