// Tests of the Metal device under threads and failures of every kind: command buffers that fail,
// handlers that come late, in disorder or never, memory that runs out, a driver that gives up.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/device.h"
#include "device_graph.h"
#include "metal/start.h"
#include "metal_emulator/seams.h"
#include "nitinol/schedule.h"

using namespace nitinol;
using namespace nitinol::metal::testing;

namespace emulator = metal_emulator;

namespace {

constexpr std::int64_t second = 1000000000;
constexpr std::int64_t zero_strides[] = {0};

Device& device() {
  static Device* const found = metal::system_device();
  CHECK(found);
  return *found;
}
Device& host() { return cpu::CpuDevice::shared(); }

void wait(const Ref<Evaluation>& evaluation) {
  for (int slices = 0; evaluation && !evaluation->wait(second / 10); ++slices) CHECK(slices < 1200);
}
void wait(const ScheduleResult& result) {
  CHECK(result.refusal == Refusal::none);
  wait(result.evaluation);
}

// What the driver says, and what becomes of it.
struct Ending {
  std::int64_t code;
  std::int64_t raw;  // 0: none
  Code meaning;
};
constexpr Ending endings[] = {
    {1, 0, Code::internal},
    {1, 5, Code::innocent_victim},
    {1, 14, Code::impacting_interactivity},
    {2, 2, Code::timeout},
    {3, 11, Code::page_fault},
    {8, 8, Code::out_of_memory},
    {9, 0, Code::invalid_resource},
    {12, 0, Code::stack_overflow},
};

void fail_command_buffer(std::uint64_t at, const Ending& ending, bool execute) {
  emulator::CommandBufferFailure failure;
  failure.occasion = {at, 1};
  failure.code = ending.code;
  if (ending.raw) failure.raw = ending.raw;
  failure.execute = execute;
  emulator::fail_command_buffers(failure);
}

// Failures that the seams and the injector were asked for, and how many of them happened.
class Plan {
 public:
  Plan(std::mt19937& random, bool buffers, bool injected) {
    before_ = emulator::counters().command_buffers;
    for (std::uint64_t at = 3; buffers && at < 200; at += 1 + random() % 20) {
      fail_command_buffer(at, endings[random() % std::size(endings)], random() % 2);
      buffers_.push_back(at);
    }
    constexpr Phase phases[] = {Phase::encode, Phase::commit, Phase::completion};
    for (std::uint64_t at = 5; injected && at < 300; at += 1 + random() % 40) {
      InjectionRule rule;
      rule.code = Code::not_permitted;
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
  a.raised -= b.raised;
  a.drained -= b.drained;
  a.collected -= b.collected;
  a.printed -= b.printed;
  a.suppressed -= b.suppressed;
  a.unobserved -= b.unobserved;
  return a;
}

// Failures that come from the data, and not from a plan.
std::uint64_t of_data() {
  return device().record.failures(Code::index_out_of_range) +
         device().record.failures(Code::negative_power);
}

// What Metal's side has alive; kernels, which are kept, left out.
std::vector<std::pair<std::string, std::int64_t>> objects() {
  std::vector<std::pair<std::string, std::int64_t>> found;
  for (const char* name :
       {"EmulatedBuffer", "EmulatedCommandBuffer", "EmulatedComputeCommandEncoder",
        "EmulatedEncoderInfo", "NSError", "Block", "NSDictionary", "MTLCommandBufferDescriptor"}) {
    found.emplace_back(name, emulator::live_objects(name));
  }
  return found;
}

// Everything comes back: nodes, memory, and, as soon as the GPU's threads let go, objects.
class Conservation {
 public:
  Conservation() : alive_(Node::alive()), objects_(objects()) {}
  void check() const {
    for (Device* each : {&device(), &host()}) wait(pending_work(each, nullptr));
    CHECK(Node::alive() == alive_);
    CHECK(device().memory.stats().in_use == 0);
    CHECK(host().memory.stats().in_use == 0);
    for (int tries = 0;; ++tries) {
      device().memory.trim();
      const auto now = objects();
      if (now == objects_) break;
      if (tries == 1000) {
        for (const auto& [name, count] : now) {
          std::fprintf(stderr, "%s: %lld\n", name.c_str(), static_cast<long long>(count));
        }
        CHECK(!"objects that leak");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(emulator::autoreleased_without_pool_count() == 0);
  }

 private:
  std::int64_t alive_;
  std::vector<std::pair<std::string, std::int64_t>> objects_;
};

std::vector<Stream*>& streams() {
  static std::vector<Stream*> all{device().default_stream(), device().make_stream(),
                                  device().make_stream()};
  return all;
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
  Plan plan(random, seed % 3 != 1, seed % 4 != 0);
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
  CHECK(counts.struck == counts.raised + counts.drained + counts.printed);
  CHECK(there.struck == there.raised + there.drained + there.printed);
  CHECK(counts.drained + there.drained == drained && counts.printed + there.printed == rest);
  // Every failure that was planned is told of, or counted as one that came second.
  const std::uint64_t planned = plan.struck();
  const std::uint64_t told = counts.struck + counts.suppressed - (of_data() - data_before);
  CHECK(shortage ? told >= planned : told == planned);
  CHECK(ready > 0 && (poisoned > 0 || counts.struck + struck_on_host == 0));
  std::fprintf(stderr, "  %lld ready, %lld poisoned, %lld by themselves, %llu planned\n",
               static_cast<long long>(ready), static_cast<long long>(poisoned),
               static_cast<long long>(own), static_cast<unsigned long long>(planned));
}

struct Chain {
  Chain() {
    x = leaf(4);
    fresh = leaf(2);
    start = leaf(0);
  }
  static Ref<Node> leaf(std::int64_t size) {
    Ref<Buffer> buffer = Buffer::allocate(device().memory, 32);
    CHECK(buffer);
    std::memset(buffer->data(), 0, 32);
    const std::int64_t shape[] = {size};
    return Node::make_data(DType::int64,
                           size ? Layout(shape) : Layout(std::span<const std::int64_t>()),
                           device().default_stream(), std::move(buffer));
  }
  Ref<Node> sum(Node* a, Node* b, Stream* stream = device().default_stream()) {
    const std::int64_t shape[] = {4};
    Node* inputs[] = {a, b};
    return Node::make(Op::add, DType::int64, Layout(shape), stream, inputs);
  }
  Ref<Node> update(Node* of, Stream* stream = device().default_stream()) {
    const std::int64_t shape[] = {4};
    Node* inputs[] = {of, fresh.get(), start.get()};
    auto params = Ref<Params>::adopt(new Params);
    params->ints = {0};
    return Node::make(Op::slice_update, DType::int64, Layout(shape), stream, inputs,
                      std::move(params));
  }
  Ref<Node> x, fresh, start;
};

ScheduleResult evaluate(Node* node) {
  Node* roots[] = {node};
  return schedule(roots, false);
}

// A chain of updates works in one buffer, from one submission to the next; when it is lost, so is
// what it took over.
void test_donated() {
  const Conservation conservation;
  {
    Chain chain;
    Ref<Node> y = chain.sum(chain.x.get(), chain.x.get());
    wait(evaluate(y.get()));
    const Buffer* const buffer = y->buffer();
    for (int i = 0; i < 20; ++i) {
      y = chain.update(y.get());
      wait(evaluate(y.get()));
      CHECK(y->state() == State::ready && y->buffer() == buffer);
    }
    fail_command_buffer(1, endings[3], true);
    Ref<Node> last = chain.update(y.get());
    const Ref<Node> before = y;  // somebody keeps it: no donation
    wait(evaluate(last.get()));
    CHECK(last->state() == State::poisoned && before->state() == State::ready);
    const Report& report = *last->poison()->roots()[0];
    CHECK(report.fault.code == Code::timeout && report.encoder_count == 1);
    CHECK(report.encoders[0].state == EncoderState::faulted);
    device().record.collect(Observer::printed, -1);
  }
  conservation.check();
}

// What lies in another device's memory is not taken over, though nobody else reads it.
void test_not_donated_across() {
  const Conservation conservation;
  for (bool to_host : {false, true}) {
    Chain chain;
    Stream* const there = host().default_stream();
    Ref<Node> y = chain.update(chain.x.get(), to_host ? streams()[0] : there);
    std::memset(chain.fresh->data(), 1, 16);
    const Ref<Node> z =
        chain.update(std::exchange(y, nullptr).get(), to_host ? there : streams()[0]);
    wait(evaluate(z.get()));
    CHECK(z->state() == State::ready && (z->buffer()->handle() == nullptr) == to_host);
    CHECK(std::memcmp(z->data(), chain.fresh->data(), 16) == 0);
  }
  conservation.check();
}

// Memory that the system does not give: for an array, for a copy, and for what a submission needs.
void test_shortage() {
  const Conservation conservation;
  const std::int64_t shape[] = {1 << 20};
  for (std::uint64_t times = 1; times < 5; ++times) {
    Chain chain;
    Node* inputs[] = {chain.start.get(), chain.start.get()};
    const auto make = [&] {
      const Ref<Node> wide = Node::make_view(chain.start.get(), Layout(shape, zero_strides, 0));
      inputs[0] = inputs[1] = wide.get();
      return Node::make(Op::add, DType::int64, Layout(shape), device().default_stream(), inputs);
    };
    const Ref<Node> first = make(), other = make();
    device().memory.trim();  // with something to give back the allocator would ask again
    emulator::fail_allocations({1, times});
    wait(evaluate(first.get()));
    emulator::reset_seams();
    wait(evaluate(other.get()));
    CHECK(other->state() == State::ready);
    CHECK(first->state() == State::poisoned);
    CHECK(first->poison()->roots()[0]->fault.code == Code::out_of_memory);
    CHECK(device().record.collect(Observer::printed, -1).size() == 1);
  }
  conservation.check();
}

// A handler that comes after its submission was claimed by the thread that looks at the clock.
void test_handlers_too_late() {
  const Conservation conservation;
  emulator::disorder_handlers(7, 1500000);
  {
    Chain chain;
    std::vector<Ref<Node>> nodes;
    std::vector<ScheduleResult> results;
    for (int i = 0; i < 12; ++i) {
      nodes.push_back(chain.sum(chain.x.get(), chain.x.get(), streams()[i % 3]));
      results.push_back(evaluate(nodes.back().get()));
    }
    for (const ScheduleResult& result : results) wait(result);
    for (const Ref<Node>& node : nodes) CHECK(node->state() == State::ready);
  }
  conservation.check();
  emulator::reset_seams();
}

// The last test, since a device that is gone stays so: what it holds ends, and keeps its memory;
// what comes later is refused; what the GPU still does afterwards harms nobody.
void test_lost() {
  {
    Chain chain;
    wait(evaluate(chain.sum(chain.x.get(), chain.x.get()).get()));
    emulator::hold_gpu();
    std::vector<Ref<Node>> nodes;
    std::vector<ScheduleResult> results;
    // Three streams on three queues. The first is struck; the others never start.
    fail_command_buffer(1, {4, 4, Code::submissions_ignored}, false);
    for (int i = 0; i < 36; ++i) {
      nodes.push_back(chain.sum(chain.x.get(), chain.x.get(), streams()[i % 3]));
      results.push_back(evaluate(nodes.back().get()));
    }
    // Let the first run, and hardly more.
    while (device().health.condition() != Condition::lost) {
      emulator::release_gpu();
      std::this_thread::yield();
      emulator::hold_gpu();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (const ScheduleResult& result : results) wait(result);
    int poisoned = 0;
    for (const Ref<Node>& node : nodes) {
      if (node->state() == State::ready) continue;
      CHECK(node->state() == State::poisoned);
      CHECK(node->poison()->roots()[0]->fault.code == Code::submissions_ignored);
      ++poisoned;
    }
    CHECK(poisoned > 0 && device().health.condition() == Condition::lost);
    const Ref<Node> refused = chain.sum(chain.x.get(), chain.x.get());
    wait(evaluate(refused.get()));
    CHECK(refused->state() == State::poisoned);
    CHECK(refused->poison()->roots()[0]->phase == Phase::commit);
    emulator::release_gpu();
  }
  wait(pending_work(&device(), nullptr));
  for (int tries = 0; emulator::live_objects("EmulatedCommandBuffer") != 0; ++tries) {
    CHECK(tries < 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Device::add(&host());
  Device::add(&device());
  if (argc > 1) {
    test_threads(static_cast<unsigned>(std::atoi(argv[1])));
    return 0;
  }
  test_donated();
  test_not_donated_across();
  test_shortage();
  for (unsigned seed = 1; seed <= 12; ++seed) test_threads(seed);
  const unsigned fresh = std::random_device{}() % 1000000;
  for (unsigned i = 0; i < 4; ++i) test_threads(fresh + i);
  test_handlers_too_late();
  test_lost();
}
