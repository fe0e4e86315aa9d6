// Random graphs on the Metal device under threads: command buffers fail, handlers come late, in
// disorder or never, memory runs out, and failures are injected.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "device_fixture.h"
#include "device_graph.h"

using namespace nitinol;
using namespace nitinol::metal::testing;

namespace {

// Failures that the seams and the injector were asked for, and how many of them happened.
class Plan {
 public:
  // `mended`: with recovery, of which the transient ones are to show nothing.
  Plan(std::mt19937& random, bool buffers, bool injected, bool mended) {
    before_ = emulator::counters().command_buffers;
    for (std::uint64_t at = 3; buffers && at < 200; at += 1 + random() % 20) {
      const std::size_t kinds = mended ? transient_endings : std::size(endings);
      fail_command_buffer(at, endings[random() % kinds], random() % 2);
      buffers_.push_back(at);
    }
    constexpr Code codes[] = {Code::innocent_victim, Code::internal, Code::out_of_memory,
                              Code::not_permitted};
    constexpr Phase phases[] = {Phase::encode, Phase::commit, Phase::completion};
    for (std::uint64_t at = 5; injected && at < 300; at += 1 + random() % 40) {
      InjectionRule rule;
      rule.code = mended ? codes[random() % 4] : Code::not_permitted;
      rule.phase = phases[random() % 3];
      rule.at = at;
      rules_.push_back(device().injector.add(rule));
    }
  }
  // When all is done.
  std::uint64_t struck() {
    std::uint64_t total = 0;
    const std::uint64_t committed = emulator::counters().command_buffers - before_;
    for (std::uint64_t at : buffers_) total += at <= committed;
    for (int rule : rules_) total += device().injector.remove(rule).fired;
    return total;
  }

 private:
  std::uint64_t before_ = 0;
  std::vector<std::uint64_t> buffers_;
  std::vector<int> rules_;
};

ErrorCounts operator-(ErrorCounts a, const ErrorCounts& b) {
  a.struck -= b.struck;
  a.recovered -= b.recovered;
  a.raised -= b.raised;
  a.drained -= b.drained;
  a.collected -= b.collected;
  a.printed -= b.printed;
  a.suppressed -= b.suppressed;
  a.unobserved -= b.unobserved;
  return a;
}

std::uint64_t recovered = 0;  // over all tests

// Failures that come from the data, and not from a plan.
std::uint64_t of_data() {
  return device().record.failures(Code::index_out_of_range) +
         device().record.failures(Code::negative_power);
}

// Several threads build, evaluate, read and drop; somebody else observes failures meanwhile.
void test_threads(unsigned seed) {
  std::fprintf(stderr, "test_threads: seed %u\n", seed);
  std::mt19937 random(seed);
  const Conservation conservation;
  // One program in two operations, or each operation by itself: what is fused is compiled, and
  // every new program takes a compiler's time.
  const bool fused = seed % 4 == 3;
  set_fusion_limit(fused ? 2 : 1);
  Mix mix;
  mix.streams = streams();
  if (!fused && seed % 3 != 0) mix.host = host().default_stream();
  mix.leaves = {&device(), &device(), &host()};
  mix.only_dense = fused;
  mix.data_faults = seed % 5 != 1;

  emulator::disorder_handlers(seed, seed % 2 ? 2000 : 0);
  if (seed % 4 == 2) emulator::drop_handlers({5 + random() % 20, 2});
  const bool shortage = seed % 6 == 4;
  const ErrorCounts before = device().record.counts(), hosts = host().record.counts();
  const std::uint64_t data_before = of_data();
  const bool mended = seed % 2 == 0;
  Plan plan(random, seed % 3 != 1, seed % 4 != 0, mended);
  RecoveryPolicy policy;
  policy.victim_backoff = 100'000;
  policy.victim_retries = most_retries;
  mended ? device().health.set_policy(policy) : mend_nothing();
  if (shortage) {
    emulator::fail_allocations({2, 2});
    emulator::fail_allocations({5 + random() % 4, 2});
  }

  std::atomic<std::int64_t> ready{0}, poisoned{0}, own{0};
  std::atomic<bool> over{false};
  std::uint64_t drained = 0;
  std::thread reader([&] {
    while (!over.load()) {
      for (Device* each : {&device(), &host()}) {
        drained += each->record.collect(Observer::drained, each == &host() ? -1 : 1).size();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  {
    DeviceGraph common(mix, seed);
    for (int i = 0; i < 30; ++i) common.add();
    const ScheduleResult first = schedule(common.all(), false);  // in flight when the rest starts
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        DeviceGraph graph(mix, seed * 31 + t, &common);
        for (int i = 0; i < 100; ++i) {
          graph.add();
          if (graph.random()() % 3 == 0) graph.drop();
          if (graph.random()() % 8 == 0) {
            const ScheduleResult result = schedule(graph.pick(4), graph.random()() % 2);
            if (graph.random()() % 2) wait(result);
          }
        }
        wait(schedule(graph.all(), false));
        graph.check();
        for (Node* node : graph.all()) {
          if (node->state() != State::poisoned) continue;
          for (const Ref<Report>& report : node->poison()->roots()) {
            Device& where = report->device == &device() ? device() : host();
            where.record.observe(*report, Observer::raised);
          }
        }
        ready += graph.ready;
        poisoned += graph.poisoned;
        own += graph.own;
      });
    }
    for (std::thread& thread : threads) thread.join();
    wait(first);
    common.check();
    common.forget();
  }
  conservation.check();
  over = true;
  reader.join();
  emulator::reset_seams();

  std::uint64_t rest = 0, struck_on_host = 0;
  for (Device* each : {&device(), &host()}) {
    rest += each->record.collect(Observer::printed, -1).size();
  }
  struck_on_host = (host().record.counts() - hosts).struck;
  const ErrorCounts counts = device().record.counts() - before;
  const ErrorCounts there = host().record.counts() - hosts;
  CHECK(counts.unobserved == 0 && there.unobserved == 0);
  CHECK(counts.struck == counts.recovered + counts.raised + counts.drained + counts.printed);
  CHECK(there.struck == there.raised + there.drained + there.printed);
  CHECK(counts.drained + there.drained == drained && counts.printed + there.printed == rest);
  // Every failure that was planned is told of, or counted as one that came second.
  const std::uint64_t planned = plan.struck();
  const std::uint64_t told = counts.struck + counts.suppressed - (of_data() - data_before);
  CHECK(shortage ? told >= planned : told == planned);
  const std::uint64_t shown = counts.struck - counts.recovered + struck_on_host;
  CHECK(ready > 0 && (poisoned > 0 || shown == 0));
  recovered += counts.recovered;
  std::fprintf(
      stderr, "  %lld ready, %lld poisoned, %lld by themselves, %llu planned, %llu mended\n",
      static_cast<long long>(ready), static_cast<long long>(poisoned), static_cast<long long>(own),
      static_cast<unsigned long long>(planned), static_cast<unsigned long long>(counts.recovered));
}

}  // namespace

int main(int argc, char** argv) {
  Device::add(&host());
  Device::add(&device());
  mend_nothing();
  if (argc > 1) {
    test_threads(static_cast<unsigned>(std::atoi(argv[1])));
    return 0;
  }
  for (unsigned seed = 1; seed <= 12; ++seed) test_threads(seed);
  CHECK(recovered > 0);
  const unsigned fresh = std::random_device{}() % 1000000;
  for (unsigned i = 0; i < 4; ++i) test_threads(fresh + i);
}
