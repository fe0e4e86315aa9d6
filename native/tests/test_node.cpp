// Tests of nodes: references, views, recycled memory, and destruction without recursion.
#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "nitinol/arena.h"
#include "nitinol/graph.h"
#include "nitinol/node.h"
#include "null_device.h"

using namespace nitinol;
using namespace nitinol::testing;

namespace {

const std::int64_t shape[] = {2, 3};

Ref<Node> leaf(NullDevice& device) {
  return Node::make_data(DType::int64, Layout(shape), device.default_stream(),
                         Buffer::allocate(device.memory, 48));
}
Ref<Node> make(Op op, const std::vector<Node*>& inputs) {
  return Node::make(op, DType::int64, Layout(shape), inputs.at(0)->stream(), inputs);
}

void test_made() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device);
    CHECK(x->state() == State::ready && x->op() == Op::data && x->inputs().empty());
    CHECK(x->bytes() == 48 && x->data() == x->buffer()->data());
    Ref<Node> few = make(Op::add, {x.get(), x.get()});
    Ref<Node> many = make(Op::concatenate, std::vector<Node*>(1000, x.get()));
    CHECK(few->state() == State::lazy && few->inputs().size() == 2);
    CHECK(many->inputs().size() == 1000 && many->inputs()[999] == x.get());
    CHECK(x->references() == 1003);
    CHECK(Node::alive() == alive + 3);
    many = nullptr;
    CHECK(x->references() == 3);
  }
  CHECK(Node::alive() == alive);
  CHECK(device.memory.stats().in_use == 0);
}

void test_views() {
  NullDevice& device = NullDevice::make();
  Ref<Node> x = leaf(device);
  const std::int64_t turned[] = {3, 2};
  const std::int64_t strides[] = {1, 3};
  Ref<Node> view = Node::make_view(x.get(), Layout(turned, strides, 1));
  Ref<Node> again = Node::make_view(view.get(), Layout(turned, strides, 2));
  CHECK(again->storage() == x.get() && again->inputs()[0] == x.get());
  CHECK(again->state() == State::ready && again->buffer() == x->buffer());
  CHECK(again->data() == x->buffer()->data() + 16 && again->dtype() == DType::int64);
  CHECK(x->references() == 3);
  Ref<Node> y = make(Op::add, {x.get(), x.get()});
  Ref<Node> lazy = Node::make_view(y.get(), Layout(turned, strides, 0));
  CHECK(lazy->state() == State::lazy && lazy->storage() == y.get());
}

// Chains, fans and ladders as deep as a stack never is.
void test_destroyed_without_recursion() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> y = leaf(device);
    for (int i = 0; i < 1000000; ++i) y = make(Op::negative, {y.get()});
  }
  CHECK(Node::alive() == alive);
  {
    Ref<Node> a = leaf(device), b = leaf(device);
    for (int i = 0; i < 100000; ++i) {
      Ref<Node> c = make(Op::where, {a.get(), b.get(), a.get()});
      a = Node::make_view(b.get(), Layout(shape));
      b = std::move(c);
    }
  }
  CHECK(Node::alive() == alive);
}

// Made by one thread, dropped by another: memory moves back, and every count is exact.
void test_threads() {
  NullDevice& device = NullDevice::make();
  const std::int64_t alive = Node::alive();
  {
    Ref<Node> x = leaf(device);
    std::mutex mutex;
    std::vector<Ref<Node>> pool;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < 3000; ++i) {
          Ref<Node> mine = make(Op::add, {x.get(), x.get()});
          for (int k = 0; k < 3; ++k) mine = make(Op::negative, {mine.get()});
          std::lock_guard lock(mutex);
          if (pool.size() < 200 || random() % 2) {
            pool.push_back(std::move(mine));
          } else {
            mine = std::exchange(pool[random() % pool.size()], nullptr);
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    pool.clear();
    CHECK(x->references() == 1);
  }
  CHECK(Node::alive() == alive);
}

void test_elementwise() {
  NullDevice& device = NullDevice::make();
  const std::int64_t column[] = {2, 1};
  const std::int64_t row[] = {3};
  const std::int64_t other[] = {4};
  Stream* stream = device.default_stream();
  const auto lazy = [&](DType dtype, std::span<const std::int64_t> of) {
    return Node::make(Op::arange, dtype, Layout(of), stream, {});
  };
  Ref<Node> a = lazy(DType::int64, column), b = lazy(DType::int32, row);
  Node* inputs[] = {a.get(), b.get()};
  Ref<Node> sum = make_elementwise(Op::add, DType::int64, DType::int64, inputs, stream);
  CHECK(sum && sum->layout().ndim() == 2 && sum->layout().shape(0) == 2);
  CHECK(sum->layout().shape(1) == 3 && sum->inputs()[0] == a.get());
  CHECK(sum->inputs()[1]->op() == Op::cast && sum->inputs()[1]->dtype() == DType::int64);
  CHECK(sum->inputs()[1]->inputs()[0] == b.get());
  // The condition of `where` keeps its dtype.
  Ref<Node> c = lazy(DType::bool_, row);
  Node* three[] = {c.get(), a.get(), b.get()};
  Ref<Node> chosen = make_elementwise(Op::where, DType::int64, DType::int64, three, stream);
  CHECK(chosen->inputs()[0] == c.get() && chosen->inputs()[1] == a.get());
  // What can't be broadcast is no node.
  Ref<Node> d = lazy(DType::int64, other);
  Node* wrong[] = {d.get(), b.get()};
  CHECK(!make_elementwise(Op::add, DType::int64, DType::int64, wrong, stream));
  // Two small arrays may broadcast to one that can't be described.
  const std::int64_t tall[] = {std::int64_t{1} << 31, 1};
  const std::int64_t wide[] = {std::int64_t{1} << 31};
  Ref<Node> e = lazy(DType::int64, tall), f = lazy(DType::int64, wide);
  Node* huge[] = {e.get(), f.get()};
  bool thrown = false;
  try {
    make_elementwise(Op::add, DType::int64, DType::int64, huge, stream);
  } catch (const std::invalid_argument&) {
    thrown = true;
  }
  CHECK(thrown);
}

void test_arena(unsigned seed) {
  announce("test_arena", seed);
  std::mt19937 random(seed);
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<std::span<std::uint64_t>, std::uint64_t>> words;
    std::vector<std::pair<std::span<char>, char>> bytes;
    for (int i = 0; i < 3000; ++i) {
      const std::size_t n = random() % (random() % 50 ? 40 : 5000);
      if (random() % 2) {
        words.emplace_back(arena.array<std::uint64_t>(n), random());
        const std::span<std::uint64_t> made = words.back().first;
        CHECK(reinterpret_cast<std::uintptr_t>(made.data()) % alignof(std::uint64_t) == 0);
        for (std::uint64_t& word : made) {
          CHECK(word == 0);
          word = words.back().second;
        }
      } else {
        bytes.emplace_back(arena.array<char>(n), static_cast<char>(random()));
        for (char& byte : bytes.back().first) byte = bytes.back().second;
      }
    }
    for (auto& [made, value] : words) {
      for (std::uint64_t word : made) CHECK(word == value);
    }
    for (auto& [made, value] : bytes) {
      for (char byte : made) CHECK(byte == value);
    }
    arena.clear();
  }
}

}  // namespace

int main() {
  test_made();
  test_views();
  test_destroyed_without_recursion();
  test_threads();
  test_elementwise();
  test_arena(3);
  test_arena(std::random_device{}());
}
