// Tests of memory that can't be had at any one point of building, planning, running and reporting:
// nothing is half done, no failure is lost, and the next attempt succeeds.
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "check.h"
#include "nitinol/retry.h"
#include "nitinol/schedule.h"
#include "null_device.h"
#include "random_graph.h"

// Linked with --wrap for each of these, so that sanitizers keep their own versions underneath.
extern "C" {
void* __real_malloc(std::size_t bytes);
void* __real__Znwm(std::size_t bytes);
void* __real__Znam(std::size_t bytes);
void* __real__ZnwmRKSt9nothrow_t(std::size_t bytes, const std::nothrow_t& nothrow);
void* __wrap_malloc(std::size_t bytes);
void* __wrap__Znwm(std::size_t bytes);
void* __wrap__Znam(std::size_t bytes);
void* __wrap__ZnwmRKSt9nothrow_t(std::size_t bytes, const std::nothrow_t& nothrow);
}

namespace {

thread_local long countdown = -1;  // allocations until one is refused; negative: none
thread_local long refused = 0;     // how many follow it that are refused too
thread_local long refusals = 0;

bool refuse() {
  if (countdown < 0) return false;
  if (countdown > 0) {
    --countdown;
    return false;
  }
  if (refused-- <= 0) {
    countdown = -1;
    return false;
  }
  ++refusals;
  return true;
}

void arm(long after, long times) {
  countdown = after;
  refused = times;
  refusals = 0;
}
void disarm() { countdown = -1; }

}  // namespace

void* __wrap_malloc(std::size_t bytes) { return refuse() ? nullptr : __real_malloc(bytes); }
void* __wrap__Znwm(std::size_t bytes) {
  if (refuse()) throw std::bad_alloc();
  return __real__Znwm(bytes);
}
void* __wrap__Znam(std::size_t bytes) {
  if (refuse()) throw std::bad_alloc();
  return __real__Znam(bytes);
}
void* __wrap__ZnwmRKSt9nothrow_t(std::size_t bytes, const std::nothrow_t& nothrow) {
  return refuse() ? nullptr : __real__ZnwmRKSt9nothrow_t(bytes, nothrow);
}

using namespace nitinol;
using namespace nitinol::testing;

namespace {

Ref<Node> chain(NullDevice& device, Stream* other) {
  const std::int64_t shape[] = {3};
  Ref<Node> x = Node::make_data(DType::int64, Layout(shape), device.default_stream(),
                                Buffer::allocate(device.memory, 24));
  for (std::int64_t e = 0; e < 3; ++e) store(*x, e, e);
  Ref<Node> y = x;
  for (int i = 0; i < 30; ++i) {
    Node* inputs[] = {y.get(), x.get(), x.get(), y.get()};
    const bool kernel = i % 7 == 3;
    y = Node::make(kernel ? Op::concatenate : Op::add, DType::int64, Layout(shape),
                   i % 10 == 9 ? other : device.default_stream(), {inputs, kernel ? 4u : 2u});
    if (i == 15) y = Node::make_view(y.get(), Layout(shape));
  }
  return y;
}

// Every allocation of planning is refused once: the plan is as if it had never been tried.
void test_planning() {
  const std::int64_t alive = Node::alive();
  NullDevice& device = NullDevice::make();
  Stream* other = device.make_stream();
  long points = 0;
  for (bool warm : {false, true}) {
    for (long after = 0;; ++after) {
      Ref<Node> y = chain(device, other);
      Node* roots[] = {y.get()};
      const std::size_t before = device.memory.stats().in_use;
      ScheduleResult result;
      bool thrown = false;
      arm(after, 1);
      try {
        result = schedule(roots, false);
      } catch (const std::bad_alloc&) {
        thrown = true;
      }
      disarm();
      const bool struck = refusals > 0;
      points += struck;
      if (thrown) {
        CHECK(struck && !result.evaluation);
        CHECK(y->state() == State::lazy && device.waiting() == 0);
        CHECK(pending_work(&device, nullptr)->done());
        CHECK(device.memory.stats().in_use == before);
        result = schedule(roots, false);
      }
      device.run_all();
      CHECK(result.evaluation->done() && y->state() == State::ready);
      CHECK(device.failures() == 0);
      if (!struck) break;
    }
    static_cast<void>(warm);  // the second time the planner's vectors have their memory
  }
  std::fprintf(stderr, "test_planning: %ld points\n", points);
  CHECK(points > 20);
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
}

// Every allocation of a retry is refused once: nothing has changed, and the next one succeeds.
void test_retrying() {
  const std::int64_t alive = Node::alive();
  NullDevice& device = NullDevice::make();
  Stream* other = device.make_stream();
  long points = 0;
  for (long after = 0;; ++after) {
    Ref<Node> y = chain(device, other);
    Node* roots[] = {y.get()};
    InjectionRule rule;
    rule.at = 2;
    const int number = device.injector.add(rule);
    schedule(roots, false);
    device.run_all();
    device.injector.remove(number);
    CHECK(y->state() == State::poisoned);
    const Ref<Poison> poison = y->poison();
    const std::int64_t nodes = Node::alive();
    RetryResult result;
    bool thrown = false;
    arm(after, 1);
    try {
      result = retry(roots);
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    disarm();
    const bool struck = refusals > 0;
    points += struck;
    if (thrown) {
      CHECK(struck && result.nodes.empty() && Node::alive() == nodes);
      CHECK(y->poison() == poison);
      result = retry(roots);
    }
    Node* made[] = {result.nodes[0].get()};
    CHECK(made[0] != y.get());
    schedule(made, false);
    device.run_all();
    CHECK(made[0]->state() == State::ready && y->poison() == poison);
    if (!struck) break;
  }
  CHECK(points > 10);
  device.record.collect(Observer::drained, -1);
  CHECK(Node::alive() == alive);
}

// A node is made whole or not at all.
void test_building() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    const std::int64_t shape[] = {1, 1, 1, 1, 1, 1};
    Ref<Node> x = Node::make(Op::arange, DType::int64, Layout(shape), device.default_stream(), {});
    const std::uint32_t references = x->references();
    const std::vector<Node*> many(40, x.get());
    int thrown = 0;
    for (long after = 0; after < 400; ++after) {
      Ref<Node> made;
      arm(after % 8, 1);
      try {
        made = Node::make(Op::concatenate, DType::int64, Layout(shape), x->stream(), many);
        Node* pair[] = {x.get(), made.get()};
        made = make_elementwise(Op::add, DType::float64, DType::float64, pair, x->stream());
      } catch (const std::bad_alloc&) {
        ++thrown;
      }
      disarm();
      made = nullptr;
      CHECK(x->references() == references && Node::alive() == alive + 1);
    }
    CHECK(thrown > 100);
  }
  CHECK(Node::alive() == alive);
}

// A failure that no memory is left to report still poisons, is counted once, and names its device.
void test_reporting() {
  NullDevice& device = NullDevice::make();
  const std::int64_t shape[] = {3};
  Ref<Node> x = Node::make(Op::arange, DType::int64, Layout(shape), device.default_stream(), {});
  Node* leaf[] = {x.get()};
  schedule(leaf, false);
  device.run_all();
  std::uint64_t failures = 0;
  for (long scarce : {0, 1, 2, 3, 1000}) {
    for (long after = 0; after < 6; ++after) {
      std::vector<Ref<Node>> nodes;
      std::vector<Node*> roots;
      for (int i = 0; i < 4; ++i) {
        auto params = Ref<Params>::adopt(new Params);
        params->ints = {i};
        Node* inputs[] = {x.get()};
        nodes.push_back(Node::make(Op::concatenate, DType::int64, Layout(shape),
                                   device.default_stream(), inputs, std::move(params)));
        roots.push_back(nodes.back().get());
      }
      // A descendant of all four.
      nodes.push_back(
          Node::make(Op::concatenate, DType::int64, Layout(shape), device.default_stream(), roots));
      roots.push_back(nodes.back().get());
      for (int i = 0; i < 4; ++i) device.fail_unit_of(i, Code::timeout);
      schedule(roots, false);
      Ref<Submission> submission = device.next();
      device.execute(*submission);
      device.leave(*submission);
      arm(after, scarce);
      CHECK(submission->complete());
      Resolver::resolve(device);
      disarm();
      failures += 4;
      for (const Ref<Node>& node : nodes) {
        CHECK(node->state() == State::poisoned);
        CHECK(!node->poison()->roots().empty());
        for (const Ref<Report>& report : node->poison()->roots()) {
          CHECK(report->device == &device && report->fault.code == Code::timeout);
        }
      }
      const ErrorCounts counts = device.record.counts();
      CHECK(counts.struck + counts.suppressed == failures);
      CHECK(counts.struck > 0);
      if (scarce == 0) CHECK(counts.suppressed == 0);
      CHECK(device.record.keep_reserve());
    }
  }
  const ErrorCounts counts = device.record.counts();
  CHECK(counts.suppressed > 0);
  CHECK(device.record.collect(Observer::drained, -1).size() == counts.struck);
  CHECK(device.record.counts().unobserved == 0);
}

// Without memory for the list of reports, none of them is taken.
void test_collecting() {
  NullDevice& device = NullDevice::make();
  for (std::uint64_t i = 0; i < 10; ++i) {
    auto report = Ref<Report>::adopt(new Report);
    report->device = &device;
    report->submission = i;
    device.record.push(std::move(report));
  }
  bool thrown = false;
  arm(0, 1);
  try {
    device.record.collect(Observer::drained, -1);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  disarm();
  CHECK(thrown && device.record.counts().unobserved == 10);
  CHECK(device.record.collect(Observer::drained, -1).size() == 10);
}

// Random graphs, planned under random shortages.
void test_random(unsigned seed) {
  announce("test_random", seed);
  const std::int64_t alive = Node::alive();
  for (unsigned round = 0; round < 150; ++round) {
    Behaviour behaviour;
    behaviour.seed = seed + round;
    behaviour.depth = 1 + round % 2;
    behaviour.unit_faults = 30;
    NullDevice& device = NullDevice::make(behaviour);
    {
      RandomGraph graph(device, {device.default_stream(), device.make_stream()}, seed + round);
      for (int i = 0; i < 60; ++i) graph.add();
      for (int tries = 0;; ++tries) {
        const std::vector<Node*> roots = graph.all();
        arm(tries < 6 ? static_cast<long>(graph.random()() % 60) : -1, 1 + tries % 3);
        bool thrown = false;
        try {
          schedule(roots, false);
        } catch (const std::bad_alloc&) {
          thrown = true;
        }
        disarm();
        if (!thrown) break;
        graph.drop();
      }
      device.run_all();
      graph.check();
    }
    CHECK(Node::alive() == alive);
    CHECK(device.memory.stats().in_use == 0);
    device.memory.trim();
  }
}

}  // namespace

int main() {
  test_retrying();
  test_building();
  test_planning();
  test_reporting();
  test_collecting();
  test_random(11);
  test_random(std::random_device{}());
}
