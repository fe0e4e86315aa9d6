// The kernel compiler: text in, results of kernels out.
#include <chrono>
#include <string>
#include <vector>

#include "../../tests/check.h"
#include "../compiler.h"

using namespace metal_emulator;

namespace {
std::shared_ptr<const Library> compile(const std::string& text) {
  std::string error;
  auto library =
      Library::compile("#include <metal_stdlib>\nusing namespace metal;\n" + text, error);
  if (library == nullptr) std::fprintf(stderr, "%s\n", error.c_str());
  CHECK(library != nullptr);
  return library;
}

void test_add() {
  const auto library = compile(R"(
kernel void add(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                device float* out [[buffer(2)]], constant uint& n [[buffer(3)]],
                uint i [[thread_position_in_grid]]) {
  if (i >= n) return;
  out[i] = a[i] + b[i] * 2.0;
}
)");
  std::vector<float> a(1000, 1.0f), b(1000, 3.0f), out(1000, -1.0f);
  unsigned n = 999;
  Dispatch d;
  d.function = library->find("add");
  CHECK(d.function != nullptr);
  d.buffers[0] = a.data();
  d.buffers[1] = b.data();
  d.buffers[2] = out.data();
  d.buffers[3] = &n;
  d.threadgroups.x = 4;
  d.threads_per_threadgroup.x = 256;
  run(d);
  for (int i = 0; i < 999; ++i) CHECK(out[i] == 7.0f);
  CHECK(out[999] == -1.0f);
}

void test_reduce() {
  const auto library = compile(R"(
kernel void sum(device const float* a [[buffer(0)]], device float* out [[buffer(1)]],
                threadgroup float* extra [[threadgroup(0)]],
                uint i [[thread_position_in_grid]], uint t [[thread_index_in_threadgroup]],
                uint lane [[thread_index_in_simdgroup]], uint g [[simdgroup_index_in_threadgroup]],
                uint group [[threadgroup_position_in_grid]]) {
  threadgroup float partial[32], other[3][4];
  threadgroup uint count;
  extra[t] = a[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float s = simd_sum(extra[t ^ 1]);
  if (lane == 0) partial[g] = s;
  if (t == 0) { count = 8; other[2][3] = 0.5; }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (t == 0) {
    float total = other[2][3];
    for (uint k = 0; k < count; ++k) total += partial[k];
    out[group] = total;
  }
}
)");
  std::vector<float> a(1024), out(4);
  for (int i = 0; i < 1024; ++i) a[i] = i;
  Dispatch d;
  d.function = library->find("sum");
  CHECK(d.function->static_threadgroup_bytes() == 128 + 48 + 4);
  d.buffers[0] = a.data();
  d.buffers[1] = out.data();
  d.threadgroup_bytes[0] = 1024;
  d.threadgroups.x = 4;
  d.threads_per_threadgroup.x = 256;
  run(d);
  for (int g = 0; g < 4; ++g) CHECK(out[g] == 256.0f * (256 * g) + 255 * 128 + 0.5f);
}
}  // namespace

int main() {
  test_add();
  test_reduce();
  for (int i = 0; i < 3; ++i) {
    auto t = std::chrono::steady_clock::now();
    compile(
        "kernel void f(device float* a [[buffer(0)]], uint i [[thread_position_in_grid]]) { a[i] = "
        "exp(a[i]) * " +
        std::to_string(i + getenv("R")[0] * 10) + "; }");
    std::printf("%g ms\n",
                std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count() * 1e3);
  }
}
