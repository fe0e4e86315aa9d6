// Tests of the allocator: size classes, the limit, the cache, admission, and buffers.
#if defined(__linux__)
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/buffer.h"
#include "nitinol/memory.h"

using namespace nitinol;

namespace {

constexpr std::size_t megabyte = 1 << 20;

void test_classes() {
  Allocator memory(64 * megabyte);
  for (std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65},
        std::size_t{257}, std::size_t{1000}, std::size_t{4097}, 5 * megabyte, 9 * megabyte + 1}) {
    void* block = memory.allocate(bytes);
    CHECK(block && reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, 1, bytes);
    const std::size_t used = memory.stats().in_use;
    CHECK(used >= bytes && used <= bytes + bytes / 4 + 64);
    memory.deallocate(block, bytes);
    CHECK(memory.stats().in_use == 0 && memory.stats().cached >= used);
    void* again = memory.allocate(bytes);
    CHECK(again == block);  // recycled
    memory.deallocate(again, bytes);
  }
  const std::size_t cached = memory.stats().cached;
  CHECK(memory.trim() == cached && memory.stats().cached == 0 && memory.trim() == 0);
}

void test_limit() {
  Allocator memory(megabyte);
  CHECK(memory.allocate(megabyte + 1) == nullptr);
  CHECK(memory.allocate(std::numeric_limits<std::size_t>::max()) == nullptr);
  CHECK(memory.allocate(std::size_t{1} << 62) == nullptr);
  void* half = memory.allocate(megabyte / 2);
  void* other = memory.allocate(megabyte / 2);
  CHECK(half && other && memory.allocate(1) == nullptr);
  CHECK(memory.stats().peak == megabyte && memory.stats().in_use == megabyte);
  memory.deallocate(half, megabyte / 2);
  // The cached block of another size makes room.
  void* small = memory.allocate(1024);
  CHECK(small && memory.stats().cached == 0);
  memory.deallocate(other, megabyte / 2);
  CHECK(memory.stats().peak == megabyte);
  memory.reset_peak();
  CHECK(memory.stats().peak == 1024);
  memory.set_limit(512);
  CHECK(memory.stats().cached == 0 && memory.stats().limit == 512);
  CHECK(memory.allocate(64) == nullptr);
  memory.deallocate(small, 1024);
  CHECK(memory.stats().cached == 0);  // more than the limit is not kept
  void* fits = memory.allocate(512);
  CHECK(fits);
  memory.deallocate(fits, 512);
  memory.trim();
  CHECK(default_memory_limit() > megabyte);
}

#if defined(__linux__)
std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Small blocks that stay don't keep the memory of larger ones, made between them, from the system.
void test_trim_returns_memory() {
  constexpr std::size_t large = 200 << 10;
  constexpr int count = 300;
  Allocator memory(512 * megabyte);
  const std::size_t before = resident_bytes();
  std::vector<void*> kept, given;
  for (int i = 0; i < count; ++i) {
    given.push_back(memory.allocate(large));
    kept.push_back(memory.allocate(1000));
    CHECK(given.back() && kept.back());
    std::memset(given.back(), 1, large);
    std::memset(kept.back(), 1, 1000);
  }
  CHECK(resident_bytes() >= before + count * large);
  for (void* block : given) memory.deallocate(block, large);
  CHECK(memory.trim() >= count * large);
  CHECK(resident_bytes() < before + count * large / 4);
  for (void* block : kept) memory.deallocate(block, 1000);
  memory.trim();
}
#endif

// Everybody's block is everybody's own, and the figures add up.
void test_threads() {
  Allocator memory(4 * megabyte);
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      std::vector<std::pair<unsigned char*, std::size_t>> mine;
      for (int i = 0; i < 2000; ++i) {
        if (mine.size() > 20 || (!mine.empty() && random() % 2)) {
          const std::size_t at = random() % mine.size();
          for (std::size_t k = 0; k < mine[at].second; k += 97) CHECK(mine[at].first[k] == t);
          memory.deallocate(mine[at].first, mine[at].second);
          mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(at));
          continue;
        }
        const std::size_t bytes = 1 + random() % (random() % 8 ? 3000 : 400000);
        if (auto* block = static_cast<unsigned char*>(memory.allocate(bytes))) {
          std::memset(block, static_cast<int>(t), bytes);
          mine.emplace_back(block, bytes);
        } else {
          ++refused;
        }
        const MemoryStats stats = memory.stats();
        CHECK(stats.in_use + stats.cached <= stats.limit);
        if (random() % 100 == 0) memory.trim();
      }
      for (auto& [block, bytes] : mine) memory.deallocate(block, bytes);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(memory.stats().in_use == 0);
  memory.trim();
}

// What was admitted together never had more reserved than the limit.
void test_admission() {
  Allocator memory(1000);
  std::atomic<std::size_t> reserved{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 200; ++i) {
        const std::size_t bytes = random() % 20 == 0 ? 5000 : random() % 700;
        const auto admission = memory.admit(bytes);
        CHECK(admission.bytes == (bytes > 1000 ? 0 : bytes));
        CHECK((reserved += admission.bytes) <= 1000);
        if (random() % 4 == 0) std::this_thread::yield();
        reserved -= admission.bytes;
        memory.leave(admission);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Small work that comes later doesn't keep large work out.
void test_no_starvation() {
  Allocator memory(1000);
  const auto first = memory.admit(200);
  std::atomic<int> entered{0};
  int large_was = 0;
  int small_was = 0;
  std::thread large([&] {
    const auto admission = memory.admit(900);
    large_was = ++entered;
    memory.leave(admission);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::thread small([&] {
    const auto admission = memory.admit(200);
    small_was = ++entered;
    memory.leave(admission);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(entered == 0);
  memory.leave(first);
  large.join();
  small.join();
  CHECK(large_was == 1 && small_was == 2);
}

// What no memory can hold meets the limit later, and nobody waits for work without an end.
void test_no_wait_in_vain() {
  Allocator memory(1000);
  const auto held = memory.admit(900);
  const auto absurd = memory.admit(std::numeric_limits<std::size_t>::max());
  memory.leave(absurd);
  memory.leave(held);
  const auto endless = memory.admit(900, true);
  const auto other = memory.admit(900);
  std::atomic<bool> in{false};
  std::thread third([&] {
    const auto admission = memory.admit(900);
    in = true;
    memory.leave(admission);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(!in);
  memory.leave(other);
  third.join();
  memory.leave(endless);
}

// More room lets in who waits.
void test_raised_limit() {
  Allocator memory(100);
  const auto first = memory.admit(80);
  std::atomic<bool> in{false};
  std::thread waiting([&] {
    const auto admission = memory.admit(80);
    in = true;
    memory.leave(admission);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(!in);
  memory.set_limit(1000);
  waiting.join();
  memory.leave(first);
}

void test_buffers() {
  Allocator memory(megabyte);
  {
    Ref<Buffer> buffer = Buffer::allocate(memory, 1000);
    CHECK(buffer && buffer->bytes() == 1000 && !buffer->borrowed());
    CHECK(reinterpret_cast<std::uintptr_t>(buffer->data()) % 64 == 0);
    std::memset(buffer->data(), 7, 1000);
    const Ref<Buffer> shared = buffer;
    buffer = nullptr;
    CHECK(shared->data()[999] == 7 && memory.stats().in_use > 1000);
    CHECK(!Buffer::allocate(memory, megabyte));
    CHECK(Buffer::allocate(memory, 0));
  }
  CHECK(memory.stats().in_use == 0);
  memory.trim();
  // What is borrowed is given back on the list, once, by the last who refers to it.
  CHECK(!Keep::any_discarded());
  char block[64] = {};
  int owner = 0;
  Ref<Buffer> buffer = Buffer::borrow(block, 64, Ref<Keep>::adopt(new Keep(&owner)));
  CHECK(buffer->borrowed() && buffer->data() == block);
  Ref<Buffer> shared = buffer;
  buffer = nullptr;
  CHECK(!Keep::any_discarded());
  shared = nullptr;
  CHECK(Keep::any_discarded());
  Keep* list = Keep::take_discarded();
  CHECK(list && list->object() == &owner && !list->next());
  Keep::free(list);
}

// Discarded on many threads, taken by one: all of them, once.
void test_keeps() {
  int objects[4] = {};
  std::atomic<int> running{4};
  std::vector<std::thread> threads;
  for (int& object : objects) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const Ref<Keep> keep = Ref<Keep>::adopt(new Keep(&object));
        const Ref<Keep> again = keep;
      }
      --running;
    });
  }
  while (running > 0 || Keep::any_discarded()) {
    for (Keep* list = Keep::take_discarded(); list;) {
      Keep* next = list->next();
      ++*static_cast<int*>(list->object());
      Keep::free(list);
      list = next;
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (int object : objects) CHECK(object == 2000);
}

}  // namespace

int main() {
  test_classes();
  test_limit();
#if defined(__linux__)
  test_trim_returns_memory();
#endif
  test_threads();
  test_admission();
  test_no_starvation();
  test_no_wait_in_vain();
  test_raised_limit();
  test_buffers();
  test_keeps();
}
