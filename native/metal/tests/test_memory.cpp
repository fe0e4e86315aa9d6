// Memory of the Metal device: what is kept resident, and what becomes of it when memory is short.
#include <cstring>
#include <thread>
#include <vector>

#include "device_fixture.h"

using namespace nitinol;
using namespace nitinol::metal::testing;

namespace {

constexpr std::size_t working_set = std::size_t{8} << 20;

Ref<Buffer> take(std::size_t bytes) {
  Ref<Buffer> buffer = Buffer::allocate(device().memory, bytes);
  CHECK(buffer);
  return buffer;
}

// One command buffer, on small arrays of its own.
void submit(Stream* stream = device().default_stream()) {
  const std::int64_t shape[] = {4};
  Ref<Buffer> buffer = take(32);
  std::memset(buffer->data(), 0, 32);
  const Ref<Node> x = Node::make_data(DType::int64, Layout(shape), stream, std::move(buffer));
  Node* inputs[] = {x.get(), x.get()};
  const Ref<Node> y = Node::make(Op::add, DType::int64, Layout(shape), stream, inputs);
  Node* roots[] = {y.get()};
  wait(schedule(roots, false));
  CHECK(y->state() == State::ready);
}

std::int64_t resident() { return static_cast<std::int64_t>(device().memory.stats().resident); }

// Buffers enter the set with the next command buffer, all at once, and leave it when they are
// freed; one that is freed while it is in the set ends this program.
void test_enter_and_leave() {
  device().memory.trim();
  submit();
  device().memory.trim();
  CHECK(resident() == 0 && emulator::residency().bytes == 0);
  std::uint64_t commits = emulator::counters().residency_commits;
  {
    std::vector<Ref<Buffer>> buffers;
    for (std::size_t i = 0; i < 40; ++i) buffers.push_back(take((i % 2 ? 100000 : 300) + 64 * i));
    CHECK(resident() >= 20 * 100000);
    CHECK(emulator::residency().bytes == 0);
    submit();
    CHECK(emulator::residency().bytes == resident());
    CHECK(emulator::residency().requested == 1);
    CHECK(emulator::counters().residency_commits - commits == 1);
    // Nothing new, nothing to commit.
    for (int i = 0; i < 3; ++i) submit(streams()[static_cast<std::size_t>(i)]);
    CHECK(emulator::counters().residency_commits - commits == 1);
    device().memory.trim();
    CHECK(resident() >= 20 * 100000);
  }
  CHECK(resident() >= 20 * 100000);  // cached
  commits = emulator::counters().residency_commits;
  device().memory.trim();
  CHECK(resident() == 0);
  CHECK(emulator::residency().allocations == 0 && emulator::residency().bytes == 0);
  CHECK(emulator::counters().residency_commits - commits == 1);
  CHECK(emulator::live_objects("EmulatedBuffer") == 0);
}

// No more is kept than the system recommends, though the limit may be set higher.
void test_bound() {
  const std::size_t limit = device().memory.stats().limit;
  CHECK(limit == working_set);
  device().memory.set_limit(4 * working_set);
  {
    std::vector<Ref<Buffer>> buffers;
    for (int i = 0; i < 12; ++i) buffers.push_back(take(std::size_t{2} << 20));
    submit();
    CHECK(resident() <= static_cast<std::int64_t>(working_set));
    CHECK(resident() > static_cast<std::int64_t>(working_set / 2));
    CHECK(emulator::residency().bytes == resident());
  }
  device().memory.set_limit(limit);
  device().memory.trim();
  CHECK(resident() == 0 && emulator::residency().bytes == 0);
}

// The cache is freed, and what is in use is no longer asked for, until there is work.
void test_pressure() {
  const Ref<Buffer> kept = take(200000);
  submit();
  take(100000) = nullptr;
  CHECK(device().memory.stats().cached > 0 && emulator::residency().requested == 1);
  emulator::raise_memory_pressure(emulator::MemoryPressure::normal);
  CHECK(device().memory.stats().cached > 0 && emulator::residency().requested == 1);
  for (auto level : {emulator::MemoryPressure::warn, emulator::MemoryPressure::critical}) {
    emulator::raise_memory_pressure(level);
    CHECK(device().memory.stats().cached == 0);
    CHECK(emulator::residency().requested == 0);
    device().memory.trim();
    CHECK(emulator::residency().requested == 0);
    submit();
    CHECK(device().memory.stats().cached > 0 && emulator::residency().requested == 1);
    CHECK(emulator::residency().bytes == resident() && resident() >= 200000);
  }
}

// Threads that allocate, free, trim and submit, while memory is short.
void test_threads() {
  const Conservation conservation;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([t] {
      std::vector<Ref<Buffer>> buffers(8);
      for (std::size_t i = 0; i < 60; ++i) {
        buffers[i % 8] = Buffer::allocate(device().memory, (i * 37 + t * 11) % 70 * 1500);
        if (i % 7 == t) submit(streams()[t]);
        if (i % 11 == t) device().memory.trim();
        if (i % 13 == t) emulator::raise_memory_pressure(emulator::MemoryPressure::warn);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  submit();
  CHECK(emulator::residency().bytes == resident());
  conservation.check();
  CHECK(resident() == 0 && emulator::residency().allocations == 0);
}

}  // namespace

int main() {
  emulator::set_working_set(working_set);
  Device::add(&host());
  Device::add(&device());
  CHECK(device().memory.residency_description() != nullptr);
  CHECK(host().memory.residency_description() == nullptr && host().memory.stats().resident == 0);
  test_threads();
  test_enter_and_leave();
  test_bound();
  test_pressure();
}
