// Tests of the CPU device: small work inline, short work on the caller, long work on its threads,
// host calls that wait for each other, too little memory, and closing with work in flight.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/device.h"
#include "cpu/program.h"
#include "evaluations.h"
#include "nitinol/host.h"

using namespace nitinol;
using cpu::CpuDevice;
using nitinol::testing::second;
using nitinol::testing::wait;

namespace {

CpuDevice& device() { return CpuDevice::shared(); }

int add(void*, char* const* data, const std::intptr_t* count, const std::intptr_t* strides, void*) {
  for (std::intptr_t i = 0; i < *count; ++i) {
    *reinterpret_cast<std::int64_t*>(data[2] + i * strides[2]) =
        *reinterpret_cast<std::int64_t*>(data[0] + i * strides[0]) +
        *reinterpret_cast<std::int64_t*>(data[1] + i * strides[1]);
  }
  return 0;
}

Ref<Node> leaf(std::int64_t n, std::int64_t value, Stream* stream) {
  const std::int64_t shape[] = {n};
  Ref<Buffer> buffer = Buffer::allocate(device().memory, static_cast<std::size_t>(n) * 8);
  CHECK(buffer);
  Ref<Node> node = Node::make_data(DType::int64, Layout(shape), stream, std::move(buffer));
  std::fill_n(reinterpret_cast<std::int64_t*>(node->data()), n, value);
  return node;
}
Ref<Node> make(Op op, std::vector<Node*> inputs, Stream* stream) {
  return Node::make(op, DType::int64, Layout(inputs.at(0)->layout().shape()), stream, inputs);
}
void evaluate(const Ref<Node>& node, bool may_run_inline = true) {
  Node* roots[] = {node.get()};
  wait(schedule(roots, may_run_inline));
}
std::int64_t value(const Ref<Node>& node, std::int64_t i = 0) {
  CHECK(node->state() == State::ready);
  return reinterpret_cast<std::int64_t*>(node->data())[i];
}

void test_sizes() {
  Stream* stream = device().default_stream();
  for (std::int64_t n : {1, 100, 30000, 3000000}) {
    for (bool may_run_inline : {true, false}) {
      Ref<Node> x = leaf(n, 3, stream);
      Ref<Node> y = make(Op::copy, {make(Op::add, {x.get(), x.get()}, stream).get()}, stream);
      Ref<Node> z = make(Op::add, {y.get(), x.get()}, stream);
      evaluate(z, may_run_inline);
      CHECK(value(z) == 9 && value(z, n - 1) == 9 && value(y, n / 2) == 6);
    }
  }
}

// Streams shared by threads, failures injected all the while: each array is right or poisoned, and
// the counts add up.
void test_threads(unsigned seed) {
  std::fprintf(stderr, "test_threads: seed %u\n", seed);
  const ErrorCounts before = device().record.counts();
  std::vector<Stream*> streams{device().default_stream(), device().make_stream(),
                               device().make_stream()};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> fired{0};
  std::atomic<std::uint64_t> poisoned{0};
  std::thread injector([&] {
    for (int i = 0; !over; ++i) {
      InjectionRule rule;
      rule.code = Code::page_fault;  // which no recovery mends
      rule.phase = static_cast<Phase>(i % 3);
      rule.at = 1 + static_cast<std::uint64_t>(i % 7);
      const int number = device().injector.add(rule);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      fired += device().injector.remove(number).fired;
    }
  });
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + t);
      for (int round = 0; round < 60; ++round) {
        const std::int64_t n = random() % 4 ? 8 : 20000;
        Ref<Node> one = leaf(n, 1, streams[0]);
        std::vector<Ref<Node>> nodes{one};
        std::vector<std::int64_t> expected{1};
        for (int i = 0; i < 12; ++i) {
          const std::size_t a = random() % nodes.size(), b = random() % nodes.size();
          Stream* stream = streams[random() % 3];
          const bool copy = random() % 3 == 0;
          nodes.push_back(copy ? make(Op::copy, {nodes[a].get()}, stream)
                               : make(Op::add, {nodes[a].get(), nodes[b].get()}, stream));
          expected.push_back(expected[a] + (copy ? 0 : expected[b]));
        }
        std::vector<Node*> roots;
        for (const auto& node : nodes) roots.push_back(node.get());
        wait(schedule(roots, random() % 2));
        for (std::size_t i = 0; i < nodes.size(); ++i) {
          if (nodes[i]->state() == State::ready) {
            CHECK(value(nodes[i], n - 1) == expected[i]);
            continue;
          }
          CHECK(nodes[i]->state() == State::poisoned);
          ++poisoned;
          for (const Ref<Report>& report : nodes[i]->poison()->roots()) {
            CHECK(report->fault.code == Code::page_fault && report->fault.injection != 0);
            device().record.observe(*report, Observer::raised);
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  over = true;
  injector.join();
  device().record.collect(Observer::drained, -1);
  const ErrorCounts after = device().record.counts();
  CHECK(after.struck - before.struck == fired);
  CHECK(after.unobserved == 0 && after.suppressed == before.suppressed);
  CHECK(fired > 0 && poisoned >= fired);
}

// More of them than threads, and none returns before all have started.
void test_host_calls() {
  constexpr int calls = 12;
  std::vector<Stream*> streams;
  std::vector<Ref<Node>> nodes;
  std::vector<Node*> roots;
  int callbacks[calls] = {};
  Ref<Node> x = leaf(1, 7, device().default_stream());
  for (int& callback : callbacks) {
    streams.push_back(device().make_stream());
    Ref<Node> y = make(Op::host_call, {x.get()}, streams.back());
    y->set_callback(Ref<Keep>::adopt(new Keep(&callback)));
    nodes.push_back(make(Op::add, {y.get(), x.get()}, streams.back()));
    roots.push_back(nodes.back().get());
  }
  const ScheduleResult result = schedule(roots, true);
  std::vector<HostCall*> waiting;
  while (waiting.size() < calls) {
    if (HostCall* call = HostQueue::shared().take(second)) waiting.push_back(call);
  }
  // Work of others goes on meanwhile.
  Ref<Node> other = make(Op::copy, {x.get()}, device().default_stream());
  evaluate(other, false);
  CHECK(value(other) == 7);
  int failing = 0;
  for (HostCall* call : waiting) {
    const auto number = static_cast<int*>(call->callback) - callbacks;
    CHECK(number >= 0 && number < calls && call->inputs.size() == 1);
    if (number == 5) {
      call->fault.code = Code::host_callback;
      call->exception = new Keep(&failing);
    } else {
      *reinterpret_cast<std::int64_t*>(call->output.data) =
          100 + *reinterpret_cast<std::int64_t*>(call->inputs[0].data);
    }
    call->finished.set();
  }
  wait(result);
  for (int i = 0; i < calls; ++i) {
    const Ref<Node>& node = nodes[static_cast<std::size_t>(i)];
    if (i != 5) {
      CHECK(value(node) == 114);
      continue;
    }
    const Report& report = *node->poison()->roots()[0];
    CHECK(report.fault.code == Code::host_callback && report.op == Op::host_call);
    CHECK(report.exception && report.exception->object() == &failing);
    CHECK(device().record.observe(report, Observer::raised));
  }
}

// Concurrent work that doesn't fit together takes turns; what never fits fails alone.
void test_memory_limit() {
  const std::size_t limit = device().memory.stats().limit;
  const std::size_t in_use = device().memory.stats().in_use;
  constexpr std::int64_t n = 100000;
  {
    Ref<Node> x = leaf(n, 2, device().default_stream());
    device().memory.trim();
    device().memory.set_limit(in_use + 8 * n * 8);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        Stream* stream = device().make_stream();
        for (int i = 0; i < 20; ++i) {
          Ref<Node> y = make(Op::copy, {x.get()}, stream);
          y = make(Op::copy, {make(Op::add, {y.get(), x.get()}, stream).get()}, stream);
          evaluate(y, false);
          CHECK(value(y, n - 1) == 4);
        }
        device().recycle_stream(stream);
      });
    }
    for (std::thread& thread : threads) thread.join();
    const std::int64_t shape[] = {10 * n};
    const std::int64_t strides[] = {0};
    Ref<Node> wide = Node::make_view(x.get(), Layout(shape, strides, 0));
    Ref<Node> huge = make(Op::copy, {wide.get()}, device().default_stream());
    Ref<Node> small = make(Op::copy, {x.get()}, device().default_stream());
    Node* roots[] = {huge.get(), small.get()};
    wait(schedule(roots, false));
    CHECK(value(small) == 2 && huge->state() == State::poisoned);
    const Report& report = *huge->poison()->roots()[0];
    CHECK(report.fault.code == Code::out_of_memory && report.fault.args[0] == 80 * n);
    CHECK(device().record.observe(report, Observer::raised));
  }
  device().memory.set_limit(limit);
  CHECK(device().memory.stats().in_use == in_use);
}

// Nothing new is accepted; what has not started is skipped, and nobody waits for ever.
void test_closed() {
  Ref<Node> x = leaf(1, 1, device().default_stream());
  Ref<Node> held = make(Op::host_call, {x.get()}, device().default_stream());
  Ref<Node> behind = make(Op::copy, {held.get()}, device().default_stream());
  Node* roots[] = {behind.get()};
  const ScheduleResult result = schedule(roots, true);
  CHECK(!result.evaluation->wait(second / 100));
  close();
  HostQueue::shared().close();
  wait(result);
  CHECK(held->state() == State::lazy && behind->state() == State::lazy);
  CHECK(schedule(roots, true).refusal == Refusal::closed);
  Node* ready[] = {x.get()};
  CHECK(schedule(ready, true).refusal == Refusal::none);
}

}  // namespace

int main() {
  cpu::register_loop(Op::add, DType::int64, {add, nullptr, nullptr, false});
  const std::int64_t alive = Node::alive();
  test_sizes();
  test_threads(1);
  test_threads(std::random_device{}());
  test_host_calls();
  test_memory_limit();
  wait({Refusal::none, pending_work(&device(), nullptr), nullptr});
  CHECK(Node::alive() == alive);
  CHECK(device().memory.stats().in_use == 0);
  test_closed();
  CHECK(Node::alive() == alive);
  while (Keep* list = Keep::take_discarded()) {
    for (Keep* next; list; list = next) {
      next = list->next();
      Keep::free(list);
    }
  }
}
