// Tests of watches: each fires once, after everything it watches, whenever it was started.
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/host.h"
#include "nitinol/schedule.h"
#include "nitinol/watch.h"
#include "null_arrays.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

Ref<Node> kernel(NullDevice& device, Stream* stream) {
  return make(device, Op::concatenate, {leaf(device).get()}, 0, stream);
}

std::vector<void*> fired() {
  std::vector<void*> targets;
  for (Watch* watch = Watch::take_fired(); watch;) {
    Watch* next = watch->next();
    targets.push_back(watch->target());
    delete watch;
    watch = next;
  }
  return targets;
}

// One evaluation of submissions on three streams, completed in any order.
void test_fires_after_the_last(int order) {
  NullDevice& device = NullDevice::make();
  std::vector<Ref<Node>> nodes;
  std::vector<Node*> roots;
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(kernel(device, device.make_stream()));
    roots.push_back(nodes.back().get());
  }
  const ScheduleResult result = schedule(roots, false);
  int early = 0;
  int late = 0;
  (new Watch(result.evaluation, &early))->start();
  std::vector<Ref<Submission>> submissions;
  while (Ref<Submission> next = device.next()) submissions.push_back(std::move(next));
  CHECK(submissions.size() == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(fired().empty());
    auto& submission = submissions[static_cast<std::size_t>((order + i * (1 + order / 3)) % 3)];
    device.execute(*submission);
    device.finish(submission);
  }
  CHECK(result.evaluation->done());
  CHECK(fired() == std::vector<void*>{&early});
  // Started when all is done, it fires at once; and it wakes the runtime's thread.
  while (HostQueue::shared().take(0)) {
  }
  (new Watch(result.evaluation, &late))->start();
  CHECK(HostQueue::shared().take(60'000'000'000) == nullptr);  // poked: no wait of a minute
  CHECK(fired() == std::vector<void*>{&late});
}

void test_races(unsigned seed) {
  announce("test_races", seed);
  NullDevice& device = NullDevice::make(
      {.depth = 4, .threads = 3, .seed = seed, .unit_faults = 100, .late = 300, .twice = 100});
  std::vector<Stream*> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(device.make_stream());
  constexpr int rounds = 300;
  constexpr int watchers = 3;
  std::vector<int> targets(rounds * watchers);
  std::atomic<bool> stop{false};
  std::multiset<void*> seen;
  std::thread notifier([&] {
    for (;;) {
      const bool last = stop;
      for (void* target : fired()) seen.insert(target);
      if (last) return;
      HostQueue::shared().take(1'000'000);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    std::vector<Ref<Node>> nodes;
    std::vector<Node*> roots;
    for (Stream* stream : streams) {
      nodes.push_back(kernel(device, stream));
      roots.push_back(nodes.back().get());
    }
    const ScheduleResult result = schedule(roots, false);
    std::vector<std::thread> threads;
    for (int w = 0; w < watchers; ++w) {
      int* target = &targets[static_cast<std::size_t>(round * watchers + w)];
      threads.emplace_back([&, target] { (new Watch(result.evaluation, target))->start(); });
    }
    for (std::thread& thread : threads) thread.join();
    while (!result.evaluation->wait(1'000'000'000)) {
    }
  }
  device.stop();
  stop = true;
  notifier.join();
  CHECK(seen.size() == targets.size());
  for (int& target : targets) CHECK(seen.count(&target) == 1);
}

}  // namespace

int main() {
  for (int order = 0; order < 6; ++order) test_fires_after_the_last(order);
  test_races(1);
  test_races(std::random_device{}());
}
