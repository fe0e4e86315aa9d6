// Running submissions: the threads that serve streams, and the launch of one unit.
#include "device.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>
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

// Nanoseconds an element, on one core; only the order of magnitude matters.
double cost(Op op) noexcept {
  switch (op) {
    case Op::exp:
    case Op::log:
    case Op::tanh:
    case Op::sigmoid:
    case Op::sin:
    case Op::cos:
      return 0.6;
    case Op::power:
    case Op::floor_divide:
    case Op::remainder:
    case Op::logaddexp:
    case Op::atan2:
    case Op::erf:
      return 5;
    default:
      return op >= Op::expm1 && op <= Op::nextafter ? 3 : 0.12;
  }
}

// Nanoseconds that a unit takes, roughly.
double estimate(const Unit& unit) noexcept {
  double elements = 0;
  for (const Node* input : unit.inputs) elements += static_cast<double>(input->layout().size());
  for (const Node* output : unit.outputs) elements += static_cast<double>(output->layout().size());
  if (unit.program) {
    double an_element = 0;
    for (const Instruction& step : unit.program->code) an_element += cost(step.op);
    return 10 * static_cast<double>(unit.program->code.size()) +
           an_element * static_cast<double>(unit.outputs[0]->layout().size());
  }
  const auto last = [](const Node* node, int from_end) {
    const Layout& layout = node->layout();
    return layout.ndim() >= from_end ? static_cast<double>(layout.shape(layout.ndim() - from_end))
                                     : 1.0;
  };
  switch (unit.op) {
    case Op::matmul:
      return 500 +
             0.05 * static_cast<double>(unit.outputs[0]->layout().size()) * last(unit.inputs[0], 1);
    case Op::quantized_matmul:
      return 500 +
             0.1 * static_cast<double>(unit.outputs[0]->layout().size()) * last(unit.inputs[0], 1);
    case Op::inv:
    case Op::solve:
    case Op::cholesky:
    case Op::det:
      return 2000 + static_cast<double>(unit.inputs[0]->layout().size()) * last(unit.inputs[0], 1);
    case Op::attention:
      return 1000 +
             0.1 * static_cast<double>(unit.inputs[0]->layout().size()) * last(unit.inputs[1], 2);
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

double estimate(const Submission& submission, double enough) noexcept {
  double total = 0;
  for (const Unit& unit : submission.units) {
    total += estimate(unit);
    if (total > enough) break;
  }
  return total;
}

// What is run under the graph lock keeps others from scheduling; what is run by the
// waiting thread keeps it from noticing Ctrl-C.
constexpr double inline_limit = 20e3;
constexpr double caller_limit = 1e6;

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
    start = wants_thread();
    if (start) ++threads_;
  }
  work_.notify_one();
  if (start && !start_thread()) {
    // The first thread was there before any work: it takes what this one would have.
    std::lock_guard lock(mutex_);
    --threads_;
  }
}

bool CpuDevice::wants_thread() const noexcept {
  constexpr int most = 256;
  const int serving = threads_ - blocked_;
  return queued_ > idle_ && serving < std::max(4, concurrency()) && threads_ < most;
}

void CpuDevice::block(int threads) noexcept {
  bool start = false;
  {
    std::lock_guard lock(mutex_);
    blocked_ += threads;
    start = wants_thread();
    if (start) ++threads_;
  }
  if (start && !start_thread()) {
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
  if (const Fault refusal = Runner::turn_away(*this, submission); refusal.code != Code::none) {
    submission.complete(refusal, Phase::commit);
    Resolver::resolve(*this);
    return;
  }
  const bool endless = std::any_of(submission.units.begin(), submission.units.end(),
                                   [](const Unit& unit) { return unit.op == Op::host_call; });
  const auto admission = memory.admit(submission.planned_bytes, endless);
  units(submission, true);
  memory.leave(admission);
  submission.complete();
  Resolver::resolve(*this);
}

void CpuDevice::units(Submission& submission, bool may_wait) noexcept {
  for (Unit& unit : submission.units) {
    if (closed()) unit.status = UnitStatus::skipped;
    for (;;) {
      Fault injected;
      if (Runner::prepare(*this, unit, injected)) launch(unit, injected);
      if (unit.status != UnitStatus::waiting) break;
      // It is to run again, after a pause that keeps other streams from nothing.
      if (may_wait) pause(std::exchange(submission.attempts.pause, 0));
    }
  }
}

void CpuDevice::pause(std::int64_t nanoseconds) noexcept {
  if (nanoseconds == 0) return;
  block(1);
  std::this_thread::sleep_for(std::chrono::nanoseconds(nanoseconds));
  block(-1);
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
      unit.secondary = injected.code;
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
      if (unit.op == Op::host_call) block(1);
      kernel(call);
      if (unit.op == Op::host_call) block(-1);
    } else {
      slot.raise(0, Code::internal, static_cast<int>(unit.op));
    }
  }
  if (slot.failed() && closed() && slot.get().code == Code::host_callback && !unit.exception) {
    // The queue of host calls was closed before it came to this one.
    Runner::abandon(unit);
  } else if (slot.failed()) {
    unit.secondary = injected.code;
    // Kernels check before they write, so a donated buffer is still what it was.
    Runner::conclude(unit, slot.get(), Phase::completion, false);
  } else {
    Runner::conclude(unit, injected, Phase::completion, true);
  }
}

bool CpuDevice::runs_inline(const Submission& submission) const noexcept {
  return !injector.active() && health.takes_work() &&
         estimate(submission, inline_limit) <= inline_limit;
}

bool CpuDevice::runs_on_caller(const Submission& submission) const noexcept {
  // Work that may have to wait for memory is not for a thread that has signals to see.
  return estimate(submission, caller_limit) <= caller_limit &&
         memory.admits_now(submission.planned_bytes);
}

void CpuDevice::run_inline(Submission& submission) noexcept { units(submission, false); }

}  // namespace nitinol::cpu
