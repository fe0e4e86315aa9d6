// From completions to published results: reports first, then slots, then wake-ups.
#include "nitinol/resolver.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "nitinol/device.h"
#include "nitinol/graph.h"

namespace nitinol {

namespace {

ReportedArray describe(const Node& node) noexcept {
  ReportedArray array;
  array.op = node.op();
  array.dtype = node.dtype();
  array.source = node.source();
  array.ndim = static_cast<std::uint8_t>(node.layout().ndim());
  for (int i = 0; i < std::min<int>(array.ndim, ReportedArray::max_axes); ++i) {
    array.shape[i] = node.layout().shape(i);
  }
  return array;
}

void add_arrays(Report& report, std::span<Node* const> outputs) noexcept {
  for (const Node* output : outputs) {
    if (report.array_count < Report::max_arrays) {
      report.arrays[report.array_count] = describe(*output);
    }
    if (report.array_count < 255) ++report.array_count;
  }
}

std::uint32_t instructions(const Unit& unit) noexcept {
  return unit.program ? static_cast<std::uint32_t>(unit.program->code.size()) : 1;
}

void fill(Report& report, const Submission& submission, Unit& unit) noexcept {
  report.fault = unit.fault;
  report.secondary = unit.secondary;
  report.phase = unit.phase;
  report.op = unit.op;
  report.stream = submission.stream->index;
  report.unit = static_cast<std::uint32_t>(&unit - submission.units.data());
  report.instructions = instructions(unit);
  report.submission = submission.id;
  report.device = submission.device;
  report.scope = submission.scope;
  add_arrays(report, unit.outputs);
  if (const Params* params = unit.outputs.empty() ? nullptr : unit.outputs[0]->params()) {
    std::strncpy(report.text, params->text.c_str(), Report::max_text - 1);
  }
  if (unit.detail) std::strncpy(report.detail, unit.detail, Report::max_text - 1);
  report.exception = Ref<Keep>::adopt(std::exchange(unit.exception, nullptr));
}

bool ran(const Unit& unit) noexcept {
  return unit.status == UnitStatus::succeeded || unit.status == UnitStatus::waiting ||
         unit.status == UnitStatus::launched;
}

// What the report of a submission that failed as a whole says of the units after `first`.
void fill_whole(Report& report, const Submission& submission, const Unit& first) noexcept {
  for (const ReportedEncoder& encoder : submission.outcome.encoders) {
    if (report.encoder_count == Report::max_encoders) break;
    report.encoders[report.encoder_count++] = encoder;
  }
  for (const Unit& unit : submission.units) {
    if (&unit == &first || !ran(unit)) continue;
    report.instructions += instructions(unit);
    add_arrays(report, unit.outputs);
  }
}

// The poison of a failed unit, its report counted and pushed. It may stand for the `whole`
// submission.
Ref<Poison> fail(Submission& submission, Unit& unit, bool whole) noexcept {
  ErrorRecord& record = submission.device->record;
  submission.device->health.failed(unit.fault);
  if (unit.secondary != Code::none) record.suppress();
  Ref<Poison> poison = record.blank();
  if (!poison) {
    // Not even the report kept in reserve is left: this failure is told by its code.
    record.suppress();
    return record.stand_in();
  }
  const Ref<Report>& report = poison->roots()[0];
  fill(*report, submission, unit);
  if (whole) fill_whole(*report, submission, unit);
  // From here on others read it.
  record.push(report);
  if (submission.scope) submission.scope->add(report);
  submission.device->notices.failed(report);
  return poison;
}

// A submission that failed as a whole is one failure, whatever its units thought: those
// that ran share one report.
Ref<Poison> fail_whole(Submission& submission) noexcept {
  const Fault& fault = submission.outcome.fault;
  Unit* first = nullptr;
  Unit* failed = nullptr;
  for (Unit& unit : submission.units) {
    if (!first && ran(unit)) first = &unit;
    if (!failed && unit.status == UnitStatus::failed) failed = &unit;
  }
  if (!first) {
    // Nothing is left for it to spoil: it comes second to the failure it followed.
    if (failed && failed->secondary == Code::none) {
      failed->secondary = fault.code;
    } else {
      submission.device->record.suppress();
    }
    return nullptr;
  }
  first->fault = fault;
  first->phase = submission.outcome.phase;
  return fail(submission, *first, true);
}

}  // namespace

bool Submission::complete(const Fault& fault, Phase phase) noexcept {
  std::uint8_t pending = Outcome::pending;
  if (!outcome.state.compare_exchange_strong(pending, Outcome::writing,
                                             std::memory_order_acq_rel)) {
    return false;
  }
  outcome.fault = fault;
  outcome.phase = phase;
  outcome.state.store(Outcome::complete, std::memory_order_release);
  device->record.push_completed(this);
  return true;
}

void Submission::reopen() noexcept {
  outcome.fault = {};
  outcome.phase = Phase::completion;
  outcome.encoders = {};
  outcome.state.store(Outcome::pending, std::memory_order_release);
}

// Through the nodes that lived in registers, to the arrays the unit read: a unit of
// several outputs may have read more than this one of them depends on.
Ref<Poison> Resolver::inherited(Node* output) noexcept {
  // Marks that no walk of the planner uses; under the graph lock.
  static std::uint64_t visit = std::uint64_t{1} << 63;
  ++visit;
  Ref<Poison> poison;
  std::array<Node*, 3 * max_instructions> stack;
  std::size_t size = 0;
  Node* node = output;
  for (;;) {
    for (Node* input : node->inputs()) {
      Node* base = input->storage();
      const State state = base->state_.load(std::memory_order_relaxed);
      if (state == State::poisoned) {
        try {
          poison = Poison::merge(poison, base->poison_);
        } catch (const std::bad_alloc&) {
          // The roots found so far have to do: there is one at least.
        }
      } else if (state == State::lazy && base->mark_ != visit && size < stack.size()) {
        base->mark_ = visit;
        stack[size++] = base;
      }
    }
    if (size == 0) return poison;
    node = stack[--size];
  }
}

void Resolver::publish(Node* output, const Ref<Poison>& poison, Node*& dead) noexcept {
  if (poison) {
    output->buffer_ = nullptr;
    output->poison_ = poison;
    output->submission_ = nullptr;
    output->state_.store(State::poisoned, std::memory_order_release);
  } else if (output->buffer_) {
    output->submission_ = nullptr;
    output->state_.store(State::ready, std::memory_order_release);
    output->drop_inputs(dead);
  }
}

void Resolver::settle(Submission& submission, Node*& dead) noexcept {
  const bool failed = submission.outcome.fault.code != Code::none;
  const Ref<Poison> whole = failed ? fail_whole(submission) : nullptr;
  bool clean = !failed;
  bool any = false;
  for (Unit& unit : submission.units) {
    clean = clean && unit.status == UnitStatus::succeeded;
    any = any || unit.status == UnitStatus::succeeded;
    if (!failed && (unit.status == UnitStatus::waiting || unit.status == UnitStatus::launched)) {
      // Completed without having been run: a device's mistake must not pass as a value.
      unit.status = UnitStatus::failed;
      unit.fault.code = Code::internal;
    }
    Ref<Poison> poison;
    if (unit.status == UnitStatus::failed) {
      poison = fail(submission, unit, false);
    } else if (ran(unit)) {
      poison = whole;
    }
    for (Node* output : unit.outputs) {
      publish(output, unit.status == UnitStatus::void_ ? inherited(output) : poison, dead);
    }
    for (Node* output : unit.voided) publish(output, inherited(output), dead);
  }
  if (const Attempts& attempts = submission.attempts; attempts.failures > 0) {
    // All of it was tried again.
    if (any && !failed && !attempts.given_up) {
      submission.device->record.recover(attempts.failures);
    } else {
      submission.device->record.suppress(attempts.failures);
    }
  }
  // The submission's own references, after every unit was looked at.
  const auto give_up = [&](Node* output) {
    if (output->state_.load(std::memory_order_relaxed) == State::scheduled) {
      // A transient that was consumed, or skipped work: nobody can read it now, and
      // whoever recomputes its readers recomputes it too.
      output->submission_ = nullptr;
      output->doomed_ = false;
      output->consumed_ = false;
      output->wanted_.store(false, std::memory_order_relaxed);
      output->state_.store(State::lazy, std::memory_order_release);
    }
    if (output->release_is_last()) {
      output->link_ = dead;
      dead = output;
    }
  };
  for (Unit& unit : submission.units) {
    if (unit.exception) std::exchange(unit.exception, nullptr)->release();
    for (Node* output : unit.outputs) give_up(output);
    for (Node* output : unit.voided) give_up(output);
  }
  submission.device->units.fetch_add(submission.units.size(), std::memory_order_relaxed);
  submission.device->submissions.fetch_add(1, std::memory_order_relaxed);
  if (clean) {
    submission.device->health.succeeded();
  } else {
    submission.device->record.keep_reserve();
  }
  submission.units = {};
}

void Resolver::retire(Submission& submission) noexcept {
  Stream& stream = *submission.stream;
  --stream.in_flight;
  stream.unresolved.fetch_sub(1, std::memory_order_relaxed);
  stream.planned_bytes -= submission.summable_bytes();
  ++stream.ended;
  for (Submission::Edge* edge = submission.dependents_; edge;) {
    Submission* dependent = edge->dependent;
    edge = edge->next;  // before the decrement: afterwards the edge's arena may be gone
    if (--dependent->pending_ == 0) advance(*dependent->stream);
  }
  submission.dependents_ = nullptr;
  advance(stream);
}

void Resolver::leave(Submission& submission) noexcept {
  Stream& stream = *submission.stream;
  (submission.previous_ ? submission.previous_->next_ : stream.first_unfinished) = submission.next_;
  (submission.next_ ? submission.next_->previous_ : stream.last_unfinished) = submission.previous_;
}

void Resolver::advance(Stream& stream) noexcept {
  while (stream.head && stream.head->pending_ == 0 && stream.in_flight < stream.device->depth()) {
    Submission* next = stream.head;
    stream.head = next->next_in_stream_;
    if (!stream.head) stream.tail = nullptr;
    ++stream.in_flight;
    stream.device->commit(next);
  }
}

void Resolver::resolve(Device& device) noexcept {
  Submission* list = device.record.take_completed();
  if (!list) return;
  for (Submission** at = &list; *at;) {
    Submission* next = (*at)->next_completed_;
    if (device.conclude(**at)) {
      at = &(*at)->next_completed_;
    } else {
      *at = next;  // it goes on, or is over already: nothing of it is ours any more
    }
  }
  if (!list) return;
  Node* dead = nullptr;
  {
    std::lock_guard lock(graph_lock());
    for (Submission* s = list; s;) {
      Submission* next = s->next_completed_;
      s->next_in_list_ = next;
      settle(*s, dead);
      retire(*s);
      s = next;
    }
  }
  // Inputs go before the wake-up, so that whoever wakes finds buffers free to donate.
  Node::destroy_chain(dead);
  for (Submission* s = list; s; s = s->next_in_list_) {
    s->arena.clear();
    s->done.set();
    Watch::resolved(*s);
  }
  {
    // Only now: whoever finds no work on a stream finds all of it done.
    std::lock_guard lock(graph_lock());
    for (Submission* s = list; s; s = s->next_in_list_) leave(*s);
  }
  while (list) {
    Submission* next = list->next_in_list_;
    list->release();
    list = next;
  }
}

}  // namespace nitinol
