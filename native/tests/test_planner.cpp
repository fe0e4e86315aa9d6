// Tests of planning: whatever is fused, merged, cut or dropped, arrays keep their values, and
// failures reach exactly what depends on them.
#include <vector>

#include "check.h"
#include "nitinol/schedule.h"
#include "null_device.h"
#include "random_graph.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

std::vector<Stream*> streams_of(NullDevice& device, int count) {
  std::vector<Stream*> streams{device.default_stream()};
  while (static_cast<int>(streams.size()) < count) streams.push_back(device.make_stream());
  return streams;
}

void run(NullDevice& device, std::span<Node* const> roots, bool may_run_inline = false) {
  const ScheduleResult result = schedule(roots, may_run_inline);
  CHECK(result.refusal == Refusal::none);
  device.run_all();
  CHECK(!result.evaluation || result.evaluation->done());
}

Ref<Node> ones(NullDevice& device, Stream* stream, std::int64_t n = 4) {
  Ref<Buffer> buffer = Buffer::allocate(device.memory, static_cast<std::size_t>(n) * 8);
  const std::int64_t shape[] = {n};
  Ref<Node> node = Node::make_data(DType::int64, Layout(shape), stream, std::move(buffer));
  for (std::int64_t e = 0; e < n; ++e) store(*node, e, 1);
  return node;
}

Ref<Node> make(Op op, Stream* stream, std::vector<Node*> inputs, std::int64_t number = -1) {
  auto params = Ref<Params>::adopt(new Params);
  params->ints = {number};
  const std::int64_t shape[] = {inputs.at(0)->layout().shape(0)};
  return Node::make(op, DType::int64, Layout(shape), stream, inputs, std::move(params));
}

// One thread, every fusion limit, evaluations of parts, handles dropped at any time.
void test_random(unsigned seed, const Behaviour& behaviour) {
  std::mt19937 random(seed);
  static constexpr int limits[] = {1, 2, 3, 5, 17, 512};
  set_fusion_limit(limits[random() % 6]);
  const std::int64_t alive = Node::alive();
  NullDevice& device = NullDevice::make(behaviour);
  {
    RandomGraph graph(device, streams_of(device, 1 + static_cast<int>(random() % 4)), seed);
    const int nodes = 10 + static_cast<int>(random() % 150);
    for (int i = 0; i < nodes; ++i) {
      graph.add();
      if (random() % 3 == 0) graph.drop();
      if (random() % 25 == 0) {
        const std::vector<Node*> roots = graph.pick(4);
        CHECK(schedule(roots, random() % 2).refusal == Refusal::none);
        if (random() % 2) device.run_all();
      }
      while (random() % 6 == 0) {
        if (Ref<Submission> submission = device.next()) {
          device.execute(*submission);
          graph.drop();
          Fault whole;
          if (static_cast<int>(random() % 1000) < behaviour.whole_faults)
            whole.code = Code::timeout;
          device.finish(submission, whole);
        }
      }
    }
    for (int i = 0; i < 3; ++i) run(device, graph.pick(3), random() % 2);
    run(device, graph.all());
    graph.check();
    graph.check();  // and again: reading changes nothing
    const ErrorCounts counts = device.record.counts();
    CHECK(counts.struck == device.failures());
    CHECK(counts.unobserved == counts.struck);
  }
  CHECK(pending_work(&device, nullptr)->done());
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
  device.memory.trim();
  set_fusion_limit(max_instructions);
}

void test_random_graphs(unsigned seed, int rounds) {
  announce("test_random_graphs", seed);
  for (int i = 0; i < rounds; ++i) {
    Behaviour behaviour;
    behaviour.seed = seed + static_cast<unsigned>(i);
    behaviour.depth = 1 + static_cast<std::uint32_t>(i % 3);
    behaviour.unit_faults = i % 2 ? 40 : 0;
    behaviour.whole_faults = i % 4 == 3 ? 60 : 0;
    behaviour.inline_units = i % 5 == 0 ? 8 : 0;
    behaviour.caller_units = i % 7 == 0 ? 20 : 0;
    behaviour.later = i % 3 == 2;
    test_random(behaviour.seed, behaviour);
  }
}

// What a handle was dropped of between planning and running, but another submission reads.
void test_dropped_between_streams() {
  NullDevice& device = NullDevice::make();
  Stream* other = device.make_stream();
  Ref<Node> x = ones(device, device.default_stream());
  Ref<Node> middle = make(Op::add, device.default_stream(), {x.get(), x.get()});
  Ref<Node> last = make(Op::negative, other, {middle.get()});
  Node* roots[] = {last.get()};
  const ScheduleResult result = schedule(roots, false);
  middle = nullptr;
  device.run_all();
  CHECK(result.evaluation->done());
  CHECK(last->state() == State::ready);
  CHECK(load(*last, last->layout().shape(), 0) == -2);
}

// Nobody holds the results any more: nothing runs, and the nodes go.
void test_skipped() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = ones(device, device.default_stream());
    Ref<Node> a = make(Op::concatenate, device.default_stream(), {x.get()});
    Ref<Node> b = make(Op::concatenate, device.default_stream(), {a.get()});
    Ref<Node> c = make(Op::concatenate, device.default_stream(), {a.get()});
    Node* roots[] = {b.get(), c.get()};
    const ScheduleResult result = schedule(roots, false);
    b = nullptr;
    device.run_all();
    CHECK(device.units_run == 2);  // a, for c
    CHECK(c->state() == State::ready);
    CHECK(a->state() == State::ready);
    CHECK(result.evaluation->done());
  }
  CHECK(Node::alive() == alive);
}

// A fused unit that reads a failed array spoils those of its outputs that depend on it, no other.
void test_narrowed() {
  NullDevice& device = NullDevice::make();
  Stream* stream = device.default_stream();
  Ref<Node> x = ones(device, stream);
  Ref<Node> bad = make(Op::concatenate, stream, {x.get()}, 1);
  Ref<Node> worse = make(Op::concatenate, stream, {x.get()}, 2);
  device.fail_unit_of(1, Code::page_fault);
  device.fail_unit_of(2, Code::timeout);
  Ref<Node> a = make(Op::add, stream, {x.get(), x.get()});
  Ref<Node> b = make(Op::add, stream, {a.get(), bad.get()});
  Ref<Node> hidden = make(Op::negative, stream, {b.get()});
  Ref<Node> c = make(Op::add, stream, {hidden.get(), worse.get()});
  Ref<Node> d = make(Op::subtract, stream, {a.get(), x.get()});
  Ref<Node> e = make(Op::add, stream, {c.get(), d.get()});
  hidden = nullptr;
  Node* roots[] = {e.get(), b.get(), d.get()};
  run(device, roots);
  CHECK(a->state() == State::ready && load(*a, a->layout().shape(), 3) == 2);
  CHECK(d->state() == State::ready && load(*d, d->layout().shape(), 3) == 1);
  CHECK(b->state() == State::poisoned && b->poison()->roots().size() == 1);
  CHECK(b->poison()->roots()[0] == bad->poison()->roots()[0]);
  CHECK(c->state() == State::poisoned && c->poison()->roots().size() == 2);
  CHECK(e->state() == State::poisoned && e->poison()->roots().size() == 2);
  CHECK(device.record.counts().struck == 2);
  CHECK(device.units_run == 1);
  // Both branches that lived in registers are followed, and what is healthy names nothing.
  Ref<Node> left = make(Op::negative, stream, {bad.get()});
  Ref<Node> right = make(Op::negative, stream, {worse.get()});
  Ref<Node> third = make(Op::negative, stream, {a.get()});
  Ref<Node> both = make(Op::multiply, stream, {left.get(), right.get()});
  Ref<Node> all = make(Op::subtract, stream, {third.get(), both.get()});
  left = right = third = both = nullptr;
  Node* more[] = {all.get()};
  run(device, more);
  CHECK(all->state() == State::poisoned && all->poison()->roots().size() == 2);
}

// More units than one submission takes; with fusion they are few.
void test_cut() {
  NullDevice& device = NullDevice::make();
  for (int limit : {1, 512}) {
    set_fusion_limit(limit);
    Ref<Node> x = ones(device, device.default_stream(), 1);
    Ref<Node> y = x;
    for (int i = 0; i < 10000; ++i) {
      y = make(Op::add, device.default_stream(), {y.get(), x.get()});
    }
    const std::uint64_t before = device.submissions;
    const std::uint64_t units = device.units;
    Node* roots[] = {y.get()};
    run(device, roots);
    CHECK(load(*y, y->layout().shape(), 0) == 10001);
    CHECK(device.submissions - before == (limit == 1 ? 3 : 1));
    CHECK(device.units - units == (limit == 1 ? 10000 : 20));
  }
}

void test_long_chains() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  for (bool evaluate : {true, false}) {
    Ref<Node> x = ones(device, device.default_stream(), 1);
    Ref<Node> y = x;
    for (int i = 0; i < 1000000; ++i) {
      Node* inputs[] = {y.get(), x.get()};
      y = Node::make(Op::add, DType::int64, Layout(x->layout()), x->stream(), inputs);
    }
    if (evaluate) {
      Node* roots[] = {y.get()};
      run(device, roots);
      CHECK(load(*y, y->layout().shape(), 0) == 1000001);
    }
  }
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
}

// From stream to stream at every step: as many submissions as nodes, resolved without recursion.
void test_zigzag() {
  NullDevice& device = NullDevice::make();
  Stream* streams[] = {device.default_stream(), device.make_stream()};
  Ref<Node> y = ones(device, streams[0], 1);
  for (int i = 0; i < 20000; ++i) y = make(Op::negative, streams[i % 2], {y.get()});
  Node* roots[] = {y.get()};
  run(device, roots);
  CHECK(load(*y, y->layout().shape(), 0) == 1);
  CHECK(device.submissions == 20000);
}

// Chains that meet are one program; their common part is computed once.
void test_merged() {
  NullDevice& device = NullDevice::make();
  Stream* stream = device.default_stream();
  Ref<Node> x = ones(device, stream);
  Ref<Node> a = make(Op::negative, stream, {x.get()});
  Ref<Node> b = make(Op::add, stream, {x.get(), x.get()});
  Ref<Node> c = make(Op::multiply, stream, {a.get(), b.get()});
  Ref<Node> d = make(Op::add, stream, {c.get(), a.get()});
  a = b = c = nullptr;
  Node* roots[] = {d.get()};
  run(device, roots);
  CHECK(device.units == 1);
  CHECK(load(*d, d->layout().shape(), 2) == -3);
  // A kernel between two chains keeps them apart, whichever order they are met in.
  Ref<Node> e = make(Op::negative, stream, {x.get()});
  Ref<Node> k = make(Op::concatenate, stream, {e.get()});
  Ref<Node> f = make(Op::add, stream, {k.get(), e.get()});
  Ref<Node> g = make(Op::add, stream, {e.get(), f.get()});
  Node* more[] = {g.get()};
  const std::uint64_t before = device.units;
  run(device, more);
  CHECK(device.units - before == 3);
  CHECK(load(*g, g->layout().shape(), 0) == load(*f, f->layout().shape(), 0) - 1);
  // Nor do two chains meet across something that their reader needs as well.
  Ref<Node> early = make(Op::negative, stream, {x.get()});
  Ref<Node> between = make(Op::concatenate, stream, {x.get()});
  Ref<Node> late = make(Op::add, stream, {x.get(), x.get()});
  Ref<Node> reader = make(Op::where, stream, {early.get(), between.get(), late.get()});
  Node* last[] = {reader.get()};
  run(device, last);
  CHECK(reader->state() == State::ready);
  CHECK(load(*reader, x->layout().shape(), 1) == load(*between, x->layout().shape(), 1));
}

// Two threads plan what shares a part at the same time: whoever is second waits for the first.
void test_scheduled_elsewhere() {
  NullDevice& device = NullDevice::make();
  Stream* stream = device.default_stream();
  Ref<Node> x = ones(device, stream);
  Ref<Node> shared = make(Op::concatenate, stream, {x.get()});
  Ref<Node> y = make(Op::negative, device.make_stream(), {shared.get()});
  Node* first[] = {shared.get()};
  Node* second[] = {y.get(), shared.get()};
  const ScheduleResult a = schedule(first, false);
  const ScheduleResult b = schedule(second, false);
  const ScheduleResult c = schedule(first, true);  // nothing to plan, still to wait for
  CHECK(c.evaluation && !c.evaluation->done());
  CHECK(!a.evaluation->wait(1000));
  CHECK(device.waiting() == 1);
  device.run_all();
  CHECK(a.evaluation->done() && b.evaluation->done() && c.evaluation->done());
  CHECK(y->state() == State::ready);
  CHECK(!schedule(second, false).evaluation);
}

}  // namespace

int main(int argc, char** argv) {
  test_dropped_between_streams();
  test_skipped();
  test_narrowed();
  test_merged();
  test_scheduled_elsewhere();
  test_cut();
  test_zigzag();
  test_long_chains();
  if (argc > 1) {
    test_random_graphs(static_cast<unsigned>(std::atoi(argv[1])), 1000);
    return 0;
  }
  test_random_graphs(20240, 400);
  test_random_graphs(std::random_device{}(), 200);
}
