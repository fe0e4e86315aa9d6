// DeviceGraph: random graphs for real devices, and the oracle: what each array is worth, and which
// failures it may name, from what its inputs name and from what its values must make a kernel meet.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "check.h"
#include "graph_base.h"
#include "nitinol/device.h"
#include "nitinol/node.h"

namespace nitinol::metal::testing {

// One report, told from all others.
using Root = std::tuple<const Device*, std::uint64_t, std::uint32_t>;
using Roots = std::set<Root>;

inline Roots roots_of(const Node& node) {
  Roots roots;
  if (node.state() != State::poisoned) return roots;
  for (const Ref<Report>& report : node.poison()->roots()) {
    roots.insert({report->device, report->submission, report->unit});
  }
  CHECK(!roots.empty() && roots.size() == node.poison()->roots().size());
  return roots;
}

struct Mix {
  std::vector<Stream*> streams;
  Stream* host = nullptr;       // may run what needs no loops of NumPy
  std::vector<Device*> leaves;  // in whose memory they are made
  bool only_dense = false;      // few kinds of operations, so that few programs are compiled
  bool data_faults = true;      // kernels may meet an index out of range, or a negative power
};

// The value is garbage behind what must fail.
struct DeviceSpec : nitinol::testing::ArraySpec {
  Code must_fail = Code::none;
  bool small = false;  // an operand of a power or an index
};

class DeviceGraph : public nitinol::testing::GraphBase<DeviceSpec> {
 public:
  DeviceGraph(const Mix& mix, unsigned seed, const DeviceGraph* parent = nullptr)
      : GraphBase(seed, parent), mix_(mix) {}

  void add() {
    const unsigned kind = held_.size() < 3 ? 0 : random_() % 20;
    if (kind < 2) {
      make_leaf(length);
    } else if (mix_.only_dense) {
      kind < 15 ? add_arithmetic() : add_update();
    } else if (kind < 4) {
      add_reversed();
    } else if (kind < 8) {
      add_update();
    } else if (kind == 8) {
      add_power();
    } else if (kind == 9) {
      add_take();
    } else if (kind == 10) {
      add_concatenate();
    } else if (kind == 11) {
      add_choice();
    } else {
      add_arithmetic();
    }
  }

  // Everything held is resolved: is it what it must be?
  void check() {
    const std::size_t count = parents() + specs_.size();
    std::vector<Roots> named(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (spec(i).node) named[i] = roots_of(*spec(i).node);
    }
    // Of an array nobody holds, no more than what all who read it name.
    std::vector<Roots> most = named;
    std::vector<bool> read(count, false);
    for (std::size_t i = count; i-- > 0;) {
      for (std::size_t input : spec(i).inputs) {
        if (spec(input).node || (!spec(i).node && !read[i])) continue;
        Roots both;
        std::set_intersection(most[input].begin(), most[input].end(), most[i].begin(),
                              most[i].end(), std::inserter(both, both.end()));
        most[input] = read[input] ? std::move(both) : most[i];
        read[input] = true;
      }
    }
    for (std::size_t i = parents(); i < count; ++i) {
      if (spec(i).node) check(spec(i), named, most);
    }
  }
  std::int64_t own = 0;  // failed by themselves

 private:
  static constexpr std::int64_t length = 4;

  using Spec = DeviceSpec;

  void check(const Spec& s, const std::vector<Roots>& named, const std::vector<Roots>& most) {
    const Roots& roots = named[static_cast<std::size_t>(&s - specs_.data()) + parents()];
    Roots inherited, possible;
    for (std::size_t input : s.inputs) {
      inherited.insert(named[input].begin(), named[input].end());
      possible.insert(most[input].begin(), most[input].end());
    }
    const State state = s.node->state();
    CHECK(state == State::ready || state == State::poisoned);
    if (state == State::ready) {
      ++ready;
      CHECK(inherited.empty() && s.must_fail == Code::none);
      for (std::int64_t e = 0; e < s.node->layout().size(); ++e) {
        const std::int64_t found = load(*s.node, e);
        const std::int64_t expected = s.value[static_cast<std::size_t>(e)];
        if (found == expected) continue;
        std::fprintf(stderr, "%s on %s, element %lld: %lld, not %lld\n", info(s.node->op()).name,
                     s.node->stream()->device->name(), static_cast<long long>(e),
                     static_cast<long long>(found), static_cast<long long>(expected));
        CHECK(found == expected);
      }
      return;
    }
    ++poisoned;
    if (std::includes(possible.begin(), possible.end(), roots.begin(), roots.end())) {
      CHECK(std::includes(roots.begin(), roots.end(), inherited.begin(), inherited.end()));
      return;
    }
    // By itself, then: that is one report, of this array's stream or of its submission.
    ++own;
    CHECK(roots.size() == 1 && !s.inputs.empty());
    const Report& report = *s.node->poison()->roots()[0];
    // While it was encoded nobody knew yet what would become of its inputs.
    CHECK(inherited.empty() || report.phase != Phase::completion);
    CHECK(report.fault.code != Code::none && report.array_count > 0);
    CHECK(report.device == s.node->stream()->device);
    if (s.must_fail == Code::none) {
      CHECK(report.fault.code != Code::index_out_of_range &&
            report.fault.code != Code::negative_power);
    }
  }

  static std::int64_t load(const Node& node, std::int64_t e) {
    const char* at = node.data() + e * node.layout().stride(0) *
                                       static_cast<std::int64_t>(itemsize(node.dtype()));
    if (node.dtype() == DType::bool_) return *at != 0;
    std::int64_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }

  Stream* stream(Op op) {
    const bool own_loops = op == Op::power || op == Op::where || !info(op).elementwise;
    if (mix_.host && own_loops && random_() % 4 == 0) return mix_.host;
    return mix_.streams[random_() % mix_.streams.size()];
  }
  // An array of integers that is an operand.
  std::size_t choose() {
    const auto chosen = choose_held([&](const Spec& held) {
      return !held.small && !(mix_.only_dense && held.node->op() == Op::view);
    });
    return chosen ? *chosen : make_leaf(length);
  }
  // `most` of 0: any numbers. No elements: a scalar.
  std::size_t make_leaf(std::int64_t size, std::int64_t least = 0, std::int64_t most = 0,
                        DType dtype = DType::int64) {
    Spec leaf;
    leaf.small = size != length || most != 0;
    Device& device = *mix_.leaves[random_() % mix_.leaves.size()];
    const std::int64_t count = std::max<std::int64_t>(size, 1);
    const std::size_t item = itemsize(dtype);
    // Tests of shortage fail allocations by the number: a leaf is not what they mean.
    Ref<Buffer> buffer;
    while (!buffer) {
      buffer = Buffer::allocate(device.memory, static_cast<std::size_t>(count) * item);
    }
    char* data = buffer->data();
    for (std::int64_t e = 0; e < count; ++e) {
      const std::int64_t value =
          most == 0 ? static_cast<std::int64_t>(random_()) - (1 << 30)
                    : least + static_cast<std::int64_t>(random_()) % (most - least + 1);
      leaf.value.push_back(value);
      if (dtype == DType::bool_) {
        data[e] = value != 0;
      } else {
        std::memcpy(data + e * 8, &value, sizeof value);
      }
    }
    const std::int64_t shape[] = {size};
    Layout layout = size == 0 ? Layout(std::span<const std::int64_t>()) : Layout(shape);
    leaf.node =
        Node::make_data(dtype, std::move(layout), device.default_stream(), std::move(buffer));
    return keep(std::move(leaf));
  }
  void finish(Spec made, Op op, std::vector<std::int64_t> ints = {}) {
    std::vector<Node*> nodes;
    for (std::size_t i : made.inputs) nodes.push_back(spec(i).node.get());
    Ref<Params> params;
    if (!ints.empty()) {
      params = Ref<Params>::adopt(new Params);
      params->ints = std::move(ints);
    }
    const std::int64_t shape[] = {length};
    made.node = Node::make(op, DType::int64, Layout(shape), stream(op), nodes, std::move(params));
    keep(std::move(made));
  }
  std::uint64_t at(std::size_t i, std::int64_t e) const {
    return static_cast<std::uint64_t>(spec(i).value[static_cast<std::size_t>(e)]);
  }

  void add_arithmetic() {
    static constexpr Op ops[] = {Op::add, Op::multiply, Op::subtract, Op::negative};
    const Op op = ops[random_() % (mix_.only_dense ? 2 : 4)];
    Spec made;
    made.inputs = {choose()};
    if (op != Op::negative) made.inputs.push_back(choose());
    for (std::int64_t e = 0; e < length; ++e) {
      const std::uint64_t x = at(made.inputs.front(), e), y = at(made.inputs.back(), e);
      const std::uint64_t z = op == Op::add        ? x + y
                              : op == Op::multiply ? x * y
                              : op == Op::subtract ? x - y
                                                   : 0 - x;
      made.value.push_back(static_cast<std::int64_t>(z));
    }
    finish(std::move(made), op);
  }

  void add_choice() {
    Spec made;
    const std::size_t condition = make_leaf(length, 0, 1, DType::bool_);
    made.inputs = {condition, choose(), choose()};
    for (std::int64_t e = 0; e < length; ++e) {
      made.value.push_back(static_cast<std::int64_t>(at(made.inputs[at(condition, e) ? 1 : 2], e)));
    }
    finish(std::move(made), Op::where);
  }

  void add_power() {
    Spec made;
    const std::size_t exponent =
        make_leaf(length, mix_.data_faults && random_() % 3 == 0 ? -1 : 0, 3);
    made.inputs = {choose(), exponent};
    for (std::int64_t e = 0; e < length; ++e) {
      const auto n = static_cast<std::int64_t>(at(exponent, e));
      if (n < 0) made.must_fail = Code::negative_power;
      std::uint64_t product = 1;
      for (std::int64_t k = 0; k < n; ++k) product *= at(made.inputs[0], e);
      made.value.push_back(static_cast<std::int64_t>(product));
    }
    finish(std::move(made), Op::power);
  }

  void add_take() {
    Spec made;
    const std::size_t index =
        make_leaf(length, -length, mix_.data_faults && random_() % 3 == 0 ? length : length - 1);
    made.inputs = {choose(), index};
    for (std::int64_t e = 0; e < length; ++e) {
      auto i = static_cast<std::int64_t>(at(index, e));
      if (i == length) made.must_fail = Code::index_out_of_range;
      i = i < 0 ? i + length : i % length;
      made.value.push_back(static_cast<std::int64_t>(at(made.inputs[0], i)));
    }
    finish(std::move(made), Op::take, {0});
  }

  // Half of each, by views that nobody holds.
  void add_concatenate() {
    Spec made;
    made.inputs = {halved(choose()), halved(choose())};
    for (std::size_t i : made.inputs) {
      for (std::int64_t e = 0; e < length / 2; ++e) {
        made.value.push_back(static_cast<std::int64_t>(at(i, e)));
      }
    }
    finish(std::move(made), Op::concatenate, {0});
  }
  std::size_t halved(std::size_t of) {
    const Layout& layout = spec(of).node->layout();
    const std::int64_t from = random_() % 2 ? length / 2 : 0;
    const std::int64_t shape[] = {length / 2}, strides[] = {layout.stride(0)};
    Spec made;
    made.small = true;
    made.inputs = {of};
    for (std::int64_t e = 0; e < length / 2; ++e) {
      made.value.push_back(static_cast<std::int64_t>(at(of, from + e)));
    }
    made.node = Node::make_view(spec(of).node.get(),
                                Layout(shape, strides, layout.offset() + from * strides[0]));
    return keep(std::move(made));
  }
  void add_reversed() {
    Spec made;
    made.inputs = {choose()};
    const Spec& of = spec(made.inputs[0]);
    made.value.assign(of.value.rbegin(), of.value.rend());
    const Layout& layout = of.node->layout();
    const std::int64_t shape[] = {length}, strides[] = {-layout.stride(0)};
    made.node = Node::make_view(
        of.node.get(), Layout(shape, strides, layout.offset() + (length - 1) * layout.stride(0)));
    keep(std::move(made));
  }

  // Chains of updates.
  void add_update() {
    std::size_t x = choose();
    for (unsigned n = 1 + random_() % 4; n > 0; --n) {
      Spec made;
      const std::size_t fresh = make_leaf(length / 2, -9, 9);
      const std::size_t start = make_leaf(0, -1, length);
      made.inputs = {x, fresh, start};
      made.value = spec(x).value;
      const std::int64_t from =
          std::clamp<std::int64_t>(static_cast<std::int64_t>(at(start, 0)), 0, length / 2);
      for (std::int64_t e = 0; e < length / 2; ++e) {
        made.value[static_cast<std::size_t>(from + e)] = static_cast<std::int64_t>(at(fresh, e));
      }
      finish(std::move(made), Op::slice_update, {0});
      drop_updated(x, 4);
      x = parents() + specs_.size() - 1;
    }
  }

  const Mix mix_;
};

}  // namespace nitinol::metal::testing
