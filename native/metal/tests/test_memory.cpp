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

// The elements 0, 1, ... in the host's memory; with a stride of 2 they are not dense.
Ref<Node> on_host(std::int64_t size, std::int64_t stride) {
  const std::int64_t shape[] = {size}, strides[] = {stride};
  Ref<Buffer> buffer = Buffer::allocate(host().memory, static_cast<std::size_t>(size * stride) * 8);
  CHECK(buffer);
  for (std::int64_t i = 0; i < size; ++i) {
    reinterpret_cast<std::int64_t*>(buffer->data())[i * stride] = i;
  }
  return Node::make_data(DType::int64, Layout(shape, strides, 0), host().default_stream(),
                         std::move(buffer));
}

// What moves to the device is copied once, by the host, when it is dense; the copy is its own.
void test_import() {
  const Conservation conservation;
  for (const std::int64_t stride : {1, 2}) {
    constexpr std::int64_t size = 50000;
    const std::int64_t shape[] = {size};
    const Ref<Node> x = on_host(size, stride);
    Node* inputs[] = {x.get()};
    Stream* const stream = device().default_stream();
    const Ref<Node> y = Node::make(Op::copy, DType::int64, Layout(shape), stream, inputs);
    Node* both[] = {y.get(), y.get()};
    const Ref<Node> z = Node::make(Op::add, DType::int64, Layout(shape), stream, both);
    device().memory.reset_peak();
    const std::size_t before = device().memory.stats().in_use;
    const std::uint64_t dispatches = emulator::counters().dispatches;
    Node* roots[] = {y.get(), z.get()};
    wait(schedule(roots, false));
    CHECK(emulator::counters().dispatches - dispatches == (stride == 1 ? 1 : 2));
    // y and z, and where y is made by a kernel what the host has copied for it.
    const std::size_t peak = device().memory.stats().peak - before;
    const std::size_t each = Buffer::footprint(size * 8);
    CHECK(peak < (stride == 1 ? 2 : 4) * each + each / 2 && peak >= 2 * each);
    CHECK(y->buffer() != x->buffer() && y->buffer()->is_of(device().memory));
    reinterpret_cast<std::int64_t*>(x->data())[7 * stride] = -1;
    for (std::int64_t i = 0; i < size; ++i) {
      CHECK(reinterpret_cast<std::int64_t*>(y->data())[i] == i);
      CHECK(reinterpret_cast<std::int64_t*>(z->data())[i] == 2 * i);
    }
  }
  conservation.check();
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
  test_import();
  test_enter_and_leave();
  test_bound();
  test_pressure();
}
