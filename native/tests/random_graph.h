// RandomGraph: graphs of every kind of node, and the oracle: what each array is worth, or which
// failures it must name, by plain recursion over what was built.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "check.h"
#include "graph_base.h"
#include "nitinol/graph.h"
#include "null_device.h"

namespace nitinol::testing {

// Threads that complete late, and faults; a limit of fusion as well.
inline Behaviour random_behaviour(unsigned seed, std::mt19937& random, int unit_faults,
                                  int whole_faults) {
  static constexpr int limits[] = {1, 3, 512};
  set_fusion_limit(limits[random() % 3]);
  return {.depth = 1 + static_cast<std::uint32_t>(random() % 3),
          .threads = 3,
          .seed = seed,
          .unit_faults = unit_faults,
          .whole_faults = whole_faults,
          .late = 300,
          .inline_units = seed % 2 ? 3u : 0,
          .caller_units = seed % 4 < 2 ? 8u : 0,
          .later = seed % 5 < 2};
}

struct RandomSpec : ArraySpec {
  std::int64_t number = -1;
  std::set<Root> judged;  // the failures that it names, once that is settled
};

class RandomGraph : public GraphBase<RandomSpec> {
 public:
  RandomGraph(NullDevice& device, std::vector<Stream*> streams, unsigned seed,
              const RandomGraph* parent = nullptr)
      : GraphBase(seed, parent), device_(device), streams_(std::move(streams)) {}

  void add() {
    const unsigned kind = held_.size() < 3 ? 0 : random_() % 20;
    if (kind == 0) {
      add_leaf();
    } else if (kind < 3) {
      add_view();
    } else if (kind < 6) {
      add_kernel();
    } else if (kind < 8) {
      add_update();
    } else {
      add_elementwise();
    }
  }

  // Everything held is resolved: is it what it must be?
  void check() {
    std::vector<std::set<Root>> roots;
    for (std::size_t i = 0; i < parents() + specs_.size(); ++i) {
      const Spec& s = spec(i);
      Root root;
      std::set<Root> expected;
      if (s.number >= 0 && device_.struck(s.number, root)) {
        expected.insert(root);
      } else {
        for (std::size_t input : s.inputs) {
          expected.insert(roots[input].begin(), roots[input].end());
        }
      }
      if (i >= parents() && s.node) check(s, expected);
      roots.push_back(std::move(expected));
    }
  }

  // Remembers what each array must be from now on, as nothing fails any more but what is
  // retried.
  void judge() {
    for (std::size_t i = parents(); i < parents() + specs_.size(); ++i) {
      Spec& s = specs_[i - parents()];
      Root root;
      if (s.number >= 0 && device_.struck(s.number, root)) {
        s.judged = {root};
      } else {
        s.judged = inherited(s);
      }
    }
  }
  void check_judged() {
    for (const Spec& spec : specs_) {
      if (spec.node) check(spec, spec.judged);
    }
  }
  using GraphBase::pick_held;
  Node* node(std::size_t i) const { return specs_[i].node.get(); }
  // The array was retried, and is healthy.
  void rebind(std::size_t i, Ref<Node> node) {
    specs_[i].node = std::move(node);
    specs_[i].judged.clear();
  }

 private:
  using Spec = RandomSpec;

  std::set<Root> inherited(const Spec& of) const {
    std::set<Root> roots;
    for (const Spec* input : inputs(of)) {
      roots.insert(input->judged.begin(), input->judged.end());
    }
    return roots;
  }
  std::vector<const Spec*> inputs(const Spec& of) const {
    std::vector<const Spec*> found;
    for (std::size_t i : of.inputs) found.push_back(&spec(i));
    return found;
  }

  void check(const Spec& spec, const std::set<Root>& roots) {
    const State state = spec.node->state();
    if (roots.empty()) {
      CHECK(state == State::ready);
      ++ready;
      const Layout& layout = spec.node->layout();
      CHECK(layout.size() == static_cast<std::int64_t>(spec.value.size()));
      for (std::int64_t e = 0; e < layout.size(); ++e) {
        CHECK(load(*spec.node, layout.shape(), e) == spec.value[static_cast<std::size_t>(e)]);
      }
      return;
    }
    CHECK(state == State::poisoned);
    ++poisoned;
    std::set<Root> named;
    for (const Ref<Report>& report : spec.node->poison()->roots()) {
      named.insert({report->submission, report->unit});
    }
    CHECK(named.size() == spec.node->poison()->roots().size());
    CHECK(named == roots);
  }

  Stream* stream() { return streams_[random_() % streams_.size()]; }
  Ref<Params> number(Spec& spec) {
    static std::atomic<std::int64_t> next{1};
    auto params = Ref<Params>::adopt(new Params);
    spec.number = next.fetch_add(1);
    params->ints = {spec.number};
    return params;
  }
  // The number of a held array with this dtype whose size is 1 or `size` (0: any).
  std::size_t choose(DType dtype, std::int64_t size) {
    const auto chosen = choose_held([&](const Spec& held) {
      const std::int64_t n = held.node->layout().size();
      return held.node->dtype() == dtype && (size == 0 || n == 1 || n == size);
    });
    if (chosen) return *chosen;
    return make_leaf(dtype, size == 0 ? 4 : size);
  }
  std::size_t keep(Spec made) {
    made.judged = inherited(made);
    return GraphBase::keep(std::move(made));
  }
  std::size_t make_leaf(DType dtype, std::int64_t size) {
    Spec leaf;
    const std::int64_t shape[] = {size};
    Ref<Buffer> buffer =
        Buffer::allocate(device_.memory, static_cast<std::size_t>(size) * itemsize(dtype));
    CHECK(buffer);
    leaf.node = Node::make_data(dtype, Layout(shape), streams_[0], std::move(buffer));
    for (std::int64_t e = 0; e < size; ++e) {
      const std::int64_t value =
          dtype == DType::bool_ ? random_() % 2 : static_cast<std::int64_t>(random_()) - (1 << 30);
      leaf.value.push_back(value);
      store(*leaf.node, e, value);
    }
    return keep(std::move(leaf));
  }
  void add_leaf() { make_leaf(random_() % 4 ? DType::int64 : DType::bool_, size()); }
  std::int64_t size() { return random_() % 4 == 0 ? 1 : random_() % 4 == 0 ? 7 : 4; }

  static std::int64_t at(const Spec& spec, std::int64_t e) {
    return spec.value[spec.value.size() == 1 ? 0 : static_cast<std::size_t>(e)];
  }
  // Makes the node of an array whose value is known, on the inputs chosen for it.
  void finish(Spec made, Op op, DType dtype, Layout layout) {
    std::vector<Node*> nodes;
    for (const Spec* input : inputs(made)) nodes.push_back(input->node.get());
    Ref<Params> params = number(made);
    made.node = Node::make(op, dtype, std::move(layout), stream(), nodes, std::move(params));
    keep(std::move(made));
  }

  void add_elementwise() {
    static constexpr Op ops[] = {Op::add,  Op::subtract, Op::multiply, Op::negative,
                                 Op::less, Op::where,    Op::cast};
    const Op op = ops[random_() % 7];
    Spec made;
    if (op == Op::where || op == Op::cast) made.inputs.push_back(choose(DType::bool_, 0));
    while (made.inputs.size() < info(op).arity) {
      std::int64_t n = 0;
      for (const Spec* input : inputs(made)) {
        n = std::max(n, static_cast<std::int64_t>(input->value.size()));
      }
      made.inputs.push_back(choose(DType::int64, n <= 1 ? 0 : n));
    }
    std::int64_t n = 1;
    for (const Spec* input : inputs(made)) {
      n = std::max(n, static_cast<std::int64_t>(input->value.size()));
    }
    for (std::int64_t e = 0; e < n; ++e) {
      std::int64_t x[3];
      int k = 0;
      for (const Spec* input : inputs(made)) x[k++] = at(*input, e);
      made.value.push_back(apply(op, x));
    }
    const std::int64_t shape[] = {n};
    finish(std::move(made), op, op == Op::less ? DType::bool_ : DType::int64, Layout(shape));
  }

  void add_kernel() {
    Spec made;
    for (unsigned n = 1 + random_() % 5; n > 0; --n) {
      made.inputs.push_back(choose(random_() % 5 ? DType::int64 : DType::bool_, 0));
    }
    const std::int64_t n = size();
    for (std::int64_t e = 0; e < n; ++e) {
      std::int64_t sum = 0;
      std::size_t k = 0;
      for (const Spec* input : inputs(made)) {
        const auto count = static_cast<std::int64_t>(input->value.size());
        sum = mix(sum, input->value[static_cast<std::size_t>((e + 1) % count)], k++);
      }
      made.value.push_back(sum);
    }
    const std::int64_t shape[] = {n};
    finish(std::move(made), Op::concatenate, DType::int64, Layout(shape));
  }

  void add_update() {
    Spec made;
    const std::size_t x = choose(DType::int64, 0);
    const auto n = static_cast<std::int64_t>(spec(x).value.size());
    const std::size_t fresh = choose(DType::int64, n);
    const std::size_t start = choose(DType::int64, 1);
    made.inputs = {x, fresh, start};
    made.value = spec(x).value;
    const auto count = static_cast<std::int64_t>(spec(fresh).value.size());
    const std::int64_t from = std::clamp<std::int64_t>(spec(start).value[0], 0, n - count);
    for (std::int64_t e = 0; e < count; ++e) {
      made.value[static_cast<std::size_t>(from + e)] =
          spec(fresh).value[static_cast<std::size_t>(e)];
    }
    const std::int64_t shape[] = {n};
    finish(std::move(made), Op::slice_update, DType::int64, Layout(shape));
    drop_updated(x, 2);
  }

  void add_view() {
    Spec made;
    const std::size_t of = choose(random_() % 4 ? DType::int64 : DType::bool_, 0);
    made.inputs = {of};
    const std::vector<std::int64_t> value = spec(of).value;
    const Layout& layout = spec(of).node->layout();
    const auto n = static_cast<std::int64_t>(value.size());
    const std::int64_t stride = layout.stride(0);
    std::int64_t shape[] = {n};
    std::int64_t strides[] = {-stride};
    std::int64_t offset = layout.offset() + (n - 1) * stride;
    if (n == 1) {  // broadcast
      shape[0] = 4;
      strides[0] = 0;
      made.value.assign(4, value[0]);
    } else if (random_() % 2) {  // the same again
      strides[0] = stride;
      offset = layout.offset();
      made.value = value;
    } else {  // reversed
      made.value.assign(value.rbegin(), value.rend());
    }
    made.node = Node::make_view(spec(of).node.get(), Layout(shape, strides, offset));
    keep(std::move(made));
  }

  NullDevice& device_;
  std::vector<Stream*> streams_;
};

}  // namespace nitinol::testing
