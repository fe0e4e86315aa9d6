// What is tried again in place: one unit where units run in turn, and a submission as a whole
// where it is launched as one.
#include <algorithm>

#include "nitinol/device.h"
#include "nitinol/runner.h"

namespace nitinol {

Submission& Runner::submission_of(const Unit& unit) noexcept {
  return *unit.outputs[0]->submission_;
}

bool Runner::overwrites(const Unit& unit) noexcept {
  constexpr std::int64_t scatter_set = 0;
  if (unit.op != Op::scatter) return unit.op == Op::slice_update || unit.op == Op::strided_update;
  const Params* params = unit.outputs[0]->params();
  return params && params->ints.size() > 1 && params->ints[1] == scatter_set;
}

// Where it writes must be what it was: positions that are computed anew might come from a
// function of the user, and those of a unit that was launched early may have been garbage. (No
// later unit of a submission wrote to the same memory: what was taken over from an array of
// before is not passed on, since that array refers to it until the end.)
bool Runner::repeatable_later(const Unit& unit) noexcept {
  if (!overwrites(unit) || unit.donor->state() != State::ready) return false;
  const bool in_turn = !unit.outputs[0]->stream()->device->runs_later();
  return std::all_of(unit.inputs.begin() + 2, unit.inputs.end(), [&](const Node* position) {
    const Node* storage = position->storage();
    if (storage->state() == State::ready) return true;
    return in_turn &&
           std::find(unit.releases.begin(), unit.releases.end(), storage) == unit.releases.end();
  });
}

// Arrays of the submission's own are made anew when all units run again, from the first one on;
// one from before it has what the update left there.
bool Runner::repeatable(const Unit& unit) noexcept {
  if (unit.op == Op::host_call) return false;
  return !unit.donor || unit.donor->state() != State::ready || overwrites(unit);
}

bool Runner::divisible(const Submission& submission) noexcept {
  if (!submission.device->runs_later() || submission.attempts.split) return false;
  return std::count_if(submission.units.begin(), submission.units.end(), [](const Unit& unit) {
           return unit.status == UnitStatus::waiting || unit.status == UnitStatus::launched;
         }) > 1;
}

bool Runner::mend(Submission& submission, const Fault& fault) noexcept {
  Device& device = *submission.device;
  const Decision decision =
      device.health.consider(fault, submission.attempts, divisible(submission));
  if (decision.remedy == Remedy::fail) return false;
  if (decision.remedy == Remedy::trim) device.memory.trim();
  device.record.retried(fault.code);
  return true;
}

bool Runner::mend(Unit& unit, const Fault& fault, Phase phase, bool wrote) noexcept {
  Submission& submission = submission_of(unit);
  if (submission.device->runs_later()) {
    // All of it starts over, and of this launch nothing has run.
    if (submission.ran && !submission.repeatable) return false;
  } else {
    if (unit.donor && wrote && !overwrites(unit)) return false;
    // The function of the user was called, and is not called twice without being asked for.
    if (unit.op == Op::host_call && phase == Phase::completion) return false;
  }
  if (!mend(submission, fault)) return false;
  if (unit.secondary != Code::none) submission.device->record.suppress();
  unit.secondary = Code::none;
  rewind(unit);
  if (!submission.device->runs_later()) submission.attempts.counted = 0;
  return true;
}

void Runner::rewind(Unit& unit) noexcept {
  unit.status = UnitStatus::waiting;
  unit.fault = {};
  unit.detail = nullptr;
  unit.donor = nullptr;
  for (Node* output : unit.outputs) output->buffer_ = nullptr;
}

void Runner::start_over(Submission& submission) noexcept {
  for (Unit& unit : submission.units) {
    if (unit.status != UnitStatus::launched) continue;
    if (unit.doomed) {
      // Its readers were given up already, and are not tried again either.
      fail(unit, Fault(unit.fault), Phase::completion, submission.ran);
      continue;
    }
    // What was to strike it and was not looked at comes second to what struck before.
    if (unit.fault.code != Code::none) submission.device->record.suppress();
    rewind(unit);
  }
  submission.repeatable = true;
  submission.ran = false;
  submission.attempts.counted = 0;
}

bool Runner::again(Submission& submission) noexcept {
  if (!submission.repeatable) return false;
  bool mended = false;
  if (const Fault& whole = submission.outcome.fault; whole.code != Code::none) {
    mended = mend(submission, whole);
  } else {
    for (Unit& unit : submission.units) {
      if (unit.status != UnitStatus::launched || unit.doomed || unit.fault.code == Code::none) {
        continue;
      }
      unit.doomed = !mend(submission, unit.fault);
      if (unit.doomed) continue;
      unit.fault = {};
      mended = true;
    }
  }
  if (!mended) return false;
  start_over(submission);
  submission.reopen();
  return true;
}

void Runner::close_attempts(Unit& unit, bool well) noexcept {
  Submission& submission = submission_of(unit);
  const std::uint32_t failures = submission.attempts.failures;
  // Of those that are launched as a whole the resolver says what became of them.
  if (failures == 0 || submission.device->runs_later()) return;
  if (well) {
    submission.device->record.recover(failures);
  } else {
    // They come second to what ended it.
    submission.device->record.suppress(failures);
  }
  submission.attempts = {};
}

}  // namespace nitinol
