// From failed nodes to new ones that compute the same.
#include "nitinol/retry.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "nitinol/graph.h"

namespace nitinol {

namespace {

constexpr std::uint32_t none = 0xffffffffu;

// Did a watchdog end what spoilt this?
bool took_too_long(const Poison& poison) noexcept {
  for (const Ref<Report>& report : poison.roots()) {
    const Code code = report->fault.code;
    if (code == Code::timeout || code == Code::impacting_interactivity) return true;
  }
  return false;
}

}  // namespace

// All of it under the graph lock. Steps: walk -> remake -> hang. Whatever is refused or may
// throw comes before `hang`.
class Retrier {
 public:
  explicit Retrier(RetryResult& result) noexcept : result_(result) {
    // Marks that neither the planner nor the resolver uses.
    static std::uint64_t visits = std::uint64_t{1} << 62;
    visit_ = ++visits;
  }

  bool run(std::span<Node* const> roots) {
    for (Node* root : roots) {
      if (!walk(latest(root))) return false;
    }
    for (std::size_t i = entries_.size(); i-- > 0;) spread(entries_[i]);
    remake();
    result_.nodes.reserve(roots.size());
    for (Node* root : roots) result_.nodes.push_back(Ref<Node>::share(current(root)));
    hang();
    return true;
  }

 private:
  struct Entry {  // a node without a value, after everything that it reads
    Node* node;
    bool changed;  // it is to be replaced
    bool alone;    // it repeats what took too long
    Ref<Node> made;
  };

  // What stands for a node since it was retried: itself if it wasn't.
  static Node* latest(Node* node) noexcept {
    while (Node* next = node->replacement_.load(std::memory_order_relaxed)) node = next;
    return node;
  }
  bool visited(const Node* node) const noexcept { return node->mark_ == visit_; }
  // After the walk: what a reader of `node` is to read.
  Node* current(Node* node) const noexcept {
    node = latest(node);
    if (!visited(node)) return node;
    const Entry& entry = entries_[node->slot_];
    return entry.made ? entry.made.get() : node;
  }
  // Has it no value, nor any under way, so that what it is made from matters?
  static bool open(Node* node) noexcept {
    if (node->op_ == Op::view && latest(node->inputs_[0]) != node->inputs_[0]) return true;
    const State state = node->state();
    return state == State::lazy || state == State::poisoned;
  }

  // Post-order, on a stack of its own: graphs are deep.
  bool walk(Node* root) {
    const auto push = [this](Node* node) {
      if (visited(node) || !open(node)) return;
      node->mark_ = visit_;
      node->slot_ = none;
      stack_.emplace_back(node, 0);
    };
    push(root);
    while (!stack_.empty()) {
      auto& [node, next] = stack_.back();
      if (next < node->input_count_) {
        push(latest(node->inputs_[next++]));
        continue;
      }
      Node* done = node;
      stack_.pop_back();
      if (!enter(done)) return false;
    }
    return true;
  }

  bool enter(Node* node) {
    const bool view = node->op_ == Op::view;
    const bool poisoned = !view && node->state() == State::poisoned;
    bool changed = poisoned;
    for (Node* input : node->inputs()) {
      Node* now = latest(input);
      changed = changed || now != input || (visited(now) && entries_[now->slot_].changed);
      if (!view && !readable(node, input, now)) return false;
    }
    if (!view && !runs(node->stream_->device)) return false;
    const bool alone = poisoned && took_too_long(*node->poison_);
    node->slot_ = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back(Entry{node, changed, alone, nullptr});
    return true;
  }

  // Is the value of an input still there, as it was?
  bool readable(Node* reader, Node* input, Node* now) {
    Node* storage = latest(now->storage());
    if (storage->state() != State::ready || !storage->consumed_) return true;
    // The update that wrote to it failed, and may write the same again.
    if (storage->buffer_ && input == reader->inputs_[0]) return true;
    result_.refusal = RetryRefusal::donated;
    result_.array = Ref<Node>::share(storage);
    result_.taker = Ref<Node>::share(reader);
    return false;
  }

  bool runs(Device* device) {
    const Condition condition = device->health.condition();
    if (condition < Condition::suspended) return true;
    result_.refusal = condition == Condition::lost ? RetryRefusal::lost : RetryRefusal::suspended;
    result_.device = device;
    return false;
  }

  // From readers to what they read: what was between them in one program is taken apart too.
  void spread(const Entry& entry) noexcept {
    if (!entry.alone) return;
    for (Node* input : entry.node->inputs()) {
      Node* now = latest(input);
      if (visited(now)) entries_[now->slot_].alone = true;
    }
  }

  void remake() {
    std::vector<Node*> inputs;
    for (Entry& entry : entries_) {
      if (!entry.changed) continue;
      Node* node = entry.node;
      if (node->op_ == Op::view) {
        entry.made = Node::make_view(current(node->inputs_[0]), Layout(node->layout_));
        trace_like(*node, *entry.made);
        continue;
      }
      inputs.clear();
      for (Node* input : node->inputs()) inputs.push_back(current(input));
      entry.made = Node::make(node->op_, node->dtype_, Layout(node->layout_), node->stream_, inputs,
                              node->params_);
      entry.made->callback_ = node->callback_;
      trace_like(*node, *entry.made);
    }
  }
  static void trace_like(const Node& node, Node& made) {
    if (node.trace_) made.trace(node.trace_->source, node.trace_->donations);
  }

  void hang() noexcept {
    for (Entry& entry : entries_) {
      if (entry.alone) (entry.made ? entry.made.get() : entry.node)->alone_ = true;
      if (!entry.made) continue;
      Node* nobody = nullptr;
      Node* made = entry.made.detach();
      if (!entry.node->replacement_.compare_exchange_strong(nobody, made)) made->release();
    }
  }

  RetryResult& result_;
  std::uint64_t visit_;
  std::vector<Entry> entries_;
  std::vector<std::pair<Node*, std::uint32_t>> stack_;
};

RetryResult retry(std::span<Node* const> roots) {
  RetryResult result;
  if (std::all_of(roots.begin(), roots.end(),
                  [](const Node* root) { return root->state() == State::ready; })) {
    for (Node* root : roots) result.nodes.push_back(Ref<Node>::share(root));
    return result;
  }
  if (forked() || closed()) {
    result.refusal = forked() ? RetryRefusal::forked : RetryRefusal::closed;
    return result;
  }
  std::lock_guard lock(graph_lock());
  Retrier(result).run(roots);
  return result;
}

}  // namespace nitinol
