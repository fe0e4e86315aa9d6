// Failures of the Metal device one by one: updates in place, shortage of memory, handlers that come
// too late, a driver that gives up.
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "device_fixture.h"

using namespace nitinol;
using namespace nitinol::metal::testing;

namespace {

constexpr std::int64_t zero_strides[] = {0};

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
    CHECK(report.fault.code == endings[3].meaning && report.encoder_count == 1);
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

int main() {
  Device::add(&host());
  Device::add(&device());
  mend_nothing();
  test_donated();
  test_not_donated_across();
  test_shortage();
  test_handlers_too_late();
  test_lost();
}
