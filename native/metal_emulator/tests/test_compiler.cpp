// The kernel compiler: what it takes, what it refuses, and how kernels run.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

#include "../compile_server.h"
#include "../fiber.h"
#include "kernels.h"

namespace metal_emulator {
namespace {

void test_simple() {
  const auto library = compile(R"(
struct Sizes { uint count; float factor; };
constant float table[2] = {1.0, 0.5};
template <typename U> inline U twice(U x) { return x + x; }
inline void store(device float* out, float value, thread float& copy) { *out = value; copy = value; }

kernel void add(device const float* a [[buffer(0)]], device const float* b [[buffer(2)]],
                device float* out [[buffer(1)]], constant Sizes& sizes [[buffer(30)]],
                uint i [[thread_position_in_grid]]) {
  if (i >= sizes.count) return;
  float copy;
  store(out + i, a[i] + twice(b[i]) * sizes.factor * table[1], copy);
}
[[kernel]] void other() {}
)");
  CHECK((library->function_names() == std::vector<std::string>{"add", "other"}));
  CHECK(library->find("none") == nullptr && library->find("other") != nullptr);
  const Function* const add = library->find("add");
  CHECK((add->name() == "add" && add->buffers() == std::vector<int>{0, 2, 1, 30}));
  CHECK(add->threadgroup_arguments().empty() && add->static_threadgroup_bytes() == 0);
  CHECK(add->max_threads() == 1024);
  std::vector<float> a(1000, 1), b(1000, 3), out(1000, -1);
  struct {
    std::uint32_t count = 999;
    float factor = 2;
  } sizes;
  Dispatch dispatch;
  dispatch.function = add;
  dispatch.buffers[0] = a.data();
  dispatch.buffers[2] = b.data();
  dispatch.buffers[1] = out.data();
  dispatch.buffers[30] = &sizes;
  dispatch.threadgroups.x = 4;
  dispatch.threads_per_threadgroup.x = 256;
  run(dispatch);
  for (int i = 0; i < 999; ++i) CHECK(out[i] == 7);
  CHECK(out[999] == -1);
}

// Every position and size, for a kernel that runs as a loop and for one with a barrier.
void test_positions() {
  for (const char* wait : {"", "threadgroup_barrier(mem_flags::mem_none);"}) {
    const auto library = compile(std::string(R"(
kernel void f(device uint* out [[buffer(0)]], uint3 grid [[thread_position_in_grid]],
              ushort3 local [[thread_position_in_threadgroup]],
              uint2 group [[threadgroup_position_in_grid]],
              uint3 threads [[threads_per_threadgroup]], uint3 groups [[threadgroups_per_grid]],
              uint3 all [[threads_per_grid]], ushort index [[thread_index_in_threadgroup]],
              uint lane [[thread_index_in_simdgroup]],
              uint simdgroup [[simdgroup_index_in_threadgroup]],
              uint simdgroups [[simdgroups_per_threadgroup]],
              uint width [[threads_per_simdgroup]]) {
)") + wait + R"(
  device uint* mine = out + 10 * (grid.x + all.x * (grid.y + all.y * grid.z));
  mine[0] = local.x + 100 * local.y + 10000 * local.z;
  mine[1] = group.x + 100 * group.y;
  mine[2] = threads.x + 100 * threads.y + 10000 * threads.z;
  mine[3] = groups.x + 100 * groups.y + 10000 * groups.z;
  mine[4] = index;
  mine[5] = lane;
  mine[6] = simdgroup;
  mine[7] = simdgroups;
  mine[8] = width;
  mine[9] = all.x + 100 * all.y + 10000 * all.z;
}
)");
    Dispatch dispatch;
    dispatch.function = library->find("f");
    dispatch.threadgroups = {2, 3, 2};
    dispatch.threads_per_threadgroup = {5, 4, 3};
    std::vector<std::uint32_t> out(10 * 10 * 12 * 6, 77);
    dispatch.buffers[0] = out.data();
    run(dispatch);
    for (std::uint32_t z = 0, i = 0; z < 6; ++z) {
      for (std::uint32_t y = 0; y < 12; ++y) {
        for (std::uint32_t x = 0; x < 10; ++x, i += 10) {
          const std::uint32_t index = x % 5 + 5 * (y % 4 + 4 * (z % 3));
          const std::uint32_t expected[] = {x % 5 + 100 * (y % 4) + 10000 * (z % 3),
                                            x / 5 + 100 * (y / 4),
                                            30405,
                                            20302,
                                            index,
                                            index % 32,
                                            index / 32,
                                            2,
                                            32,
                                            61210};
          for (int k = 0; k < 10; ++k) CHECK(out[i + k] == expected[k]);
        }
      }
    }
  }
}

void test_threadgroup_memory() {
  const auto library = compile(R"(
#define WIDTH 4
#define WITH_MORE 1
inline float total(threadgroup const float* values, uint count) {
  float sum = 0;
  for (uint k = 0; k < count; ++k) sum += values[k];
  return sum;
}
kernel void f(device const float* in [[buffer(0)]],
#if WITH_MORE
              constant float& more [[buffer(2)]],
#endif
              device float* out [[buffer(1)]],
#ifdef NOT_DEFINED
              device float* nothing [[buffer(3)]],
#endif
              threadgroup float* extra [[threadgroup(1)]], uint i [[thread_position_in_grid]],
              uint t [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
              uint g [[simdgroup_index_in_threadgroup]],
              uint group [[threadgroup_position_in_grid]]) {
  constexpr uint rows = 3;
  threadgroup float partial[32], other[rows][2 * WIDTH];
#if WITH_MORE
  threadgroup uint count;
#else
  threadgroup uint big[1000];
#endif
  threadgroup atomic_uint arrived;
  threadgroup float4* view = (threadgroup float4*)partial;
  extra[t] = in[i];
  if (t == 0) atomic_store_explicit(&arrived, 0, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&arrived, 1, memory_order_relaxed);
  const float s = simd_sum(extra[t ^ 1]);
  if (lane == 0) partial[g] = s;
  if (t == 0) {
    count = 8;
    other[rows - 1][7] = more;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  if (t == 0) {
    const float first = total(partial, count);
    out[group] = first + other[2][7] + atomic_load_explicit(&arrived, memory_order_relaxed) +
                 (view[1].w - partial[7]);
  }
}
)");
  const Function* const f = library->find("f");
  CHECK(f->static_threadgroup_bytes() == 128 + 96 + 16 + 4);
  CHECK((f->buffers() == std::vector<int>{0, 2, 1}));
  CHECK((f->threadgroup_arguments() == std::vector<int>{1}));
  constexpr int groups = 500;
  std::vector<float> in(groups * 256), out(groups);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = float(i % 1000);
  float more = 0.5f;
  Dispatch dispatch;
  dispatch.function = f;
  dispatch.buffers[0] = in.data();
  dispatch.buffers[1] = out.data();
  dispatch.buffers[2] = &more;
  dispatch.threadgroup_bytes[1] = 1024;
  dispatch.threadgroups.x = groups;
  dispatch.threads_per_threadgroup.x = 256;
  run(dispatch);
  for (int g = 0; g < groups; ++g) {
    CHECK(out[g] == std::accumulate(in.begin() + g * 256, in.begin() + g * 256 + 256, 256.5f));
  }
}

// Reading threadgroup memory that nobody wrote shows.
void test_poison() {
  std::vector<float> out(2);
  launch(R"(
kernel void f(device float* out [[buffer(0)]], uint group [[threadgroup_position_in_grid]]) {
  threadgroup float never[4];
  out[group] = never[3];
}
)",
         2, 1, {out.data()});
  CHECK(std::isnan(out[0]) && out[1] > 1e36f);
}

void test_refusals() {
  const auto says = [](const char* text, const char* message) {
    CHECK(contains(error_of(text), message));
  };
  says("kernel void f(device float* x [[buffer(0)]]) {\n  double y = 1;\n}",
       "program_source:2: error: 'double'");
  says("#define T double\n", "'double'");
  says("inline float g(float x) { return std::sqrt(x); }", "namespace 'std'");
  says("inline long g(long long x) { return x; }", "'long long'");
  says("inline int g(int n) { return n == 0 ? 1 : n * g(n - 1); }", "recursion");
  says(
      "inline int h(int n);\ninline int g(int n) { return h(n); }\n"
      "inline int h(int n) { return g(n); }",
      "recursion");
  says("inline void g(float* x) { *x = 1; }", "address space");
  says("inline void g(device float& x) {\n  float& y = x;\n}",
       "program_source:2: error: a pointer");
  says("kernel void f(device float* x) {}", "needs an attribute");
  says("kernel void f(uint x [[thread_index]]) {}", "'thread_index'");
  says("kernel void f() { if (true) { threadgroup int x; } }", "outermost scope");
  says("inline void g() { threadgroup int x[3]; }", "outermost scope");
  says("kernel void f() { threadgroup int x = 3; }", "initialised");
  says("template <class T> kernel void f(device T* x [[buffer(0)]]) {}", "template");
  says("inline float g() {\n  return undeclared;\n}", "program_source:2:10: error:");
  says("inline float g() {\n  return 1;\n", "never closed");
  // Pointers stay in their address space.
  says(
      "inline void g(threadgroup float* x) { *x = 1; }\n"
      "kernel void f(device float* x [[buffer(0)]]) { g(x); }",
      "no matching function");
  // A constant is not written to.
  says("kernel void f(constant float* x [[buffer(0)]]) { x[0] = 1; }", "read-only");
  says("kernel void f(device long* x [[buffer(0)]]) { x[0] = simd_sum(x[0]); }", "64-bit");
  says("kernel void f(device bool* x [[buffer(0)]]) { x[0] = simd_shuffle(x[0], 1); }", "bool");
  says(
      "kernel void f(device atomic<ulong>* x [[buffer(0)]]) {\n"
      "  atomic_fetch_add_explicit(x, 1, memory_order_relaxed);\n}",
      "32 bits");
  compile(
      "#define CONVERT(value) float(value)\n"
      "inline float value(int x) { return CONVERT(x) + metal::float2(1.0f, 2.0f).x; }\n"
      "inline float other(int x) { return value(x) + metal::vec<float, 2>(1.0f).y; }");
  // The words may stand in comments, and overloads may call one another.
  compile(
      "// double std::\n/* throw */ inline int g(float x) { return int(x); }\n"
      "inline int g(int x) { return g(float(x)); }\n");
}

void test_cache() {
  const std::string text = "kernel void f(device int* x [[buffer(0)]]) { x[0] = 5; }";
  std::string error;
  const auto first = Library::compile(with_head(text), error);
  std::vector<std::thread> threads;
  std::atomic<int> same{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      std::string own;
      same += Library::compile(with_head(text), own) == first;
      // Several at a time, of which two are one text.
      const auto other = compile(
          "kernel void g(device int* x [[buffer(0)]]) { x[0] = " + std::to_string(i / 2) + "; }");
      same += other->find("g") != nullptr;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(same == 8);
}

// Without a server at hand the compiler is run as a program: here nothing can be preloaded.
void test_no_server() {
  CompileServers servers("/bin/true", "/nonexistent/server.so");
  CHECK(!servers.run({"/bin/true"}, "/dev/null").has_value());
  CompileServers none("/nonexistent/compiler", "/nonexistent/server.so");
  CHECK(!none.run({"/nonexistent/compiler"}, "/dev/null").has_value());
}

// A kernel that comes to run much is compiled again, and computes the same bits.
void test_tiers() {
  const auto library = compile(R"(
kernel void f(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
              uint i [[thread_position_in_grid]]) {
  const float x = in[i % 1024], y = in[(i + 512) % 1024];
  out[i] = exp(x) * y + sin(x) / max(x, y) - min(-0.0f * x, 0.0f) + float(half(x) * half(y)) * 1e-3;
}
)");
  std::vector<float> in(1024), first(1024), out(1 << 20);
  for (int i = 0; i < 1024; ++i) in[i] = float(i - 500) / 40;
  Dispatch dispatch;
  dispatch.function = library->find("f");
  dispatch.buffers[0] = in.data();
  dispatch.buffers[1] = first.data();
  dispatch.threads_per_threadgroup.x = 256;
  dispatch.threadgroups.x = 4;
  run(dispatch);
  dispatch.buffers[1] = out.data();
  dispatch.threadgroups.x = 4096;
  run(dispatch);
  for (std::size_t i = 0; i < out.size(); ++i) {
    CHECK(std::memcmp(&out[i], &first[i % 1024], sizeof(float)) == 0);
  }
}

// Many host threads run grids at a time, and a large one is spread over helpers.
void test_concurrent_runs() {
  const char* const text = R"(
kernel void f(device uint* out [[buffer(0)]], uint i [[thread_position_in_grid]],
              uint t [[thread_index_in_threadgroup]]) {
  threadgroup uint shared[64];
  shared[t] = i;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = shared[63 - t];
}
)";
  compile(text);
  std::vector<std::thread> threads;
  for (int n = 0; n < 3; ++n) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        std::vector<std::uint32_t> out(64 * 400);
        launch(text, 400, 64, {out.data()});
        for (std::uint32_t i = 0; i < out.size(); ++i) CHECK(out[i] == i / 64 * 64 + 63 - i % 64);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A child of fork() has none of the helpers.
void test_fork() {
#if !METAL_EMULATOR_TSAN
  const pid_t child = fork();
  if (child == 0) {
    test_concurrent_runs();
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
#endif
}

}  // namespace
}  // namespace metal_emulator

int main() {
  using namespace metal_emulator;
  setenv("NITINOL_EMULATOR_CHECK", "1", 1);
  test_simple();
  test_positions();
  test_threadgroup_memory();
  test_poison();
  test_refusals();
  test_cache();
  test_no_server();
  test_tiers();
  test_concurrent_runs();
  test_fork();
}
