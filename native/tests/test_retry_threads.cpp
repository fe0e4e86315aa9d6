// Tests of retry under threads: whatever failed and whoever retries it, every array ends as its
// value, and those that nobody retried keep their failures.
#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "evaluations.h"
#include "nitinol/retry.h"
#include "random_graph.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

// Random graphs fail; then parts of them are retried from several threads, while more is built.
// Returns how many arrays were replaced: by chance none of those picked may have failed.
int test_random(unsigned seed) {
  announce("test_random", seed);
  std::mt19937 random(seed);
  const Behaviour behaviour =
      random_behaviour(seed, random, seed % 3 == 0 ? 0 : 40, seed % 3 == 1 ? 0 : 60);
  const std::int64_t alive = Node::alive();
  NullDevice& device = NullDevice::make(behaviour);
  std::vector<Stream*> streams{device.default_stream(), device.make_stream(), device.make_stream()};
  std::atomic<int> healed{0};
  {
    RandomGraph common(device, streams, seed);
    for (int i = 0; i < 40; ++i) common.add();
    wait(schedule(common.all(), false));
    std::vector<RandomGraph> graphs;
    for (unsigned t = 0; t < 3; ++t) graphs.emplace_back(device, streams, seed * 31 + t, &common);
    const auto in_threads = [&](auto job) {
      std::vector<std::thread> threads;
      for (RandomGraph& graph : graphs) threads.emplace_back([&] { job(graph); });
      for (std::thread& thread : threads) thread.join();
    };
    in_threads([&](RandomGraph& graph) {
      for (int i = 0; i < 120; ++i) {
        graph.add();
        if (graph.random()() % 3 == 0) graph.drop();
        if (graph.random()() % 12 == 0) wait(schedule(graph.pick(4), graph.random()() % 2));
      }
      wait(schedule(graph.all(), false));
    });
    device.calm = true;
    common.judge();
    for (RandomGraph& graph : graphs) graph.judge();
    in_threads([&](RandomGraph& graph) {
      for (int round = 0; round < 25; ++round) {
        const std::vector<std::size_t> picked = graph.pick_held(4);
        std::vector<Node*> roots;
        for (std::size_t i : picked) roots.push_back(graph.node(i));
        RetryResult result = retry(roots);
        if (result.refusal == RetryRefusal::none) {
          for (std::size_t i = 0; i < picked.size(); ++i) {
            healed += graph.node(picked[i]) != result.nodes[i].get();
            graph.rebind(picked[i], result.nodes[i]);
            roots[i] = result.nodes[i].get();
          }
          if (graph.random()() % 2) result.nodes.clear();
          wait(schedule(roots, graph.random()() % 2));
        } else {
          CHECK(result.refusal == RetryRefusal::donated);
          CHECK(result.array->state() == State::ready);
        }
        for (int i = 0; i < 3; ++i) graph.add();
        graph.drop();
        wait(schedule(graph.all(), graph.random()() % 2));
        graph.check_judged();
      }
    });
    common.check_judged();
    common.forget();
  }
  while (!pending_work(&device, nullptr)->wait(second)) {
  }
  device.stop();
  device.record.collect(Observer::drained, -1);
  CHECK(device.record.counts().struck == device.failures());
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
  set_fusion_limit(max_instructions);
  return healed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    test_random(static_cast<unsigned>(std::atoi(argv[1])));
    return 0;
  }
  int healed = 0;
  for (unsigned seed = 1; seed <= 12; ++seed) healed += test_random(seed);
  CHECK(healed > 0);
  const unsigned fresh = std::random_device{}() % 1000000;
  for (unsigned i = 0; i < 6; ++i) test_random(fresh + i);
}
