// Walking the graph and deciding which nodes run together.
#include "planner.h"

#include <algorithm>
#include <atomic>

#include "nitinol/graph.h"
#include "nitinol/resolver.h"

namespace nitinol {

namespace {
std::atomic<int> fusion{max_instructions};
// A submission of more units than this is cut: the first part runs while the rest is
// still being built, and its memory comes back earlier.
constexpr std::uint32_t max_units = 4096;
}  // namespace

void set_fusion_limit(int instructions) noexcept {
  fusion.store(std::clamp(instructions, 1, max_instructions), std::memory_order_relaxed);
}
int fusion_limit() noexcept { return fusion.load(std::memory_order_relaxed); }

Planner& Planner::shared() {
  static auto* planner = new Planner;
  return *planner;
}

void Planner::push(Node* node) {
  if (first_stream_ == nullptr) first_stream_ = node->stream_;
  one_stream_ = one_stream_ && node->stream_ == first_stream_;
  node->mark_ = epoch_;
  node->slot_ = none;
  stack_.emplace_back(node, 0);
}

// Post-order, so every node comes after what it reads; an explicit stack, because a
// chain may be a million nodes long.
void Planner::walk(std::span<Node* const> roots) {
  ++epoch_;
  one_stream_ = true;
  first_stream_ = nullptr;
  for (Node* root : roots) {
    Node* base = root->storage();
    const State state = base->state_.load(std::memory_order_acquire);
    if (state == State::scheduled) foreign_.push_back(base->submission_);
    if (state != State::lazy || planned(base)) continue;
    push(base);
    while (!stack_.empty()) {
      auto& [node, next] = stack_.back();
      if (next == node->input_count_) {
        node->slot_ = static_cast<std::uint32_t>(items_.size());
        items_.push_back(Item{node});
        stack_.pop_back();
        continue;
      }
      Node* input = node->inputs_[next++];
      if (input->state() == State::lazy && !planned(input)) push(input);
    }
  }
}

// An array that only planned nodes refer to need not exist afterwards. A reference
// through a view counts when the view itself is such an array.
void Planner::count() {
  for (std::size_t i = items_.size(); i-- > 0;) {
    Item& item = items_[i];
    item.internal = item.node->references() == item.edges;
    if (item.node->op_ == Op::view && !item.internal) continue;
    for (Node* input : item.node->inputs()) {
      if (planned(input)) ++items_[input->slot_].edges;
    }
  }
}

std::uint32_t Planner::find(std::uint32_t g) {
  while (groups_[g].parent != g) {
    groups_[g].parent = groups_[groups_[g].parent].parent;
    g = groups_[g].parent;
  }
  return g;
}

std::uint32_t Planner::part_of(const Item& item) {
  Node* node = item.node;
  std::uint32_t depth = 0;
  for (Node* input : node->inputs()) {
    Node* base = input->storage();
    if (!planned(base)) continue;
    const bool crosses = base->stream_ != node->stream_;
    depth = std::max(depth, part_depth_[base->slot_] + (crosses ? 1 : 0));
  }
  part_depth_[node->slot_] = depth;
  if (!parts_.empty() && parts_.back().stream == node->stream_ && parts_.back().depth == depth) {
    return static_cast<std::uint32_t>(parts_.size() - 1);
  }
  const std::uint64_t key = std::uint64_t{node->stream_->id} << 32 | depth;
  const auto [at, fresh] = part_index_.try_emplace(key, static_cast<std::uint32_t>(parts_.size()));
  if (fresh) parts_.push_back(Part{node->stream_, depth, {}});
  return at->second;
}

void Planner::merge(std::uint32_t into, std::uint32_t from) {
  Group& a = groups_[into];
  Group& b = groups_[from];
  items_[a.tail].next = b.head;
  a.tail = b.tail;
  a.count += b.count;
  if (b.deepest != none && (a.deepest == none || b.deepest > a.deepest)) a.deepest = b.deepest;
  b.parent = into;
}

// Groups run in the order of their numbers. A node may join the latest group that it
// reads, when that is a chain of the same shape; everything else it reads runs before.
// Reading it through a view needs the whole array, so that never joins.
bool Planner::join(std::uint32_t index, std::uint32_t part) {
  Item& item = items_[index];
  const Layout& shape = item.node->layout();
  std::uint32_t latest = none;
  bool direct = false;
  bool several = false;
  for (Node* input : item.node->inputs()) {
    Node* base = input->storage();
    if (!planned(base)) continue;
    const std::uint32_t g = find(items_[base->slot_].group);
    const bool fits = input == base && groups_[g].fusable && groups_[g].part == part &&
                      base->layout().same_shape(shape);
    several = several || (latest != none && g != latest);
    if (latest == none || g > latest) {
      latest = g;
      direct = fits;
    } else if (g == latest) {
      direct = direct && fits;
    }
  }
  if (latest == none || !direct || groups_[latest].count >= limit_) return false;
  if (several) latest = meet(item, part, latest);
  Group& g = groups_[latest];
  items_[g.tail].next = index;
  g.tail = index;
  ++g.count;
  item.group = latest;
  if (several) note_reads(item);
  return true;
}

// Two independent chains that meet in this node become one, where no order is broken:
// the later one must not read anything as late as the earlier one, nor the node anything
// in between.
std::uint32_t Planner::meet(const Item& item, std::uint32_t part, std::uint32_t latest) {
  for (Node* input : item.node->inputs()) {
    if (!planned(input) || input->op_ == Op::view) continue;
    const std::uint32_t g = find(items_[input->slot_].group);
    const Group& early = groups_[g];
    const Group& late = groups_[latest];
    if (g == latest || !early.fusable || early.part != part ||
        !input->layout().same_shape(item.node->layout()) || early.count + late.count >= limit_ ||
        (late.deepest != none && late.deepest >= g)) {
      continue;
    }
    bool in_order = true;
    for (Node* other : item.node->inputs()) {
      Node* base = other->storage();
      if (!planned(base)) continue;
      const std::uint32_t og = find(items_[base->slot_].group);
      if (og != latest && (og > g || (og == g && other != base))) in_order = false;
    }
    if (!in_order) continue;
    merge(g, latest);
    latest = g;
  }
  return latest;
}

// Keeps count of the latest group that the item's group reads.
void Planner::note_reads(const Item& item) {
  const std::uint32_t mine = item.group;
  Group& g = groups_[mine];
  for (Node* input : item.node->inputs()) {
    Node* base = input->storage();
    if (!planned(base)) continue;
    const std::uint32_t other = find(items_[base->slot_].group);
    if (other != mine && (g.deepest == none || other > g.deepest)) g.deepest = other;
  }
}

void Planner::group() {
  limit_ = static_cast<std::uint32_t>(fusion_limit());
  if (one_stream_ && !items_.empty()) {
    parts_.push_back(Part{items_[0].node->stream_, 0, {}});
  } else {
    part_depth_.assign(items_.size(), 0);
  }
  for (std::uint32_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    if (item.node->op_ == Op::view) continue;
    const std::uint32_t part = one_stream_ ? 0 : part_of(item);
    const bool fusable = info(item.node->op_).elementwise && !item.node->alone_;
    if (fusable && join(i, part)) continue;
    item.group = static_cast<std::uint32_t>(groups_.size());
    groups_.push_back(Group{item.group, i, i, 1, part, none, none, fusable});
    note_reads(item);
  }
}

// Parts in the order of their depth, each cut to size: a submission then depends on
// earlier ones only.
void Planner::split() {
  for (std::uint32_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].parent == g) parts_[groups_[g].part].groups.push_back(g);
  }
  std::vector<std::uint32_t> order(parts_.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
    return parts_[a].depth < parts_[b].depth;
  });
  for (std::uint32_t p : order) {
    Part& part = parts_[p];
    std::uint32_t room = 0;  // in the submission that was begun last
    for (std::size_t i = 0; i < part.groups.size(); ++i) {
      const bool alone = items_[groups_[part.groups[i]].head].node->alone_;
      if (room == 0 || alone) {
        room = alone ? 1 : max_units;
        Plan plan;
        plan.submission = Ref<Submission>::adopt(new Submission);
        plan.submission->device = part.stream->device;
        plan.submission->stream = part.stream;
        plans_.push_back(std::move(plan));
      }
      --room;
      groups_[part.groups[i]].submission = static_cast<std::uint32_t>(plans_.size() - 1);
    }
  }
}

void Planner::classify() {
  for (Item& item : items_) item.transient = item.internal;
  for (Item& item : items_) {
    if (item.node->op_ == Op::view) continue;
    const std::uint32_t mine = find(item.group);
    for (Node* input : item.node->inputs()) {
      Node* base = input->storage();
      if (!planned(base)) continue;
      Item& source = items_[base->slot_];
      const std::uint32_t theirs = find(source.group);
      if (theirs == mine) {
        ++source.uses;
      } else {
        source.materialise = true;
        if (groups_[theirs].submission != groups_[mine].submission) {
          source.transient = false;
          source.crosses = true;
        }
      }
    }
  }
}

ScheduleResult Planner::run(std::span<Node* const> roots, bool may_run_inline, Scope* scope) {
  struct Cleanup {
    Planner& planner;
    ~Cleanup() { planner.reset(); }
  } cleanup{*this};

  walk(roots);
  count();
  group();
  split();
  classify();
  build();

  if (scope) {
    for (Plan& plan : plans_) plan.submission->scope = Ref<Scope>::share(scope);
  }

  ScheduleResult result;
  const bool alone = plans_.size() == 1 && foreign_.empty() && plans_[0].dependencies.empty();
  bool on_caller = false;
  if (may_run_inline && alone && plans_[0].submission->stream->unresolved == 0) {
    Submission& submission = *plans_[0].submission;
    on_caller = submission.device->runs_on_caller(submission);
    if (submission.device->runs_inline(submission)) {
      claim();
      submission.device->run_inline(submission);
      Node* dead = nullptr;
      Resolver::settle(submission, dead);
      Node::destroy_chain(dead);
      return result;
    }
  }
  if (plans_.empty() && foreign_.empty()) return result;
  result.evaluation = Ref<Evaluation>::adopt(new Evaluation);
  auto& waits = result.evaluation->waits_;
  waits.reserve(plans_.size() + foreign_.size());
  for (Submission* s : foreign_) waits.push_back(Ref<Submission>::share(s));
  for (Plan& plan : plans_) waits.push_back(plan.submission);
  claim();
  if (on_caller) {
    result.for_caller = plans_[0].submission;
    hold(*result.for_caller);
    ++result.for_caller->stream->in_flight;
    return result;
  }
  for (Plan& plan : plans_) enqueue(plan);
  return result;
}

// Vectors keep their memory from call to call, unless a huge graph blew them up.
void Planner::reset() {
  constexpr std::size_t keep = 1 << 16;
  const auto clear = [](auto& vector) {
    vector.clear();
    if (vector.capacity() > keep) vector.shrink_to_fit();
  };
  clear(items_);
  clear(stack_);
  clear(groups_);
  clear(parts_);
  clear(part_depth_);
  clear(plans_);
  clear(foreign_);
  part_index_.clear();
}

}  // namespace nitinol
