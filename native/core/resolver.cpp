// From completions to published results: reports first, then slots, then wake-ups.
#include "nitinol/resolver.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "nitinol/device.h"
#include "nitinol/graph.h"

namespace nitinol {

namespace {

// When even a report cannot be allocated the failure must not be lost: one that was
// made at start-up stands in for it.
Ref<Poison> fallback_poison() {
  static Poison* poison = [] {
    auto report = Ref<Report>::adopt(new Report);
    report->fault.code = Code::out_of_memory;
    return new Poison(std::move(report));
  }();
  return Ref<Poison>::share(poison);
}

ReportedArray describe(const Node& node) noexcept {
  ReportedArray array;
  array.op = node.op();
  array.dtype = node.dtype();
  array.ndim = static_cast<std::uint8_t>(node.layout().ndim());
  for (int i = 0; i < std::min<int>(array.ndim, ReportedArray::max_axes); ++i) {
    array.shape[i] = node.layout().shape(i);
  }
  return array;
}

Ref<Report> make_report(const Submission& submission, Unit& unit) {
  auto report = Ref<Report>::adopt(new Report);
  report->fault = unit.fault;
  report->secondary = unit.secondary;
  report->phase = unit.phase;
  report->op = unit.op;
  report->stream = submission.stream->index;
  report->unit = static_cast<std::uint32_t>(&unit - submission.units.data());
  report->instructions =
      unit.program ? static_cast<std::uint32_t>(unit.program->code.size()) : 1;
  report->submission = submission.id;
  report->device = submission.device;
  report->array_count = static_cast<std::uint8_t>(std::min<std::size_t>(255, unit.outputs.size()));
  for (int i = 0; i < std::min<int>(report->array_count, Report::max_arrays); ++i) {
    report->arrays[i] = describe(*unit.outputs[i]);
  }
  if (const Params* params = unit.outputs.empty() ? nullptr : unit.outputs[0]->params()) {
    std::strncpy(report->text, params->text.c_str(), Report::max_text - 1);
  }
  report->exception = Ref<Keep>::adopt(std::exchange(unit.exception, nullptr));
  return report;
}

}  // namespace

bool Submission::complete(const Fault& fault) noexcept {
  std::uint8_t pending = Outcome::pending;
  if (!outcome.state.compare_exchange_strong(pending, Outcome::writing,
                                             std::memory_order_acq_rel)) {
    return false;
  }
  outcome.fault = fault;
  outcome.state.store(Outcome::complete, std::memory_order_release);
  device->record.push_completed(this);
  return true;
}

void Resolver::settle(Submission& submission, Node*& dead) noexcept {
  const Fault whole = submission.outcome.fault;
  for (Unit& unit : submission.units) {
    Ref<Poison> poison;
    if (whole.code != Code::none && unit.status != UnitStatus::void_ &&
        unit.status != UnitStatus::failed) {
      // The submission failed as a whole, whatever its units thought.
      unit.status = UnitStatus::failed;
      unit.fault = whole;
    }
    try {
      if (unit.status == UnitStatus::failed) {
        Ref<Report> report = make_report(submission, unit);
        submission.device->health.failed(unit.fault.code);
        submission.device->record.push(report);
        if (unit.secondary != Code::none) submission.device->record.suppress();
        poison = Ref<Poison>::adopt(new Poison(std::move(report)));
      } else if (unit.status == UnitStatus::void_) {
        for (Node* input : unit.inputs) poison = Poison::merge(poison, input->storage()->poison_);
      }
    } catch (const std::bad_alloc&) {
      if (!poison) poison = fallback_poison();
    }
    for (Node* output : unit.outputs) {
      if (poison) {
        output->buffer_ = nullptr;
        output->poison_ = poison;
        output->submission_ = nullptr;
        output->state_.store(State::poisoned, std::memory_order_release);
      } else if (output->buffer_) {
        output->submission_ = nullptr;
        output->state_.store(State::ready, std::memory_order_release);
        output->drop_inputs(dead);
      } else {
        // A transient that was consumed, or skipped work: nobody can read it now, and
        // whoever recomputes its readers recomputes it too.
        output->submission_ = nullptr;
        output->doomed_ = false;
        output->wanted_.store(false, std::memory_order_relaxed);
        output->state_.store(State::lazy, std::memory_order_release);
      }
    }
  }
  // The submission's own references, after every unit was looked at.
  for (Unit& unit : submission.units) {
    if (unit.exception) std::exchange(unit.exception, nullptr)->release();
    for (Node* output : unit.outputs) {
      if (output->release_is_last()) {
        output->link_ = dead;
        dead = output;
      }
    }
  }
  submission.device->units.fetch_add(submission.units.size(), std::memory_order_relaxed);
  submission.device->submissions.fetch_add(1, std::memory_order_relaxed);
  const bool clean = std::all_of(submission.units.begin(), submission.units.end(),
                                 [](const Unit& u) { return u.status == UnitStatus::succeeded; });
  if (clean) submission.device->health.succeeded();
  submission.units = {};
}

void Resolver::retire(Submission& submission) noexcept {
  Stream& stream = *submission.stream;
  --stream.in_flight;
  (submission.previous_ ? submission.previous_->next_ : stream.first_unresolved) =
      submission.next_;
  (submission.next_ ? submission.next_->previous_ : stream.last_unresolved) =
      submission.previous_;
  for (Submission::Edge* edge = submission.dependents_; edge;) {
    Submission* dependent = edge->dependent;
    edge = edge->next;  // before the decrement: afterwards the edge's arena may be gone
    if (--dependent->pending_ == 0) advance(*dependent->stream);
  }
  submission.dependents_ = nullptr;
  advance(stream);
}

void Resolver::advance(Stream& stream) noexcept {
  while (stream.head && stream.head->pending_ == 0 &&
         stream.in_flight < stream.device->depth()) {
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
  while (list) {
    Submission* next = list->next_in_list_;
    list->arena.clear();
    list->done.set();
    list->release();
    list = next;
  }
}

}  // namespace nitinol
