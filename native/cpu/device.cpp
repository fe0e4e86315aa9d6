// Running submissions: the threads that serve streams, and the launch of one unit.
#include "device.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernel.h"
#include "nitinol/resolver.h"
#include "nitinol/runner.h"
#include "nitinol/schedule.h"
#include "pool.h"
#include "program.h"

namespace nitinol::cpu {

namespace {

constexpr std::size_t usual_operands = 24;

View view_of(Node& node) noexcept { return {node.data(), &node.layout(), node.dtype()}; }

// Nanoseconds that a unit takes, roughly; only the order of magnitude matters.
double estimate(const Unit& unit) noexcept {
  double elements = 0;
  for (const Node* input : unit.inputs) elements += static_cast<double>(input->layout().size());
  for (const Node* output : unit.outputs) elements += static_cast<double>(output->layout().size());
  if (unit.program) {
    const auto steps = static_cast<double>(unit.program->code.size());
    return steps * (10 + 0.5 * static_cast<double>(unit.outputs[0]->layout().size()));
  }
  const auto last = [](const Node* node, int from_end) {
    const Layout& layout = node->layout();
    return layout.ndim() >= from_end ? static_cast<double>(layout.shape(layout.ndim() - from_end))
                                     : 1.0;
  };
  switch (unit.op) {
    case Op::matmul:
      return 500 + 0.05 * static_cast<double>(unit.outputs[0]->layout().size()) *
                       last(unit.inputs[0], 1);
    case Op::quantized_matmul:
      return 500 + 0.1 * static_cast<double>(unit.outputs[0]->layout().size()) *
                       last(unit.inputs[0], 1);
    case Op::inv:
    case Op::solve:
    case Op::cholesky:
    case Op::det:
      return 2000 + static_cast<double>(unit.inputs[0]->layout().size()) * last(unit.inputs[0], 1);
    case Op::attention:
      return 1000 + 0.1 * static_cast<double>(unit.inputs[0]->layout().size()) *
                        last(unit.inputs[1], 2);
    case Op::sort:
    case Op::argsort:
    case Op::searchsorted:
      return 200 + 30 * elements;
    case Op::host_call:
    case Op::read_file:
      return 1e18;  // waits for the outside world
    default:
      return 100 + 2 * elements;
  }
}

// A sleeping thread takes about 40 us to hand work to.
constexpr double inline_limit = 30000;

}  // namespace

Scratch::Scratch(std::size_t bytes) noexcept
    : data_(CpuDevice::shared().memory.allocate(bytes)), bytes_(bytes) {}

Scratch::~Scratch() {
  if (data_) CpuDevice::shared().memory.deallocate(data_, bytes_);
}

CpuDevice::CpuDevice() : Device("cpu", 0, default_memory_limit()) {
  threads_ = 1;
  if (!start_thread()) throw std::runtime_error("The CPU device could not start a thread.");
}

CpuDevice& CpuDevice::shared() {
  static auto* device = new CpuDevice;
  return *device;
}

bool CpuDevice::start_thread() noexcept {
  // Signals belong to the application's threads: one that took SIGINT here would leave
  // the interpreter's wait uninterrupted.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread([this] { serve(); }).detach();
  } catch (...) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void CpuDevice::commit(Submission* submission) noexcept {
  bool start = false;
  {
    std::lock_guard lock(mutex_);
    submission->next_in_queue = nullptr;
    (last_ ? last_->next_in_queue : first_) = submission;
    last_ = submission;
    ++queued_;
    // Several streams run at once; a host call may block its thread.
    start = queued_ > idle_ && threads_ < std::max(4, concurrency());
    if (start) ++threads_;
  }
  work_.notify_one();
  if (start && !start_thread()) {
    // The first thread was there before any work: it takes what this one would have.
    std::lock_guard lock(mutex_);
    --threads_;
  }
}

void CpuDevice::serve() noexcept {
  for (;;) {
    Submission* submission = nullptr;
    {
      std::unique_lock lock(mutex_);
      ++idle_;
      work_.wait(lock, [this] { return first_ != nullptr; });
      --idle_;
      --queued_;
      submission = first_;
      first_ = submission->next_in_queue;
      if (!first_) last_ = nullptr;
    }
    run(*submission);
  }
}

void CpuDevice::run(Submission& submission) noexcept {
  Runner::skip_unwanted(submission);
  memory.admit(submission.planned_bytes);
  units(submission);
  memory.leave(submission.planned_bytes);
  submission.complete();
  Resolver::resolve(*this);
}

void CpuDevice::units(Submission& submission) noexcept {
  for (Unit& unit : submission.units) {
    if (closed()) unit.status = UnitStatus::skipped;
    Fault injected;
    if (Runner::prepare(*this, unit, injected)) launch(unit, injected);
  }
}

void CpuDevice::launch(Unit& unit, const Fault& injected) noexcept {
  std::array<View, usual_operands> few;
  std::vector<View> many;
  const std::size_t count = unit.inputs.size() + unit.outputs.size();
  View* views = few.data();
  if (count > usual_operands) {
    try {
      many.resize(count);
    } catch (...) {
      Fault fault;
      fault.code = Code::out_of_memory;
      fault.args[0] = static_cast<std::int64_t>(count * sizeof(View));
      Runner::conclude(unit, fault, Phase::encode, false);
      return;
    }
    views = many.data();
  }
  std::size_t at = 0;
  for (Node* input : unit.inputs) views[at++] = view_of(*input);
  for (Node* output : unit.outputs) views[at++] = view_of(*output);
  const std::span<const View> inputs(views, unit.inputs.size());
  const std::span<const View> outputs(views + unit.inputs.size(), unit.outputs.size());

  FaultSlot slot;
  if (unit.program) {
    run_program(*unit.program, inputs, outputs, slot);
  } else {
    static const Params no_params;
    const Node& node = *unit.outputs[0];
    const Launch call{node.params() ? *node.params() : no_params,
                      inputs,
                      outputs[0],
                      slot,
                      unit.donor != nullptr,
                      node.callback() ? node.callback()->object() : nullptr,
                      &unit.exception};
    if (const Kernel kernel = find_kernel(unit.op)) {
      kernel(call);
    } else {
      slot.raise(0, Code::internal, static_cast<int>(unit.op));
    }
  }
  if (slot.failed()) {
    unit.secondary = injected.code;
    // Kernels check before they write, so a donated buffer is still what it was.
    Runner::conclude(unit, slot.get(), Phase::completion, false);
  } else {
    Runner::conclude(unit, injected, Phase::completion, true);
  }
}

bool CpuDevice::runs_inline(const Submission& submission) const noexcept {
  if (injector.active()) return false;
  double total = 0;
  for (const Unit& unit : submission.units) {
    total += estimate(unit);
    if (total > inline_limit) return false;
  }
  return true;
}

void CpuDevice::run_inline(Submission& submission) noexcept {
  units(submission);
}

}  // namespace nitinol::cpu
