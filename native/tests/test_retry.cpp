// Tests of retry: what failed is computed again with the same bits, what did not is left alone, and
// a graph that can't be computed again is refused before anything is changed.
#include <vector>

#include "check.h"
#include "nitinol/retry.h"
#include "nitinol/schedule.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

const std::int64_t pair_shape[] = {2};

// Retries one array as a handle does: bound to the new node, then evaluated.
void again(NullDevice& device, Ref<Node>& handle) {
  Node* roots[] = {handle.get()};
  RetryResult result = retry(roots);
  CHECK(result.refusal == RetryRefusal::none && result.nodes.size() == 1);
  handle = std::move(result.nodes[0]);
  run(device, {handle.get()});
}

RetryResult refused(const Ref<Node>& handle, RetryRefusal because) {
  const std::int64_t alive = Node::alive();
  const Ref<Poison> poison = handle->poison();
  Node* roots[] = {handle.get()};
  RetryResult result = retry(roots);
  CHECK(result.refusal == because && result.nodes.empty());
  CHECK(Node::alive() == alive && handle->poison() == poison);
  return result;
}

// What one handle's retry computed serves the others, which keep their report until then.
void test_shared() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device, 10);
    Ref<Node> p = make(device, Op::concatenate, {x.get()}, 1);
    Ref<Node> a = make(device, Op::concatenate, {p.get()}, 2);
    Ref<Node> b = make(device, Op::concatenate, {p.get(), a.get()}, 3);
    Ref<Node> fine = make(device, Op::concatenate, {x.get()}, 4);
    Ref<Node> lazy = make(device, Op::concatenate, {a.get()}, 5);
    device.fail_unit_of(1, Code::page_fault);
    run(device, {p.get(), a.get(), b.get(), fine.get()});
    const Ref<Poison> poison = p->poison();
    Node* untouched = fine.get();
    device.mend();
    CHECK(device.units_run == 1);
    again(device, a);
    CHECK(device.units_run == 3);
    CHECK(p->poison() == poison && b->poison() == poison && p->buffer() == nullptr);
    again(device, b);
    CHECK(device.units_run == 4);  // b alone
    again(device, p);
    CHECK(device.units_run == 4);
    again(device, fine);
    CHECK(fine.get() == untouched && device.units_run == 4);
    Node* same = a.get();
    again(device, a);
    CHECK(a.get() == same && device.units_run == 4);
    // An array that had not been asked for yet, made of one that failed.
    again(device, lazy);
    CHECK(device.units_run == 5);
    // What no failure touched, from the same inputs.
    Ref<Node> p2 = make(device, Op::concatenate, {x.get()}, 11);
    Ref<Node> a2 = make(device, Op::concatenate, {p2.get()}, 12);
    Ref<Node> b2 = make(device, Op::concatenate, {p2.get(), a2.get()}, 13);
    Ref<Node> lazy2 = make(device, Op::concatenate, {a2.get()}, 14);
    run(device, {b2.get(), p2.get(), a2.get(), lazy2.get()});
    CHECK(values(p) == values(p2) && values(a) == values(a2) && values(b) == values(b2));
    CHECK(values(lazy) == values(lazy2));
    CHECK(device.record.counts().struck == 1);
  }
  CHECK(Node::alive() == alive && device.memory.stats().in_use == 0);
}

// A failure that strikes again is a new one; the graph is kept until it succeeds.
void test_fails_again() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device, 3);
    Ref<Node> a = make(device, Op::negative, {x.get()}, 1);
    Ref<Node> other = a;
    device.fail_unit_of(1, Code::index_out_of_range);
    run(device, {a.get()});
    for (int i = 0; i < 4; ++i) {
      const Ref<Poison> poison = a->poison();
      again(device, a);
      CHECK(a->state() == State::poisoned && a->poison() != poison);
    }
    device.mend();
    CHECK(other->state() == State::poisoned);
    again(device, a);
    CHECK((values(a) == std::vector<std::int64_t>{-3, -4}));
    again(device, other);  // finds the end of the line
    CHECK(other == a && device.record.counts().struck == 5);
  }
  CHECK(Node::alive() == alive && device.memory.stats().in_use == 0);
}

// An intermediate that lived in a register has no value, and is lazy again.
void test_fused() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  Ref<Node> a = make(device, Op::add, {x.get(), x.get()}, 1);
  Ref<Node> b = make(device, Op::multiply, {a.get(), x.get()}, 2);
  Ref<Node> c = make(device, Op::negative, {a.get()}, 3);
  a = nullptr;
  device.fail_unit_of(2, Code::page_fault);
  run(device, {b.get(), c.get()});
  device.mend();
  CHECK(b->state() == State::poisoned);
  again(device, b);
  CHECK((values(b) == std::vector<std::int64_t>{50, 72}));
  if (c->state() == State::poisoned) again(device, c);
  CHECK((values(c) == std::vector<std::int64_t>{-10, -12}));
}

void test_views() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  const std::int64_t back[] = {-1};
  Ref<Node> view = Node::make_view(a.get(), Layout(pair_shape, back, 1));
  Ref<Node> again_viewed = Node::make_view(a.get(), Layout(pair_shape));
  Ref<Node> b = make(device, Op::concatenate, {view.get()}, 2);
  device.fail_unit_of(1, Code::page_fault);
  run(device, {b.get()});
  device.mend();
  again(device, view);
  CHECK(a->state() == State::poisoned && b->state() == State::poisoned);
  again(device, b);
  again(device, again_viewed);
  CHECK(view->storage() == again_viewed->storage());
  again(device, a);
  CHECK(a.get() == view->storage());
  const std::vector<std::int64_t> straight = values(a);
  CHECK((values(view) == std::vector<std::int64_t>{straight[1], straight[0]}));
}

// What a watchdog ended is not submitted again as it was: one kernel a submission.
void test_timeout() {
  for (Code code : {Code::timeout, Code::impacting_interactivity, Code::page_fault}) {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = leaf(device, 5);
    Ref<Node> y = make(device, Op::add, {x.get(), x.get()}, 1);
    for (int i = 2; i < 8; ++i) y = make(device, Op::multiply, {y.get(), x.get()}, i);
    Ref<Node> z = make(device, Op::concatenate, {y.get()}, 8);
    device.fail_unit_of(7, code);
    run(device, {z.get()});
    CHECK(device.submissions == 1 && device.units == 2);
    device.mend();
    again(device, z);
    const std::uint64_t kernels = code == Code::page_fault ? 2 : 8;
    CHECK(device.units == 2 + kernels);
    CHECK(device.submissions == 1 + (code == Code::page_fault ? 1 : kernels));
    CHECK(z->state() == State::ready);
    // What comes after is fused as ever.
    Ref<Node> next = make(device, Op::add, {z.get(), z.get()}, 9);
    next = make(device, Op::negative, {next.get()}, 10);
    const std::uint64_t before = device.units;
    run(device, {next.get()});
    CHECK(device.units == before + 1);
  }
}

void test_refused() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> b = make(device, Op::concatenate, {a.get()}, 2);
  device.fail_unit_of(1, Code::not_permitted);
  run(device, {b.get()});
  device.mend();
  CHECK(device.health.condition() == Condition::suspended);
  CHECK(refused(b, RetryRefusal::suspended).device == &device);
  CHECK(device.health.reset() && device.health.condition() == Condition::ok);
  again(device, a);
  CHECK(a->state() == State::ready && b->state() == State::poisoned);
  Fault lost;
  lost.code = Code::device_removed;
  device.health.failed(lost);
  refused(b, RetryRefusal::lost);
  CHECK(!device.health.reset());
  // Arrays that are there need no device.
  Node* roots[] = {a.get()};
  CHECK(retry(roots).refusal == RetryRefusal::none);
}

Ref<Node> update(NullDevice& device, Node* x, Node* fresh, Node* start, std::int64_t number) {
  return make(device, Op::slice_update, {x, fresh, start}, number);
}

// An array given away to an update that fails is intact, or as good as intact, or gone and said
// to be.
void test_donated() {
  const std::vector<std::int64_t> expected{10, 11, 77, 13};
  const auto cache = [](NullDevice& device) { return leaf(device, 10, 4); };
  // Not even started.
  {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = cache(device), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    x = nullptr;
    InjectionRule rule;
    rule.phase = Phase::encode;
    const int number = device.injector.add(rule);
    run(device, {u.get()});
    device.injector.remove(number);
    CHECK(u->state() == State::poisoned && device.donations == 0);
    again(device, u);
    CHECK(values(u) == expected && device.donations == 1);
  }
  // After it wrote: the same rows are written again, in place where nobody else needs them.
  for (bool held : {false, true}) {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = cache(device), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    Ref<Node> other = held ? u : nullptr;
    x = nullptr;
    device.fail_unit_of(1, Code::page_fault);
    run(device, {u.get()});
    CHECK(u->state() == State::poisoned && device.donations == 1);
    again(device, u);  // it fails once more
    CHECK(u->state() == State::poisoned);
    device.mend();
    again(device, u);
    CHECK(values(u) == expected && device.donations == (held ? 1 : 3));
    if (held) again(device, other);
    CHECK(!held || other == u);
  }
  // Where the position is computed on the way, a function of the user might move it.
  {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = cache(device), fresh = leaf(device, 77, 1), two = leaf(device, 2, 1);
    Ref<Node> start = make(device, Op::concatenate, {two.get()}, 2);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    Node* gone = x.get();
    x = start = nullptr;
    device.fail_unit_of(1, Code::page_fault);
    run(device, {u.get()});
    device.mend();
    const RetryResult result = refused(u, RetryRefusal::donated);
    CHECK(result.array.get() == gone && result.taker == u && gone->buffer() == nullptr);
  }
  // The first of two updates succeeded, and what it took over went on to the second.
  {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = cache(device), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    Ref<Node> u = update(device, x.get(), fresh.get(), start.get(), 1);
    Ref<Node> v = update(device, u.get(), fresh.get(), start.get(), 2);
    Ref<Node> late = make(device, Op::concatenate, {v.get()}, 3);
    x = u = nullptr;
    device.fail_unit_of(2, Code::page_fault);
    run(device, {v.get(), late.get()});
    CHECK(device.donations == 2);
    device.mend();
    refused(late, RetryRefusal::donated);
    refused(v, RetryRefusal::donated);
  }
  // An update that inherits a failure never starts.
  {
    NullDevice& device = NullDevice::make();
    Ref<Node> x = cache(device), fresh = leaf(device, 77, 1), start = leaf(device, 2, 1);
    Ref<Node> computed = Node::make_view(fresh.get(), Layout(fresh->layout()));
    computed = make(device, Op::add, {fresh.get(), fresh.get()}, 2);
    computed = make(device, Op::subtract, {computed.get(), fresh.get()}, 3);
    Ref<Node> u = update(device, x.get(), computed.get(), start.get(), 1);
    x = nullptr;
    device.fail_unit_of(3, Code::page_fault);
    run(device, {u.get()});
    device.mend();
    again(device, u);
    CHECK(values(u) == expected && device.donations == 1);
  }
}

// As deep as a stack never is.
void test_deep() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device, 1);
    Ref<Node> y = make(device, Op::concatenate, {x.get()}, 1);
    Ref<Node> first = y;
    for (int i = 0; i < 200000; ++i) y = make(device, Op::negative, {y.get()}, 2);
    device.fail_unit_of(1, Code::page_fault);
    run(device, {y.get(), first.get()});
    device.mend();
    again(device, y);
    CHECK(y->state() == State::ready && first->state() == State::poisoned);
    again(device, first);
    CHECK(values(y) == values(first));
  }
  CHECK(Node::alive() == alive && device.memory.stats().in_use == 0);
}

}  // namespace

int main() {
  test_shared();
  test_fails_again();
  test_fused();
  test_views();
  test_timeout();
  test_refused();
  test_donated();
  test_deep();
}
