// What happens to a unit before and after its launch, the same on every device.
#include "nitinol/runner.h"

#include <algorithm>
#include <array>

#include "nitinol/device.h"
#include "nitinol/recycler.h"

namespace nitinol {

void Runner::skip_unwanted(Submission& submission) noexcept {
  for (auto unit = submission.units.rbegin(); unit != submission.units.rend(); ++unit) {
    if (unit->status != UnitStatus::waiting) continue;
    bool wanted = false;
    for (std::size_t i = 0; i < unit->outputs.size(); ++i) {
      const Node* output = unit->outputs[i];
      // One reference is the submission's own, `edges` are its planned readers'.
      wanted = wanted || output->wanted_.load(std::memory_order_relaxed) ||
               output->references() > 1 + unit->edges[i];
    }
    if (!wanted) {
      unit->status = UnitStatus::skipped;
      continue;
    }
    for (Node* input : unit->inputs) {
      input->storage()->wanted_.store(true, std::memory_order_relaxed);
    }
  }
}

bool Runner::spoilt(const Node* input) noexcept {
  const Node* storage = input->storage();
  return storage->doomed_ || storage->state() == State::poisoned;
}

bool Runner::prepare(Device& device, Unit& unit, Fault& after, Recycler* recycler) noexcept {
  if (unit.status != UnitStatus::waiting) {
    release(unit, recycler);
    return false;
  }
  const bool healthy = std::none_of(unit.inputs.begin(), unit.inputs.end(), &Runner::spoilt);
  if (!healthy && !narrow(unit)) {
    doom(unit, UnitStatus::void_, recycler);
    return false;
  }
  for (Node* input : unit.inputs) {
    if (input->storage()->buffer_) continue;
    // The plan is wrong somewhere: a report to read rather than a crash.
    Fault fault;
    fault.code = Code::internal;
    conclude(unit, fault, Phase::encode, false, recycler);
    return false;
  }
  if (device.injector.active()) {
    Phase phase = Phase::completion;
    const Fault fault = device.injector.draw(phase);
    if (fault.code != Code::none && phase != Phase::completion) {
      conclude(unit, fault, phase, false, recycler);
      return false;
    }
    after = fault;
  }
  find_donor(device, unit, recycler);
  if (unit.op == Op::copy) {
    Node* output = unit.outputs[0];
    if (unit.inputs[0]->stream()->device != &device) {
      output->buffer_ = device.import(*unit.inputs[0]);
    }
    unit.imported = output->buffer_ != nullptr;
  }
  for (Node* output : unit.outputs) {
    if (output->buffer_) continue;
    const std::size_t bytes = output->bytes();
    const Params* params = output->params();
    Allocator& memory = params && params->memory ? params->memory->memory : device.memory;
    if (recycler) output->buffer_ = recycler->take(bytes);
    if (!output->buffer_) output->buffer_ = Buffer::allocate(memory, bytes);
    if (!output->buffer_) {
      const MemoryStats stats = memory.stats();
      Fault fault;
      fault.code = Code::out_of_memory;
      fault.args[0] = static_cast<std::int64_t>(bytes);
      fault.args[1] = static_cast<std::int64_t>(stats.in_use);
      fault.args[2] = static_cast<std::int64_t>(stats.limit);
      unit.secondary = after.code;  // what was drawn for this unit is not lost
      conclude(unit, fault, Phase::encode, false, recycler);
      return false;
    }
  }
  return true;
}

bool Runner::narrow(Unit& unit) noexcept {
  if (!unit.program || unit.outputs.size() == 1) return false;
  // Both lie in the submission's arena, which is this thread's while the unit starts.
  auto& program = const_cast<Program&>(*unit.program);
  const std::span<Instruction> code(const_cast<Instruction*>(program.code.data()),
                                    program.code.size());
  const std::size_t slots = program.inputs + program.outputs + program.registers.size();
  std::array<bool, 4 * max_instructions> lost{};  // by slot, after the instructions so far
  std::array<std::uint16_t, 4 * max_instructions> moved;
  for (std::size_t i = 0; i < unit.inputs.size(); ++i) lost[i] = spoilt(unit.inputs[i]);
  std::size_t kept = 0;
  for (const Instruction& step : code) {
    bool any = false;
    for (int k = 0; k < step.arity; ++k) any = any || lost[step.source[k]];
    lost[step.target] = any;
    if (!any) code[kept++] = step;
  }

  std::uint16_t next = 0;
  std::size_t inputs = 0;
  for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
    moved[i] = next;
    if (lost[i]) continue;
    unit.inputs[inputs++] = unit.inputs[i];
    ++next;
  }
  std::array<Node*, max_instructions> voided;
  std::size_t healthy = 0;
  std::size_t gone = 0;
  for (std::size_t i = 0; i < unit.outputs.size(); ++i) {
    const std::size_t slot = program.inputs + i;
    moved[slot] = next;
    if (lost[slot]) {
      voided[gone++] = unit.outputs[i];
    } else {
      unit.outputs[healthy++] = unit.outputs[i];
      ++next;
    }
  }
  std::copy_n(voided.begin(), gone, unit.outputs.begin() + healthy);
  if (healthy == 0) return false;
  for (std::size_t slot = program.inputs + program.outputs; slot < slots; ++slot) {
    moved[slot] = next++;
  }
  for (Instruction& step : code.first(kept)) {
    step.target = moved[step.target];
    for (int k = 0; k < step.arity; ++k) step.source[k] = moved[step.source[k]];
  }
  program.code = code.first(kept);
  program.inputs = static_cast<std::uint16_t>(inputs);
  program.outputs = static_cast<std::uint16_t>(healthy);
  unit.op = code[kept - 1].op;
  unit.fused = kept > 1;
  unit.inputs = unit.inputs.first(inputs);
  // Those of an earlier cut lie behind the outputs.
  unit.voided = {unit.outputs.data() + healthy, unit.outputs.size() + unit.voided.size() - healthy};
  unit.outputs = unit.outputs.first(healthy);
  for (Node* output : unit.voided) output->doomed_ = true;
  return true;
}

Refused Runner::refused(const Device& device, const Unit& unit, const Recycler* recycler) noexcept {
  Node* input = unit.inputs[0];
  const Node* output = unit.outputs[0];
  Node* storage = input->storage();
  const Buffer* buffer = storage->buffer_.get();
  if (storage->bytes() < output->bytes() || output->bytes() == 0) return Refused::nothing;
  // Neither somebody else's memory nor another device's, where this one may not write.
  if (!buffer->is_of(device.memory)) {
    return buffer->borrowed() ? Refused::borrowed : Refused::elsewhere;
  }
  if (buffer->references() != 1) return Refused::exported;
  if (!input->layout().contiguous() || input->layout().offset() != 0 ||
      input->bytes() != storage->bytes() || output->bytes() != storage->bytes()) {
    return Refused::part;
  }
  // Nobody else may read the old value: either this unit is the last reader of a
  // transient, or the planned node is the only one that refers to it.
  const bool last_reader =
      std::find(unit.releases.begin(), unit.releases.end(), storage) != unit.releases.end() &&
      std::none_of(unit.inputs.begin() + 1, unit.inputs.end(),
                   [&](Node* other) { return other->storage() == storage; });
  const bool only_reference =
      storage->references() == 1 && (input == storage || input->references() == 1);
  if (!last_reader && !only_reference) return shared_by(*input);
  return recycler && recycler->holds(storage) ? Refused::in_flight : Refused::no;
}

Refused Runner::shared_by(const Node& input) noexcept {
  const Node& storage = *input.storage();
  const bool through_view = &input != &storage;
  const Trace* trace = storage.trace_;
  if (!trace) return Refused::unknown;
  if (trace->handles.load(std::memory_order_relaxed) > 0) return Refused::handle;
  if (through_view && input.references() != 1) return Refused::view;
  if (trace->views.load(std::memory_order_relaxed) > (through_view ? 1u : 0u)) return Refused::view;
  return Refused::graph;
}

void Runner::find_donor(const Device& device, Unit& unit, const Recycler* recycler) noexcept {
  if (unit.op != Op::slice_update && unit.op != Op::scatter && unit.op != Op::strided_update) {
    return;
  }
  Node* storage = unit.inputs[0]->storage();
  Node* output = unit.outputs[0];
  const Refused reason = refused(device, unit, recycler);
  if (reason == Refused::no) {
    unit.donor = storage;
    output->buffer_ = storage->buffer_;
  } else if (output->trace_ && output->trace_->donations && reason != Refused::nothing) {
    RefusedDonations::shared().add({reason, unit.op, output->bytes(), output->source()});
  }
}

Fault Runner::turn_away(Device& device, Submission& submission) noexcept {
  if (device.health.takes_work()) return {};
  bool any = false;
  for (Unit& unit : submission.units) {
    refuse(unit);
    any = any || unit.status == UnitStatus::waiting;
  }
  return any ? device.health.refusal() : Fault{};
}

void Runner::conclude(Unit& unit, const Fault& fault, Phase phase, bool wrote,
                      Recycler* recycler) noexcept {
  if (fault.code == Code::none) return succeed(unit, recycler);
  if (!mend(unit, fault, phase, wrote)) fail(unit, fault, phase, wrote, recycler);
}

void Runner::succeed(Unit& unit, Recycler* recycler) noexcept {
  close_attempts(unit, true);
  consume(unit);
  unit.status = UnitStatus::succeeded;
  release(unit, recycler);
}

void Runner::fail(Unit& unit, const Fault& fault, Phase phase, bool wrote,
                  Recycler* recycler) noexcept {
  close_attempts(unit, false);
  unit.fault = fault;
  unit.phase = phase;
  if (wrote) leave_donor(unit);
  doom(unit, UnitStatus::failed, recycler);
}

void Runner::consume(Unit& unit) noexcept {
  if (!unit.donor) return;
  unit.donor->consumed_ = true;
  unit.donor->buffer_ = nullptr;
}

void Runner::leave_donor(Unit& unit) noexcept {
  if (!unit.donor) return;
  unit.donor->consumed_ = true;
  if (!repeatable_later(unit)) unit.donor->buffer_ = nullptr;
}

void Runner::abandon(Unit& unit) noexcept {
  close_attempts(unit, false);
  unit.status = UnitStatus::skipped;
  for (Node* output : unit.outputs) output->buffer_ = nullptr;
  release(unit, nullptr);
}

void Runner::launched(Unit& unit, const Fault& drawn, Recycler& recycler) noexcept {
  Submission& submission = submission_of(unit);
  unit.status = UnitStatus::launched;
  unit.fault = drawn;
  submission.repeatable = submission.repeatable && repeatable(unit);
  release(unit, &recycler);
  if (drawn.code == Code::none) return;
  unit.doomed = !submission.device->health.mends(drawn, submission.attempts, divisible(submission));
  if (!unit.doomed) return;
  for (Node* output : unit.outputs) output->doomed_ = true;
}

bool Runner::still_valid(Unit& unit) noexcept {
  const bool healthy = std::none_of(unit.inputs.begin(), unit.inputs.end(), &Runner::spoilt);
  if (healthy || narrow(unit)) return true;
  // It ran on what the failed unit left there, and may have changed what it took over.
  leave_donor(unit);
  doom(unit, UnitStatus::void_, nullptr);
  return false;
}

void Runner::lose(Unit& unit) noexcept {
  leave_donor(unit);
  release(unit, nullptr);
}

void Runner::refuse(Unit& unit) noexcept {
  if (unit.status != UnitStatus::waiting) return release(unit, nullptr);
  const bool healthy = std::none_of(unit.inputs.begin(), unit.inputs.end(), &Runner::spoilt);
  if (!healthy && !narrow(unit)) doom(unit, UnitStatus::void_, nullptr);
}

void Runner::doom(Unit& unit, UnitStatus status, Recycler* recycler) noexcept {
  unit.status = status;
  for (Node* output : unit.outputs) {
    output->doomed_ = true;
    if (recycler) recycler->put(std::move(output->buffer_));
    output->buffer_ = nullptr;
  }
  release(unit, recycler);
}

void Runner::release(Unit& unit, Recycler* recycler) noexcept {
  for (Node* transient : unit.releases) {
    if (recycler) {
      if (recycler->holds(transient)) continue;
      recycler->put(std::move(transient->buffer_));
    }
    transient->buffer_ = nullptr;
  }
}

}  // namespace nitinol
