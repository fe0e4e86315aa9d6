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
    fail_command_buffer(1, endings[4], true);
    Ref<Node> last = chain.update(y.get());
    const Ref<Node> before = y;  // somebody keeps it: no donation
    wait(evaluate(last.get()));
    CHECK(last->state() == State::poisoned && before->state() == State::ready);
    const Report& report = *last->poison()->roots()[0];
    CHECK(report.fault.code == endings[4].meaning && report.encoder_count == 1);
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

// What failed for a while is encoded and committed again, though handlers come late or not at all.
void test_mended() {
  const Conservation conservation;
  RecoveryPolicy policy;
  policy.victim_backoff = 1000;
  device().health.set_policy(policy);
  for (bool executed : {false, true}) {
    for (std::size_t i = 0; i < transient_endings; ++i) {
      Chain chain;
      Ref<Node> y = chain.sum(chain.x.get(), chain.x.get());
      wait(evaluate(y.get()));
      const Buffer* const buffer = y->buffer();
      const ErrorCounts before = device().record.counts();
      std::memset(chain.fresh->data(), 1, 16);
      emulator::disorder_handlers(i, 2000);
      fail_command_buffer(1, endings[i], executed);
      if (executed) emulator::drop_handlers({2, 1});  // of the second attempt
      y = chain.update(y.get());
      const Ref<Node> z = chain.sum(y.get(), y.get());
      wait(evaluate(z.get()));
      emulator::reset_seams();
      CHECK(z->state() == State::ready && y->state() == State::ready);
      CHECK(y->buffer() == buffer);  // in place, both times
      CHECK(std::memcmp(y->data(), chain.fresh->data(), 16) == 0);
      const ErrorCounts after = device().record.counts();
      CHECK(after.recovered == before.recovered + 1 && after.struck == before.struck + 1);
      CHECK(device().health.condition() == Condition::ok);
    }
  }
  conservation.check();
  mend_nothing();
}

// What took too long runs again with a unit in each command buffer; then it is known which one is
// to blame, and nothing else is spoilt.
void test_split() {
  const Conservation conservation;
  constexpr std::uint64_t units = 5;
  RecoveryPolicy policy;
  policy.victim_backoff = 1000;
  policy.split_timeout = true;
  device().health.set_policy(policy);
  set_fusion_limit(1);
  const Ending timeout{2, 2, Code::timeout};
  for (std::uint64_t culprit = 0; culprit <= units; ++culprit) {
    Chain chain;
    wait(evaluate(chain.sum(chain.x.get(), chain.x.get()).get()));
    const ErrorCounts before = device().record.counts();
    const std::uint64_t committed = emulator::counters().command_buffers;
    fail_command_buffer(1, timeout, true);
    if (culprit) fail_command_buffer(1 + culprit, timeout, false);
    std::vector<Ref<Node>> nodes{chain.x};
    for (std::uint64_t i = 0; i < units; ++i) {
      // All but the last read each other.
      Node* last = i + 1 < units ? nodes.back().get() : chain.x.get();
      nodes.push_back(chain.sum(last, chain.x.get()));
    }
    std::vector<Node*> roots;
    for (const Ref<Node>& node : nodes) roots.push_back(node.get());
    wait(schedule(roots, false));
    emulator::reset_seams();
    const ErrorCounts after = device().record.counts();
    CHECK(after.struck == before.struck + 1);
    if (culprit == 0) {
      CHECK(emulator::counters().command_buffers == committed + 1 + units);
      CHECK(after.recovered == before.recovered + 1);
      for (const Ref<Node>& node : nodes) CHECK(node->state() == State::ready);
      continue;
    }
    CHECK(after.suppressed == before.suppressed + 1 && after.recovered == before.recovered);
    for (std::uint64_t i = 1; i <= units; ++i) {
      const bool spoilt = i == culprit || (i > culprit && i < units);
      CHECK(nodes[i]->state() == (spoilt ? State::poisoned : State::ready));
      if (!spoilt) continue;
      const Report& report = *nodes[i]->poison()->roots()[0];
      CHECK(report.fault.code == Code::timeout && report.unit == culprit - 1);
    }
    CHECK(device().record.collect(Observer::printed, -1).size() == 1);
  }
  set_fusion_limit(max_instructions);
  conservation.check();
  mend_nothing();
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
  test_mended();
  test_split();
  test_lost();
}
