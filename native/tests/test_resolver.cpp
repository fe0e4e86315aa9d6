// Tests of resolution: what is reported of a failure, once, and what each array then holds.
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/resolver.h"
#include "nitinol/schedule.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

const Report& root(const Ref<Node>& node) {
  CHECK(node->state() == State::poisoned && node->poison()->roots().size() == 1);
  return *node->poison()->roots()[0];
}

// One command buffer, three units, one failure.
void test_failed_as_a_whole() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::add, {x.get(), x.get()}, 2);
  Ref<Node> c = make(device, Op::concatenate, {b.get()}, 3);
  Node* roots[] = {a.get(), b.get(), c.get()};
  schedule(roots, false);
  Ref<Submission> submission = device.next();
  device.execute(*submission);
  const std::uint64_t id = submission->id;
  device.finish(submission, fault_of(Code::page_fault));
  const ErrorCounts counts = device.record.counts();
  CHECK(counts.struck == 1 && counts.unobserved == 1 && counts.suppressed == 0);
  const Report& report = root(a);
  CHECK(&root(b) == &report && &root(c) == &report);
  CHECK(report.fault.code == Code::page_fault && report.submission == id && report.unit == 0);
  CHECK(report.array_count == 3 && report.instructions == 3 && report.device == &device);
  CHECK(report.arrays[1].op == Op::add && report.arrays[2].shape[0] == 2);
  CHECK(std::string(report.text) == "model.gguf");
  CHECK(device.health.condition() == Condition::degraded);
  CHECK(device.record.failures(Code::page_fault) == 1);
  CHECK(a->buffer() == nullptr);
}

// A unit failed by itself, another depends on it, a third ran; then the buffer failed as well.
void test_failed_twice() {
  NullDevice& device = NullDevice::make();
  device.fail_unit_of(1, Code::index_out_of_range);
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {a.get()}, 2);
  Ref<Node> c = make(device, Op::concatenate, {x.get()}, 3);
  Node* roots[] = {b.get(), c.get()};
  schedule(roots, false);
  Ref<Submission> submission = device.next();
  device.execute(*submission);
  device.finish(submission, fault_of(Code::internal));
  CHECK(&root(a) == &root(b) && root(a).fault.code == Code::index_out_of_range);
  CHECK(root(c).fault.code == Code::internal && root(c).secondary == Code::none);
  const ErrorCounts counts = device.record.counts();
  CHECK(counts.struck == 2 && counts.suppressed == 0);
}

// Nothing was left for the failure of the whole to spoil: it comes second.
void test_second_failure_is_suppressed() {
  NullDevice& device = NullDevice::make();
  device.fail_unit_of(1, Code::index_out_of_range);
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {a.get()}, 2);
  Node* roots[] = {b.get()};
  schedule(roots, false);
  Ref<Submission> submission = device.next();
  device.execute(*submission);
  device.finish(submission, fault_of(Code::internal));
  CHECK(root(a).secondary == Code::internal && &root(a) == &root(b));
  CHECK(device.record.counts().struck == 1 && device.record.counts().suppressed == 1);
  // And where every unit was void to begin with.
  Ref<Node> c = make(device, Op::concatenate, {b.get()}, 4);
  Node* more[] = {c.get()};
  schedule(more, false);
  submission = device.next();
  device.execute(*submission);
  device.finish(submission, fault_of(Code::innocent_victim));
  CHECK(&root(c) == &root(a));
  CHECK(device.record.counts().struck == 1 && device.record.counts().suppressed == 2);
}

// A device that completes what it never ran made a mistake; that must not pass as a value.
void test_completed_without_running() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Node* roots[] = {a.get()};
  schedule(roots, false);
  device.finish(device.next());
  CHECK(root(a).fault.code == Code::internal);
}

void test_several_roots() {
  NullDevice& device = NullDevice::make();
  device.fail_unit_of(1, Code::timeout);
  device.fail_unit_of(2, Code::io);
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {x.get()}, 2);
  Ref<Node> c = make(device, Op::concatenate, {b.get(), a.get()}, 3);
  Ref<Node> d = make(device, Op::concatenate, {c.get(), b.get()}, 4);
  Node* roots[] = {d.get()};
  schedule(roots, false);
  device.run_all();
  CHECK(c->poison()->roots().size() == 2);
  // In the order of the units: b is what c reads first.
  CHECK(c->poison()->roots()[0].get() == &root(b) && c->poison()->roots()[1].get() == &root(a));
  CHECK(root(b) < root(a));
  CHECK(d->poison() == c->poison());  // shared, not copied
  // The N-th read, by whatever order of reading, finds the same.
  Node* again[] = {b.get(), d.get()};
  CHECK(!schedule(again, true).evaluation);
  CHECK(d->poison() == c->poison());
}

// Injected at each phase; the counts are of units that start with healthy inputs.
void test_injected() {
  for (Phase phase : {Phase::encode, Phase::commit, Phase::completion}) {
    NullDevice& device = NullDevice::make();
    InjectionRule rule;
    rule.code = Code::out_of_memory;
    rule.phase = phase;
    rule.at = 2;
    rule.times = 2;
    const int number = device.injector.add(rule);
    Ref<Node> x = leaf(device);
    std::vector<Ref<Node>> nodes;
    std::vector<Node*> roots;
    for (int i = 0; i < 4; ++i) {
      nodes.push_back(make(device, Op::concatenate, {x.get()}, i));
      roots.push_back(nodes.back().get());
    }
    schedule(roots, false);
    device.run_all();
    CHECK(nodes[0]->state() == State::ready && nodes[3]->state() == State::ready);
    CHECK(root(nodes[1]).phase == phase && root(nodes[1]).fault.injection != 0);
    CHECK(root(nodes[2]).unit == 2);
    CHECK(device.units_run == 2);
    const InjectionRule left = device.injector.remove(number);
    CHECK(left.seen == 4 && left.fired == 2);
  }
}

// Memory that can't be had strikes one unit, not its neighbours.
void test_out_of_memory() {
  NullDevice& device = NullDevice::make({}, 8192);
  Ref<Node> x = leaf(device);
  const std::int64_t huge[] = {std::int64_t{1} << 58};
  Node* input = x.get();
  auto params = Ref<Params>::adopt(new Params);
  params->ints = {1};
  Ref<Node> a = Node::make(Op::concatenate, DType::int64, Layout(huge), device.default_stream(),
                           {&input, 1}, params);
  Ref<Node> b = make(device, Op::concatenate, {x.get()}, 2);
  Node* roots[] = {a.get(), b.get()};
  schedule(roots, false);
  device.run_all();
  const Fault& fault = root(a).fault;
  CHECK(fault.code == Code::out_of_memory && fault.args[0] == std::int64_t{1} << 61);
  CHECK(fault.args[2] == 8192);
  CHECK(b->state() == State::ready);
}

// A buffer is handed on only where nobody else can read the old value.
void test_donation() {
  NullDevice& device = NullDevice::make();
  const auto update = [&](Node* x) {
    Ref<Node> one = leaf(device, 10, 1);
    Ref<Node> start = leaf(device, 10, 1);
    store(*start, 0, 0);
    return make(device, Op::slice_update, {x, one.get(), start.get()}, 7);
  };
  Ref<Node> kept = leaf(device);
  Ref<Node> a = update(kept.get());
  store(*kept, 0, 99);
  run(device, {a.get()});
  CHECK(device.donations == 0);  // the user still holds the old value
  CHECK(load(*kept, kept->layout().shape(), 0) == 99);
  Ref<Node> b = update(a.get());
  a = nullptr;
  run(device, {b.get()});
  CHECK(device.donations == 1);
  // A reader that is planned as well must not see the new value, whoever runs first.
  Ref<Node> c = update(b.get());
  Ref<Node> reader = make(device, Op::concatenate, {b.get()}, 8);
  b = nullptr;
  run(device, {c.get(), reader.get()});
  CHECK(device.donations == 1);
  // Nor an export of the buffer.
  Ref<Buffer> exported = Ref<Buffer>::share(c->buffer());
  Ref<Node> d = update(c.get());
  c = nullptr;
  run(device, {d.get()});
  CHECK(device.donations == 1);
  // A chain of updates, nobody holding what is between: each hands its buffer on.
  Ref<Node> e = d;
  d = nullptr;
  for (int i = 0; i < 5; ++i) e = update(e.get());
  run(device, {e.get()});
  CHECK(device.donations == 6);
  // Through a view that shows the buffer as it lies, but not through another.
  for (bool straight : {true, false}) {
    Ref<Node> base = leaf(device);
    const std::int64_t shape[] = {2};
    const std::int64_t strides[] = {straight ? 1 : 0};
    Ref<Node> view = Node::make_view(base.get(), Layout(shape, strides, 0));
    base = nullptr;
    Ref<Node> updated = update(view.get());
    view = nullptr;
    run(device, {updated.get()});
    CHECK(device.donations == 7);
    CHECK(load(*updated, shape, 1) == (straight ? 11 : 10));
  }
  // A failure after the write: the update is poisoned, nothing is garbage.
  Ref<Node> f = update(e.get());
  Ref<Node> late = make(device, Op::concatenate, {f.get()}, 9);
  device.fail_unit_of(7, Code::timeout);
  e = nullptr;
  run(device, {late.get()});
  CHECK(device.donations == 8);
  CHECK(&root(late) == &root(f));
}

// A value nobody kept goes back to lazy, and is computed again for whoever needs it.
void test_transient() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {a.get()}, 2);
  Node* hidden = a.get();
  a = nullptr;
  device.fail_unit_of(2, Code::timeout);
  Node* roots[] = {b.get()};
  schedule(roots, false);
  device.run_all();
  CHECK(b->state() == State::poisoned);
  CHECK(hidden->state() == State::lazy && hidden->buffer() == nullptr);
  CHECK(hidden->inputs().size() == 1);  // what it is computed from is kept with it
  Node* recomputed[] = {hidden};
  Ref<Node> handle = Ref<Node>::share(hidden);
  schedule(recomputed, false);
  device.run_all();
  CHECK(handle->state() == State::ready && handle->inputs().empty());
}

// Memory that calls a function when the last of it is freed.
class Told final : public MemorySource {
 public:
  Block allocate(std::size_t bytes) noexcept override { return host().allocate(bytes); }
  void free(const Block& block, std::size_t bytes) noexcept override {
    host().free(block, bytes);
    tell();
  }
  std::function<void()> tell;
};

// Whoever finds nothing pending on a stream finds its evaluations done, and the memory of what
// they read free: so as long as it is not, the work is pending.
void test_pending_until_done() {
  NullDevice& device = NullDevice::make();
  Told source;
  Allocator memory(4096, source);
  const std::int64_t shape[] = {2};
  Ref<Node> x = Node::make_data(DType::int64, Layout(shape), device.default_stream(),
                                Buffer::allocate(memory, 16));
  store(*x, 0, 1);
  store(*x, 1, 2);
  memory.set_limit(0);  // nothing that is freed stays in a cache
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  x = nullptr;
  Node* roots[] = {a.get()};
  const Ref<Evaluation> evaluation = schedule(roots, false).evaluation;
  int told = 0;
  source.tell = [&] {
    ++told;
    CHECK(a->state() == State::ready);
    CHECK(!evaluation->done() && !pending_work(&device, nullptr)->done());
  };
  device.run_all();
  CHECK(told == 1 && evaluation->done() && pending_work(&device, nullptr)->done());
}

}  // namespace

int main() {
  test_failed_as_a_whole();
  test_failed_twice();
  test_second_failure_is_suppressed();
  test_completed_without_running();
  test_several_roots();
  test_injected();
  test_out_of_memory();
  test_donation();
  test_transient();
  test_pending_until_done();
}
