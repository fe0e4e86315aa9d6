// The bytes that kernels read and write, as they are measured.
#include <algorithm>

#include "kernels.h"
#include "metal_emulator/seams.h"

using namespace metal_emulator;

namespace {

struct Bytes {
  std::uint64_t dispatches, read, written;
  bool operator==(const Bytes&) const = default;
};

Bytes of(const std::string& kernel, int buffer) {
  for (const Traffic& each : traffic()) {
    if (each.kernel == kernel && each.buffer == buffer) {
      return {each.dispatches, each.bytes_read, each.bytes_written};
    }
  }
  return {};
}

struct Memory {
  void* at;
  std::size_t bytes;
};

void run_kernel(const std::string& name, const std::string& text, std::uint32_t groups,
                const std::vector<Memory>& memory) {
  Dispatch dispatch;
  const auto library = compile(text);
  dispatch.function = library->find(name);
  for (std::size_t i = 0; i < memory.size(); ++i) {
    dispatch.buffers[i] = memory[i].at;
    dispatch.buffer_bytes[i] = memory[i].bytes;
  }
  dispatch.threadgroups.x = groups;
  dispatch.threads_per_threadgroup.x = 32;
  run(dispatch);
}

// Every type of load and store, each element touched by many threads, some never.
template <class T>
void test_type(const std::string& type) {
  const std::string name = "copy_" + type;
  std::vector<T> x(1000), y(1000);
  const std::string text = "kernel void " + name + "(device const " + type +
                           "* x [[buffer(0)]], device " + type +
                           "* y [[buffer(1)]], uint i [[thread_position_in_grid]]) {\n"
                           "  y[2 * (i / 4)] = x[i / 2 + 1];\n}\n";
  for (int times = 1; times <= 2; ++times) {
    run_kernel(name, text, 20, {{x.data(), sizeof(T) * 1000}, {y.data(), sizeof(T) * 1000}});
    const auto n = static_cast<std::uint64_t>(times);
    CHECK((of(name, 0) == Bytes{n, n * 320 * sizeof(T), 0}));
    CHECK((of(name, 1) == Bytes{n, 0, n * 160 * sizeof(T)}));
  }
}

struct alignas(16) Four {
  float lanes[4];
};

// A structure of an odd size, threadgroup memory, a barrier, two arrays in one buffer, and a
// constant: what is no buffer's does not count.
void test_kinds() {
  const std::string text = R"(
struct Block { ushort d; ushort m; uchar q[16]; };
kernel void kinds(device const Block* blocks [[buffer(0)]], device float* out [[buffer(1)]],
                  constant uint& n [[buffer(2)]], device float* same [[buffer(3)]],
                  uint i [[thread_position_in_grid]], uint lane [[thread_index_in_threadgroup]]) {
  threadgroup float shared[32];
  const Block block = blocks[i];
  float sum = 0;
  for (uint k = 0; k < n; ++k) sum += float(block.d) * float(block.q[k]) + float(block.m);
  shared[lane] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = simd_sum(shared[31 - lane]);
  if (i < 3) same[i] += 1;
}
)";
  std::vector<char> blocks(20 * 64);
  std::vector<float> out(200);
  unsigned n = 16;
  run_kernel("kinds", text, 2,
             {{blocks.data(), blocks.size()},
              {out.data(), out.size() * sizeof(float)},
              {&n, 0},
              {out.data() + 100, 100 * sizeof(float)}});
  CHECK((of("kinds", 0) == Bytes{1, 64 * 20, 0}));
  CHECK((of("kinds", 1) == Bytes{1, 0, 64 * sizeof(float)}));
  CHECK((of("kinds", 2) == Bytes{}));
  CHECK((of("kinds", 3) == Bytes{1, 12, 12}));
}

}  // namespace

int main() {
  measure_traffic();
  test_type<char>("char");
  test_type<short>("half");
  test_type<float>("float");
  test_type<long>("long");
  test_type<Four>("float4");
  test_kinds();
  measure_traffic();  // again is no misuse
}
