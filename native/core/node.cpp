// Node: creation from recycled memory, and destruction without recursion.
#include "nitinol/node.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "nitinol/schedule.h"

namespace nitinol {

namespace {

// Nodes are made and dropped by the million: each thread keeps a few free ones, and
// batches move through a shared list, since the thread that drops a node is often
// not the one that made it.
struct FreeNode {
  FreeNode* next;
};

struct Local;

// In a forked child its lock may be held by a thread that does not exist there: nothing
// below touches it then, and threads keep the nodes that they have.
struct Shared {
  std::mutex mutex;
  FreeNode* free = nullptr;
  Local* threads = nullptr;
  std::int64_t finished_balance = 0;  // of threads that have ended
};

Shared& shared() noexcept {
  static auto* s = new Shared;
  return *s;
}

constexpr int batch = 128;

// Read on every operator: a plain pointer needs no check for initialisation.
constinit thread_local Local* mine = nullptr;

struct Local {
  FreeNode* free = nullptr;
  int count = 0;
  // Made minus dropped by this thread. Only the owner writes, so no locked
  // instruction is on the hot path.
  std::atomic<std::int64_t> balance{0};
  Local* next = nullptr;

  Local() noexcept;
  ~Local() {
    mine = nullptr;
    if (forked()) return;
    give(count);
    std::lock_guard lock(shared().mutex);
    shared().finished_balance += balance.load(std::memory_order_relaxed);
    Local** at = &shared().threads;
    while (*at != this) at = &(*at)->next;
    *at = next;
  }
  void add(std::int64_t n) noexcept {
    balance.store(balance.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void give(int n) noexcept {
    if (n <= 0 || forked()) return;
    FreeNode* first = free;
    FreeNode* last = first;
    for (int i = 1; i < n; ++i) last = last->next;
    free = last->next;
    count -= n;
    std::lock_guard lock(shared().mutex);
    last->next = shared().free;
    shared().free = first;
  }
  bool take() noexcept {
    if (forked()) return false;
    std::lock_guard lock(shared().mutex);
    for (int i = 0; i < batch && shared().free; ++i) {
      FreeNode* node = shared().free;
      shared().free = node->next;
      node->next = free;
      free = node;
      ++count;
    }
    return free != nullptr;
  }
};

Local::Local() noexcept {
  if (forked()) return;
  std::lock_guard lock(shared().mutex);
  next = shared().threads;
  shared().threads = this;
}

[[gnu::noinline]] Local& enter_thread() noexcept {
  // A node may be dropped while the thread's variables are being destroyed: then a
  // fresh Local is made, and left to the process.
  thread_local bool ended = false;
  struct Owner {
    Local local;
    ~Owner() { ended = true; }
  };
  if (ended) {
    mine = new Local;
  } else {
    thread_local Owner owner;
    mine = &owner.local;
  }
  return *mine;
}

inline Local& here() noexcept { return mine ? *mine : enter_thread(); }

void* allocate_node(std::size_t size) {
  Local& local = here();
  static_assert(alignof(Node) <= alignof(std::max_align_t));
  if (local.free == nullptr && !local.take()) {
    // A slab of nodes at once; slabs live as long as the process.
    char* slab = static_cast<char*>(::operator new(size * batch));
    for (int i = 0; i < batch; ++i) {
      auto* node = reinterpret_cast<FreeNode*>(slab + i * size);
      node->next = local.free;
      local.free = node;
    }
    local.count += batch;
  }
  FreeNode* node = local.free;
  local.free = node->next;
  --local.count;
  local.add(1);
  return node;
}

void free_node(void* p) noexcept {
  Local& local = here();
  auto* node = static_cast<FreeNode*>(p);
  node->next = local.free;
  local.free = node;
  local.add(-1);
  if (++local.count > 2 * batch) local.give(batch);
}

}  // namespace

std::int64_t Node::alive() noexcept {
  if (forked()) return 0;
  std::lock_guard lock(shared().mutex);
  std::int64_t sum = shared().finished_balance;
  for (Local* l = shared().threads; l; l = l->next) {
    sum += l->balance.load(std::memory_order_relaxed);
  }
  return sum;
}

void Node::attach(std::span<Node* const> inputs) {
  inputs_ = inputs.size() <= inline_inputs ? inline_ : new Node*[inputs.size()];
  for (Node* input : inputs) {
    input->retain();
    inputs_[input_count_++] = input;
  }
}

Ref<Node> Node::make(Op op, DType dtype, Layout&& layout, Stream* stream,
                     std::span<Node* const> inputs, Ref<Params> params) {
  void* memory = allocate_node(sizeof(Node));
  auto node =
      Ref<Node>::adopt(new (memory) Node(op, dtype, std::move(layout), stream, std::move(params)));
  node->attach(inputs);
  return node;
}

Ref<Node> Node::make_like(Op op, DType dtype, const Layout& layout, Stream* stream,
                          std::span<Node* const> inputs) {
  // A larger layout allocates: that may throw, so it comes before the node.
  if (layout.ndim() > Layout::inline_ndim) return make(op, dtype, Layout(layout), stream, inputs);
  void* memory = allocate_node(sizeof(Node));
  auto node = Ref<Node>::adopt(new (memory) Node(op, dtype, layout, stream));
  node->attach(inputs);
  return node;
}

Ref<Node> Node::make_data(DType dtype, Layout&& layout, Stream* stream, Ref<Buffer> buffer) {
  Ref<Node> node = make(Op::data, dtype, std::move(layout), stream, {});
  node->buffer_ = std::move(buffer);
  node->state_.store(State::ready, std::memory_order_release);
  return node;
}

Ref<Node> Node::make_view(Node* of, Layout&& layout) {
  Node* base = of->storage();
  Ref<Node> node = make(Op::view, of->dtype(), std::move(layout), of->stream(), {&base, 1});
  if (base->trace_) base->trace_->views.fetch_add(1, std::memory_order_relaxed);
  return node;
}

// A node that nobody else refers to has no views yet, which would have to be counted.
void Node::trace(const SourceLine* source, bool donations) {
  if (trace_ || references() != 1) return;
  trace_ = new Trace(source, donations);
  for (Node* input : inputs()) {
    if (input->op_ == Op::cast) input->trace(source, donations);
  }
}

void Node::drop_inputs(Node*& chain) noexcept {
  for (std::uint32_t i = 0; i < input_count_; ++i) {
    Node* input = inputs_[i];
    if (input->release_is_last()) {
      input->link_ = chain;
      chain = input;
    }
  }
  input_count_ = 0;
  if (inputs_ != inline_) delete[] inputs_;
  inputs_ = inline_;
  callback_ = nullptr;
}

void Node::destroy_chain(Node* chain) noexcept {
  while (chain) {
    Node* node = chain;
    chain = node->link_;
    if (node->reads_traced()) {
      node->inputs_[0]->trace_->views.fetch_sub(1, std::memory_order_relaxed);
    }
    delete node->trace_;
    node->drop_inputs(chain);
    if (Node* replacement = node->replacement_.load(std::memory_order_relaxed)) {
      if (replacement->release_is_last()) {
        replacement->link_ = chain;
        chain = replacement;
      }
    }
    node->~Node();
    free_node(node);
  }
}

void Node::destroy(Node* self) noexcept {
  self->link_ = nullptr;
  destroy_chain(self);
}

}  // namespace nitinol
