// The second half of planning: groups of nodes become units, then are claimed.
#include <algorithm>
#include <bit>
#include <limits>

#include "nitinol/resolver.h"
#include "planner.h"

namespace nitinol {

namespace {

// Slots while a program is being built, when the number of inputs is still open: the
// two top bits tell inputs, outputs and registers apart.
constexpr std::uint16_t output_tag = 0x4000;
constexpr std::uint16_t register_tag = 0x8000;
constexpr std::uint16_t tag_mask = 0xc000;

int size_class(DType dtype) noexcept {
  return std::countr_zero(static_cast<unsigned>(itemsize(dtype)));
}

std::size_t saturating_add(std::size_t a, std::size_t b) noexcept {
  return a > std::numeric_limits<std::size_t>::max() - b ? std::numeric_limits<std::size_t>::max()
                                                         : a + b;
}

std::uint64_t next_submission = 1;  // under the graph lock

}  // namespace

void Planner::build() {
  std::vector<std::uint32_t> counts(plans_.size(), 0);
  for (std::uint32_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].parent == g) ++counts[groups_[g].submission];
  }
  std::vector<std::span<Unit>> units(plans_.size());
  for (std::size_t p = 0; p < plans_.size(); ++p) {
    units[p] = plans_[p].submission->arena.array<Unit>(counts[p]);
    counts[p] = 0;
  }
  for (std::uint32_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].parent != g) continue;
    const std::uint32_t p = groups_[g].submission;
    Unit& unit = units[p][counts[p]++];
    if (info(items_[groups_[g].head].node->op_).elementwise) {
      build_program(plans_[p], groups_[g], unit);
    } else {
      build_kernel(plans_[p], groups_[g], unit);
    }
  }
  for (std::size_t p = 0; p < plans_.size(); ++p) {
    Plan& plan = plans_[p];
    plan.stamp = ++stamp_;
    plan.submission->units = units[p];
    plan_memory(plan);
    for (const Unit& unit : units[p]) {
      for (Node* input : unit.inputs) {
        Node* base = input->storage();
        if (planned(base)) {
          const std::uint32_t other = groups_[find(items_[base->slot_].group)].submission;
          if (other != p) depend(plan, plans_[other].submission.get());
        } else if (base->state() == State::scheduled) {
          depend(plan, base->submission_);
        }
      }
    }
    plan.edges = plan.submission->arena.array<Submission::Edge>(plan.dependencies.size());
  }
}

void Planner::depend(Plan& plan, Submission* on) {
  if (on->stamp_ == plan.stamp) return;
  on->stamp_ = plan.stamp;
  plan.dependencies.push_back(on);
}

void Planner::build_kernel(Plan& plan, const Group& group, Unit& unit) {
  Arena& arena = plan.submission->arena;
  Node* node = items_[group.head].node;
  unit.op = node->op_;
  unit.inputs = arena.array<Node*>(node->input_count_);
  std::copy(node->inputs().begin(), node->inputs().end(), unit.inputs.begin());
  outputs_.assign(1, node);
  set_outputs(plan, unit);
}

std::uint16_t Planner::input_slot(Node* node) {
  // The same few arrays come again and again, the latest most often.
  const auto at = std::find(inputs_.begin(), inputs_.end(), node);
  const auto slot = static_cast<std::uint16_t>(at - inputs_.begin());
  if (at == inputs_.end()) inputs_.push_back(node);
  return slot;
}

std::uint16_t Planner::take_register(DType dtype) {
  auto& free = free_registers_[size_class(dtype)];
  if (!free.empty()) {
    const std::uint16_t slot = free.back();
    free.pop_back();
    return slot;
  }
  registers_.push_back(dtype);
  return static_cast<std::uint16_t>(registers_.size() - 1) | register_tag;
}

void Planner::build_program(Plan& plan, const Group& group, Unit& unit) {
  Arena& arena = plan.submission->arena;
  inputs_.clear();
  outputs_.clear();
  registers_.clear();
  for (auto& free : free_registers_) free.clear();
  const std::span<Instruction> code = arena.array<Instruction>(group.count);
  const std::uint32_t self = find(items_[group.head].group);

  std::size_t at = 0;
  for (std::uint32_t i = group.head; i != none; i = items_[i].next, ++at) {
    Item& item = items_[i];
    Node* node = item.node;
    Instruction& step = code[at];
    step.op = node->op_;
    step.arity = static_cast<std::uint8_t>(node->input_count_);
    step.out = node->dtype_;
    step.in = node->inputs_[node->op_ == Op::where ? 1 : 0]->dtype_;
    for (std::uint32_t k = 0; k < node->input_count_; ++k) {
      Node* input = node->inputs_[k];
      const bool inside =
          planned(input) && input->op_ != Op::view && find(items_[input->slot_].group) == self;
      step.source[k] = inside ? items_[input->slot_].value : input_slot(input);
    }
    // Registers read for the last time may be overwritten by this very step: loops
    // allow an operand and the result to be the same memory.
    for (std::uint32_t k = 0; k < node->input_count_; ++k) {
      if ((step.source[k] & tag_mask) != register_tag) continue;
      Item& source = items_[node->inputs_[k]->slot_];
      if (--source.uses == 0) {
        free_registers_[size_class(source.node->dtype_)].push_back(source.value);
      }
    }
    if (item.internal && !item.materialise) {
      item.value = take_register(node->dtype_);
    } else {
      item.value = static_cast<std::uint16_t>(outputs_.size()) | output_tag;
      outputs_.push_back(node);
    }
    step.target = item.value;
    unit.op = node->op_;
  }

  const auto inputs = static_cast<std::uint16_t>(inputs_.size());
  const auto outputs = static_cast<std::uint16_t>(outputs_.size());
  const auto final_slot = [&](std::uint16_t slot) -> std::uint16_t {
    const auto number = static_cast<std::uint16_t>(slot & ~tag_mask);
    if ((slot & tag_mask) == output_tag) return inputs + number;
    if ((slot & tag_mask) == register_tag) return inputs + outputs + number;
    return number;
  };
  for (Instruction& step : code) {
    step.target = final_slot(step.target);
    for (int k = 0; k < step.arity; ++k) step.source[k] = final_slot(step.source[k]);
  }
  const auto registers = arena.array<DType>(registers_.size());
  std::copy(registers_.begin(), registers_.end(), registers.begin());
  Program& program = arena.array<Program>(1)[0];
  program.code = code;
  program.registers = registers;
  program.inputs = inputs;
  program.outputs = outputs;
  unit.program = &program;
  unit.fused = code.size() > 1;
  unit.inputs = arena.array<Node*>(inputs_.size());
  std::copy(inputs_.begin(), inputs_.end(), unit.inputs.begin());
  set_outputs(plan, unit);
}

void Planner::set_outputs(Plan& plan, Unit& unit) {
  Arena& arena = plan.submission->arena;
  unit.outputs = arena.array<Node*>(outputs_.size());
  unit.edges = arena.array<std::uint32_t>(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    unit.outputs[i] = outputs_[i];
    const Item& item = items_[outputs_[i]->slot_];
    // What another submission reads is wanted, whoever else refers to it.
    unit.edges[i] = item.crosses ? 0 : item.edges;
  }
}

// From the last unit back: the first reader met is the last to run. Then the bytes
// that are needed at once.
void Planner::plan_memory(Plan& plan) {
  Arena& arena = plan.submission->arena;
  const std::span<Unit> units = plan.submission->units;
  for (std::size_t u = units.size(); u-- > 0;) {
    Unit& unit = units[u];
    outputs_.clear();
    for (Node* input : unit.inputs) {
      Node* base = input->storage();
      if (!planned(base)) continue;
      Item& item = items_[base->slot_];
      if (!item.transient || item.released) continue;
      item.released = true;
      outputs_.push_back(base);
    }
    unit.releases = arena.array<Node*>(outputs_.size());
    std::copy(outputs_.begin(), outputs_.end(), unit.releases.begin());
  }
  plan.submission->planned_bytes =
      plan.submission->device->runs_later() ? recycled_peak(units) : freed_peak(units);
}

// Where transients are freed as soon as they are read.
std::size_t Planner::freed_peak(std::span<const Unit> units) noexcept {
  std::size_t live = 0;
  std::size_t peak = 0;
  for (const Unit& unit : units) {
    for (const Node* output : unit.outputs) {
      live = saturating_add(live, Buffer::footprint(output->bytes()));
    }
    peak = std::max(peak, live);
    for (const Node* gone : unit.releases) {
      live -= std::min(live, Buffer::footprint(gone->bytes()));
    }
  }
  return peak;
}

// Where they are used again for outputs of their size, and freed when all has ended.
std::size_t Planner::recycled_peak(std::span<const Unit> units) {
  std::size_t taken = 0;
  std::unordered_map<std::size_t, std::size_t> free;  // blocks by their size
  for (const Unit& unit : units) {
    for (const Node* output : unit.outputs) {
      const std::size_t size = Buffer::footprint(output->bytes());
      const auto at = free.find(size);
      if (at != free.end() && at->second > 0) {
        --at->second;
      } else {
        taken = saturating_add(taken, size);
      }
    }
    for (const Node* gone : unit.releases) ++free[Buffer::footprint(gone->bytes())];
  }
  return taken;
}

// From here on nothing fails: the plan becomes visible to the rest of the process.
void Planner::claim() noexcept {
  for (Plan& plan : plans_) {
    Submission& submission = *plan.submission;
    submission.id = next_submission++;
    for (Unit& unit : submission.units) {
      for (Node* output : unit.outputs) {
        output->retain();
        output->submission_ = &submission;
        output->state_.store(State::scheduled, std::memory_order_release);
      }
    }
    for (std::size_t i = 0; i < plan.edges.size(); ++i) {
      Submission& on = *plan.dependencies[i];
      plan.edges[i] = Submission::Edge{&submission, on.dependents_};
      on.dependents_ = &plan.edges[i];
    }
    submission.pending_ = static_cast<std::uint32_t>(plan.edges.size());
  }
}

// Until it has resolved, a submission holds itself and is on its stream's list.
void Planner::hold(Submission& submission) noexcept {
  Stream& stream = *submission.stream;
  submission.retain();
  submission.previous_ = stream.last_unfinished;
  (stream.last_unfinished ? stream.last_unfinished->next_ : stream.first_unfinished) = &submission;
  stream.last_unfinished = &submission;
  stream.unresolved.fetch_add(1, std::memory_order_relaxed);
  stream.planned_bytes += submission.summable_bytes();
}

void Planner::enqueue(Plan& plan) noexcept {
  Submission& submission = *plan.submission;
  Stream& stream = *submission.stream;
  hold(submission);
  (stream.tail ? stream.tail->next_in_stream_ : stream.head) = &submission;
  stream.tail = &submission;
  Resolver::advance(stream);
}

}  // namespace nitinol
