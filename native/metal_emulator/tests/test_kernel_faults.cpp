// Wrong kernels end the process and say why; sanitizers find races and overflows in them.
#include <unistd.h>

#include <cstring>

#include "../fiber.h"
#include "kernels.h"

namespace metal_emulator {
namespace {

// Each ends the process, and says why. They run in a process of their own.
struct Planted {
  const char* name;
  const char* text;
  std::uint32_t threads;
  const char* message;
};
constexpr Planted planted[] = {
    {"barrier",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  if (i < 40)\n    threadgroup_barrier(mem_flags::mem_none);\n  x[i] = i;\n}",
     64,
     "kernel 'f': its threads diverge: thread 0 waits at the threadgroup_barrier of line 3, thread "
     "40 has ended"},
    {"two barriers",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  if (i < 32)\n    threadgroup_barrier(mem_flags::mem_none);\n"
     "  else\n    threadgroup_barrier(mem_flags::mem_none);\n}",
     64,
     "thread 0 waits at the threadgroup_barrier of line 3, thread 32 waits at the "
     "threadgroup_barrier of line 5"},
    {"simdgroup",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  if (i < 8)\n    x[i] = simd_sum(i);\n  else\n    x[i] = simd_max(i);\n}",
     32,
     "thread 0 waits in the simdgroup function of line 3, thread 8 waits in the simdgroup "
     "function of line 5"},
    {"matrix",
     "kernel void f(device float* x [[buffer(0)]]) {\n"
     "  simdgroup_float8x8 m;\n  simdgroup_load(m, x);\n}",
     16, "less than 32 threads"},
    {"limit",
     "[[max_total_threads_per_threadgroup(64)]] kernel void f(device uint* x [[buffer(0)]]) {}", 65,
     "max_total_threads_per_threadgroup(64)"},
    {"memory",
     "kernel void f(device uint* x [[buffer(0)]]) { threadgroup uint y[9000]; y[0] = 1; }", 1,
     "36000 bytes of threadgroup memory"},
    {"unbound", "kernel void f(device uint* x [[buffer(1)]]) {}", 1,
     "no buffer is bound at index 1"},
#if METAL_EMULATOR_TSAN
    {"race without a barrier",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  threadgroup uint shared[64];\n  shared[i] = i;\n  x[i] = shared[63 - i];\n}",
     64, "data race"},
    {"race on one side of a barrier",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  threadgroup uint shared[64];\n  shared[i] = i;\n"
     "  threadgroup_barrier(mem_flags::mem_threadgroup);\n"
     "  const uint other = shared[63 - i];\n  shared[i] = other;\n  x[i] = other;\n}",
     64, "data race"},
    {"race at a barrier that orders no memory",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  threadgroup uint shared[64];\n  shared[i] = i;\n"
     "  threadgroup_barrier(mem_flags::mem_none);\n  x[i] = shared[63 - i];\n}",
     64, "data race"},
    {"race between simdgroups",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  threadgroup uint shared[64];\n  shared[i] = i;\n"
     "  simdgroup_barrier(mem_flags::mem_threadgroup);\n  x[i] = shared[63 - i];\n}",
     64, "data race"},
    {"race of device writes",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  x[i / 2] = i;\n}",
     64, "data race"},
#endif
#if METAL_EMULATOR_ASAN
    {"overflow",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  x[i + 1] = i;\n}",
     64, "heap-buffer-overflow"},
    {"overflow in a fiber",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  x[i + 1] = simd_sum(i);\n}",
     64, "heap-buffer-overflow"},
    {"overflow of threadgroup memory",
     "kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
     "  threadgroup uint y[64];\n  y[i + 1] = i;\n  x[i] = y[i];\n}",
     64, "use-after-poison"},
#endif
};

int run_planted(const char* name) {
  for (const Planted& p : planted) {
    if (std::strcmp(p.name, name) != 0) continue;
    auto* const buffer = new std::uint32_t[p.threads]();
    launch(p.text, 1, p.threads, {buffer});
    delete[] buffer;
    return 0;
  }
  return 2;
}

void test_planted() {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(length > 0);
  self[length] = 0;
  for (const Planted& p : planted) {
    const std::string command = std::string(self) + " '" + p.name + "' 2>&1";
    FILE* const pipe = popen(command.c_str(), "r");
    CHECK(pipe != nullptr);
    std::string output;
    char part[512];
    while (std::fgets(part, sizeof part, pipe) != nullptr) output += part;
    const int status = pclose(pipe);
    CHECK(contains(output, p.message));
    CHECK(status != 0);
  }
}

// What races above does not with the right barriers.
void test_no_false_race() {
  std::vector<std::uint32_t> out(128);
  for (int repeat = 0; repeat < 2; ++repeat) {
    launch(R"(
kernel void f(device uint* x [[buffer(0)]], uint i [[thread_position_in_grid]],
              uint t [[thread_index_in_threadgroup]]) {
  threadgroup uint shared[64];
  shared[t] = t;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint other = shared[63 - t];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  shared[t] = other;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  other = shared[t ^ 1] + simd_shuffle_xor(other, 2) - simd_shuffle(other, ushort(t % 32 ^ 2));
  x[i] = other;
}
)",
           2, 64, {out.data()});
    for (std::uint32_t i = 0; i < 128; ++i) CHECK(out[i] == 63 - (i % 64 ^ 1));
  }
}

}  // namespace
}  // namespace metal_emulator

int main(int argc, char** argv) {
  using namespace metal_emulator;
  if (argc > 1) return run_planted(argv[1]);
  test_planted();
  test_no_false_race();
}
