// Node: an array in the graph: what computes it, and its write-once result.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "nitinol/buffer.h"
#include "nitinol/dtype.h"
#include "nitinol/error.h"
#include "nitinol/layout.h"
#include "nitinol/op.h"
#include "nitinol/ref.h"
#include "nitinol/trace.h"

namespace nitinol {

struct Stream;
class Submission;

// lazy -> scheduled -> ready | poisoned, each written once; a value that no handle
// can reach and that was not kept goes back to lazy, as if it had never been asked
// for. Transitions happen under the graph lock, readers load with acquire.
enum class State : std::uint8_t { lazy, scheduled, ready, poisoned };

class Node : public Counted<Node> {
 public:
  // Throws std::bad_alloc before anything is claimed.
  static Ref<Node> make(Op op, DType dtype, Layout&& layout, Stream* stream,
                        std::span<Node* const> inputs, Ref<Params> params = nullptr);
  // The same with a copy of `layout`, without parameters: what most operators make.
  static Ref<Node> make_like(Op op, DType dtype, const Layout& layout, Stream* stream,
                             std::span<Node* const> inputs);
  // A leaf with its value.
  static Ref<Node> make_data(DType dtype, Layout&& layout, Stream* stream, Ref<Buffer> buffer);
  // Another layout over the storage of `of`.
  static Ref<Node> make_view(Node* of, Layout&& layout);

  Op op() const noexcept { return op_; }
  DType dtype() const noexcept { return dtype_; }
  const Layout& layout() const noexcept { return layout_; }
  Stream* stream() const noexcept { return stream_; }
  const Params* params() const noexcept { return params_.get(); }
  std::span<Node* const> inputs() const noexcept { return {inputs_, input_count_}; }

  // The node whose slot holds this one's value: a view's base, else itself.
  Node* storage() noexcept { return op_ == Op::view ? inputs_[0] : this; }
  const Node* storage() const noexcept { return op_ == Op::view ? inputs_[0] : this; }

  // Of the storage; views have no slot of their own.
  State state() const noexcept { return storage()->state_.load(std::memory_order_acquire); }
  // When ready.
  Buffer* buffer() const noexcept { return storage()->buffer_.get(); }
  char* data() const noexcept {
    return storage()->buffer_->data() +
           layout_.offset() * static_cast<std::int64_t>(itemsize(dtype_));
  }
  // When poisoned.
  const Ref<Poison>& poison() const noexcept { return storage()->poison_; }
  std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(layout_.size()) * itemsize(dtype_);
  }

  void set_callback(Ref<Keep> callback) noexcept { callback_ = std::move(callback); }
  const Ref<Keep>& callback() const noexcept { return callback_; }

  // While somebody debugs. To be called by the maker of a node, before others see it; throws
  // std::bad_alloc. Casts that were made for it are traced to the same line.
  void trace(const SourceLine* source, bool donations);
  const SourceLine* source() const noexcept { return trace_ ? trace_->source : nullptr; }
  // The array of a user refers to it, or does so no longer.
  void hold_handle() noexcept {
    if (trace_) trace_->handles.fetch_add(1, std::memory_order_relaxed);
  }
  void drop_handle() noexcept {
    if (trace_) trace_->handles.fetch_sub(1, std::memory_order_relaxed);
  }

  static void destroy(Node* self) noexcept;
  // Nodes alive in the process; for leak tests.
  static std::int64_t alive() noexcept;

 private:
  friend class Planner;
  friend class Resolver;
  friend class Retrier;
  friend class Runner;

  Node(Op op, DType dtype, const Layout& layout, Stream* stream) noexcept
      : layout_(layout), stream_(stream), op_(op), dtype_(dtype) {}
  Node(Op op, DType dtype, Layout&& layout, Stream* stream, Ref<Params>&& params) noexcept
      : layout_(std::move(layout)),
        stream_(stream),
        params_(std::move(params)),
        op_(op),
        dtype_(dtype) {}
  ~Node() = default;
  void attach(std::span<Node* const> inputs);
  bool reads_traced() const noexcept { return op_ == Op::view && inputs_[0]->trace_ != nullptr; }
  // Gives up the references to the inputs; `chain` collects those that died.
  void drop_inputs(Node*& chain) noexcept;
  static void destroy_chain(Node* chain) noexcept;

  static constexpr int inline_inputs = 3;

  Layout layout_;
  Stream* stream_;
  Ref<Params> params_;
  Ref<Keep> callback_;
  Node** inputs_ = nullptr;
  Node* inline_[inline_inputs] = {};
  std::uint32_t input_count_ = 0;
  Op op_;
  DType dtype_;
  std::atomic<State> state_{State::lazy};

  // The slot: written by whoever runs the node, then published through state_.
  bool doomed_ = false;              // the unit failed or was void
  std::atomic<bool> wanted_{false};  // a unit that will run reads it
  // The buffer went to an update in place. If it is still there, that update failed, and
  // gives the right result when it is repeated; nothing else may read it.
  bool consumed_ = false;
  bool alone_ = false;  // repeats what a watchdog ended: one kernel, in a submission of its own
  Ref<Buffer> buffer_;
  Ref<Poison> poison_;
  // A retry never rewrites the slot: it hangs the recomputed node here.
  std::atomic<Node*> replacement_{nullptr};
  Trace* trace_ = nullptr;  // null unless it was made while somebody debugged; owned

  Submission* submission_ = nullptr;  // while scheduled; graph lock

  // Scratch of a walk, under the graph lock; `link_` also chains dead nodes.
  Node* link_ = nullptr;
  std::uint64_t mark_ = 0;
  std::uint32_t slot_ = 0;
};

}  // namespace nitinol
