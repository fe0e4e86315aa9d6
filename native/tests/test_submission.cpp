// Tests of submissions under threads: whatever completes when, twice, late or failed, and whoever
// drops or shares what, every array ends as its value or as exactly the failures it depends on.
#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "evaluations.h"
#include "null_arrays.h"
#include "random_graph.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

void test_threads(unsigned seed) {
  announce("test_threads", seed);
  std::mt19937 random(seed);
  Behaviour behaviour =
      random_behaviour(seed, random, seed % 3 == 0 ? 0 : 15, seed % 3 == 2 ? 15 : 0);
  behaviour.twice = 200;
  const std::int64_t alive = Node::alive();
  NullDevice& device = NullDevice::make(behaviour);
  std::vector<Stream*> streams{device.default_stream(), device.make_stream(), device.make_stream()};
  std::atomic<std::int64_t> ready{0};
  std::atomic<std::int64_t> poisoned{0};
  std::atomic<bool> over{false};
  // Somebody observes while failures strike.
  std::uint64_t drained = 0;
  std::thread reader([&] {
    while (!over.load()) {
      drained += device.record.collect(Observer::drained, static_cast<int>(random() % 3)).size();
      const ErrorCounts counts = device.record.counts();
      CHECK(counts.struck >= counts.raised + counts.drained);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  {
    RandomGraph common(device, streams, seed);
    for (int i = 0; i < 40; ++i) common.add();
    const ScheduleResult first = schedule(common.all(), false);  // in flight when the rest starts
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        RandomGraph graph(device, streams, seed * 31 + t, &common);
        for (int i = 0; i < 150; ++i) {
          graph.add();
          if (graph.random()() % 3 == 0) graph.drop();
          if (graph.random()() % 12 == 0) {
            const ScheduleResult result = schedule(graph.pick(4), graph.random()() % 2);
            if (graph.random()() % 2) wait(result);
          }
        }
        wait(schedule(graph.all(), false));
        graph.check();
        for (Node* node : graph.all()) {
          if (node->state() != State::poisoned) continue;
          for (const Ref<Report>& report : node->poison()->roots()) {
            device.record.observe(*report, Observer::raised);
          }
        }
        ready += graph.ready;
        poisoned += graph.poisoned;
      });
    }
    for (std::thread& thread : threads) thread.join();
    wait(first);
    common.check();
    common.forget();
  }
  while (!pending_work(&device, nullptr)->wait(second)) {
  }
  over = true;
  reader.join();
  device.stop();
  const std::size_t rest = device.record.collect(Observer::printed, -1).size();
  const ErrorCounts counts = device.record.counts();
  CHECK(counts.struck == device.failures());
  CHECK(counts.struck == counts.raised + counts.drained + counts.printed);
  CHECK(counts.drained == drained && counts.printed == rest);
  CHECK(counts.unobserved == 0 && counts.suppressed == device.suppressed);
  CHECK(ready > 0 && (poisoned > 0 || counts.struck == 0));
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
  device.memory.trim();
  set_fusion_limit(max_instructions);
}

// One of many threads completes; the first outcome stands.
void test_completed_once() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  for (int round = 0; round < 200; ++round) {
    Ref<Node> y = make(device, Op::concatenate, {x.get()}, 100 + round);
    Node* roots[] = {y.get()};
    const ScheduleResult result = schedule(roots, false);
    Ref<Submission> submission = device.next();
    CHECK(submission && !device.next());
    device.execute(*submission);
    device.leave(*submission);
    std::atomic<int> won{0};
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        if (submission->complete(fault_of(t == 0 ? Code::none : Code::timeout))) {
          ++won;
          if (t) ++failed;
        }
        Resolver::resolve(device);
      });
    }
    wait(result);
    for (std::thread& thread : threads) thread.join();
    CHECK(won == 1);
    CHECK(y->state() == (failed ? State::poisoned : State::ready));
  }
}

// Deeper streams: what is committed together completes in any order; what depends waits.
void test_out_of_order() {
  Behaviour behaviour;
  behaviour.depth = 3;
  NullDevice& device = NullDevice::make(behaviour);
  Stream* stream = device.default_stream();
  Ref<Node> x = leaf(device, 5);
  std::vector<Ref<Node>> nodes;
  std::vector<ScheduleResult> results;
  for (int i = 0; i < 5; ++i) {
    nodes.push_back(make(device, Op::concatenate, {x.get()}, i, stream));
    Node* roots[] = {nodes.back().get()};
    results.push_back(schedule(roots, false));
  }
  Ref<Node> dependent = make(device, Op::concatenate, {nodes[1].get()}, 9, stream);
  Node* roots[] = {dependent.get()};
  const ScheduleResult last = schedule(roots, false);
  CHECK(device.waiting() == 3);
  Ref<Submission> a = device.next(), b = device.next(), c = device.next();
  for (const auto& s : {a, b, c}) device.execute(*s);
  device.finish(c);
  CHECK(nodes[2]->state() == State::ready && nodes[0]->state() == State::scheduled);
  CHECK(results[2].evaluation->done() && !results[0].evaluation->done());
  CHECK(device.waiting() == 1);  // the fourth
  device.finish(b, fault_of(Code::timeout));
  CHECK(nodes[1]->state() == State::poisoned);
  CHECK(device.waiting() == 2);
  device.finish(a);
  CHECK(nodes[0]->state() == State::ready);
  CHECK(device.waiting() == 3);
  device.run_all();
  wait(last);
  CHECK(dependent->state() == State::poisoned);
  CHECK(dependent->poison()->roots()[0] == nodes[1]->poison()->roots()[0]);
  CHECK(nodes[4]->state() == State::ready);
  CHECK(device.record.counts().struck == 1);
  CHECK(device.most_committed() == 3);
}

// A completion that doesn't come holds up its own stream and what depends on it, nothing else.
void test_never() {
  NullDevice& device = NullDevice::make();
  Stream* other = device.make_stream();
  Ref<Node> x = leaf(device, 5);
  Ref<Node> stuck = make(device, Op::concatenate, {x.get()}, 1);
  Ref<Node> behind = make(device, Op::concatenate, {x.get()}, 2);
  Ref<Node> after = make(device, Op::concatenate, {stuck.get()}, 3, other);
  Ref<Node> before = make(device, Op::concatenate, {x.get()}, 4, other);
  Node* roots[] = {before.get()};
  Node* more[] = {stuck.get()};
  Node* rest[] = {behind.get(), after.get()};
  const ScheduleResult first = schedule(more, false);
  const ScheduleResult free = schedule(roots, false);
  const ScheduleResult blocked = schedule(rest, false);
  Ref<Submission> never = device.next();
  device.run_all();
  wait(free);
  CHECK(before->state() == State::ready);
  CHECK(!first.evaluation->wait(second / 100));
  CHECK(!blocked.evaluation->wait(second / 100));
  CHECK(!pending_work(&device, nullptr)->done());
  CHECK(pending_work(&device, device.make_stream())->done());
  device.execute(*never);
  device.finish(never, fault_of(Code::device_removed));
  device.run_all();
  wait(blocked);
  CHECK(behind->state() == State::ready && after->state() == State::poisoned);
  CHECK(device.health.condition() == Condition::lost);
}

// Dropped at any moment, from any thread, with work in flight.
void test_dropped_in_flight() {
  Behaviour behaviour;
  behaviour.threads = 2;
  behaviour.late = 500;
  NullDevice& device = NullDevice::make(behaviour);
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device, 5);
    for (int round = 0; round < 300; ++round) {
      Ref<Node> a = make(device, Op::concatenate, {x.get()}, 1);
      Ref<Node> b = make(device, Op::concatenate, {a.get()}, 2);
      Ref<Node> c = make(device, Op::concatenate, {a.get()}, 3);
      Node* roots[] = {b.get(), c.get()};
      schedule(roots, false);
      std::thread dropper([a = std::move(a), b = std::move(b)]() mutable {
        a = nullptr;
        b = nullptr;
      });
      if (round % 3 == 0) {
        Node* again[] = {c.get()};
        wait(schedule(again, true));
        CHECK(c->state() == State::ready);
      }
      dropper.join();
    }
    wait(pending_work(&device, nullptr));
  }
  device.stop();
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
}

// Many submissions that wait for one: resolving it doesn't recurse.
void test_cascade() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device, 5);
  std::vector<Stream*> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(device.make_stream());
  Ref<Node> y = make(device, Op::concatenate, {x.get()}, 1);
  device.fail_unit_of(1, Code::io);
  Ref<Node> first = y;
  std::vector<Ref<Node>> leaves;
  std::vector<Node*> roots;
  for (int i = 0; i < 5000; ++i) {
    y = make(device, Op::concatenate, {i % 2 ? y.get() : first.get()}, 2, streams[i % 50]);
    leaves.push_back(y);
    roots.push_back(y.get());
  }
  const ScheduleResult result = schedule(roots, false);
  device.run_all();
  CHECK(result.evaluation->done());
  for (const auto& leaf : leaves) {
    CHECK(leaf->poison()->roots()[0] == first->poison()->roots()[0]);
  }
  CHECK(device.record.counts().struck == 1);
  CHECK(device.units_run == 0);
}

}  // namespace

int main(int argc, char** argv) {
  test_completed_once();
  test_out_of_order();
  test_never();
  test_dropped_in_flight();
  test_cascade();
  if (argc > 1) {
    test_threads(static_cast<unsigned>(std::atoi(argv[1])));
    return 0;
  }
  for (unsigned seed = 1; seed <= 12; ++seed) test_threads(seed);
  const unsigned fresh = std::random_device{}() % 1000000;
  for (unsigned i = 0; i < 6; ++i) test_threads(fresh + i);
}
