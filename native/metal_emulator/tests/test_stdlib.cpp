// The emulator's metal_stdlib: vectors, math, integers, atomics, simdgroups, matrices.
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels.h"

namespace metal_emulator {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

bool close(float a, float b, float tolerance = 1e-6f) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return true;
  const bool good = std::abs(a - b) <= tolerance * std::max(1.0f, std::abs(b));
  if (!good) std::fprintf(stderr, "%g is not %g\n", a, b);
  return good;
}

// Expressions of one type, all in one kernel.
template <class T>
std::vector<T> values(const std::string& type, const std::vector<std::string>& expressions) {
  std::string text = "kernel void f(device " + type +
                     "* out [[buffer(0)]], constant float& one [[buffer(1)]], constant int& minus "
                     "[[buffer(2)]]) {\n";
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    text += "out[" + std::to_string(i) + "] = " + expressions[i] + ";\n";
  }
  std::vector<T> out(expressions.size());
  float one = 1;
  int minus = -1;
  launch(text + "}\n", 1, 1, {out.data(), &one, &minus});
  return out;
}

struct FloatCase {
  const char* expression;
  float expected;
};

void test_math() {
  const FloatCase cases[] = {
      {"exp(one)", std::exp(1.0f)},
      {"precise::exp(one)", std::exp(1.0f)},
      {"fast::exp(one)", std::exp(1.0f)},
      {"exp2(one * 3)", 8},
      {"exp10(one * 2)", 100},
      {"log(one * 2)", std::log(2.0f)},
      {"log2(one * 8)", 3},
      {"log10(one * 1000)", 3},
      {"pow(one * 2, 10.0f)", 1024},
      {"precise::pow(one * 2, 0.5f)", std::sqrt(2.0f)},
      {"sqrt(one * 2)", std::sqrt(2.0f)},
      {"rsqrt(one * 4)", 0.5f},
      {"sin(one)", std::sin(1.0f)},
      {"cos(one)", std::cos(1.0f)},
      {"tan(one)", std::tan(1.0f)},
      {"precise::tan(one)", std::tan(1.0f)},
      {"asin(one / 2)", std::asin(0.5f)},
      {"acos(one / 2)", std::acos(0.5f)},
      {"atan(one)", std::atan(1.0f)},
      {"atan2(one, -one)", std::atan2(1.0f, -1.0f)},
      {"sinh(one)", std::sinh(1.0f)},
      {"cosh(one)", std::cosh(1.0f)},
      {"tanh(one)", std::tanh(1.0f)},
      {"asinh(one)", std::asinh(1.0f)},
      {"acosh(one * 2)", std::acosh(2.0f)},
      {"atanh(one / 2)", std::atanh(0.5f)},
      {"floor(one * -1.5)", -2},
      {"ceil(one * -1.5)", -1},
      {"trunc(one * -1.5)", -1},
      {"rint(one * 2.5)", 2},
      {"rint(one * 3.5)", 4},
      {"round(one * 2.5)", 3},
      {"round(one * -2.5)", -3},
      {"fract(one * -0.25)", 0.75f},
      {"sign(one * -3)", -1},
      {"sign(NAN)", 0},
      {"abs(one * -3)", 3},
      {"fabs(one * -3)", 3},
      {"fma(one * 3, 4.0f, 5.0f)", 17},
      {"fmod(one * -7, 4.0f)", -3},
      {"copysign(one, -0.0f)", -1},
      {"min(one, NAN)", 1},
      {"max(NAN, one)", 1},
      {"fmin(one, 2.0f)", 1},
      {"clamp(one * 9, 2.0f, 3.0f)", 3},
      {"saturate(one * 9)", 1},
      {"mix(one, 3.0f, 0.5f)", 2},
      {"step(one, 0.5f)", 0},
      {"smoothstep(0.0f, 1.0f, one / 2)", 0.5f},
      {"select(one, 2.0f, true)", 2},
      {"ldexp(one, 4)", 16},
      {"float(isnan(one * NAN)) + 2 * isinf(one * INFINITY) + 4 * isfinite(one)", 7},
      {"float(isnan(one)) + 2 * isinf(-one) + 4 * isfinite(-INFINITY) + 8 * signbit(one)", 0},
      {"float(signbit(-0.0f * one))", 1},
      {"float(isinf(half(one * 1e6)))", 1},
      {"as_type<float>(0x40490fdbu)", 3.14159274f},
      {"M_PI_F", 3.14159274f},
      {"numeric_limits<float>::max()", std::numeric_limits<float>::max()},
      {"numeric_limits<float>::lowest()", std::numeric_limits<float>::lowest()},
      {"numeric_limits<half>::max()", 65504},
      {"-INFINITY", -infinity},
      {"1.0 / 3.0 * one", 1.0f / 3.0f},
      {"float(sizeof(1.0))", 4},
      {"float(sizeof(1.0h) + sizeof(half(1) * half(2)))", 4},
      // Halves round after every operation.
      {"float(half(one * 2048) + half(1) + half(1))", 2048},
      {"float(half(one) / half(3))", 0.333251953f},
      {"float(exp(half(one)))", 2.71875f},
      {"float(max(half(one), 2.0h))", 2},
  };
  std::vector<std::string> expressions;
  for (const FloatCase& c : cases) expressions.push_back(c.expression);
  const std::vector<float> out = values<float>("float", expressions);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!close(out[i], cases[i].expected)) {
      std::fprintf(stderr, "%s\n", cases[i].expression);
      CHECK(false);
    }
  }
}

struct LongCase {
  const char* expression;
  std::int64_t expected;
};

void test_integers() {
  const LongCase cases[] = {
      {"popcount(uint(minus))", 32},
      {"popcount(char(minus))", 8},
      {"popcount(ulong(minus))", 64},
      {"clz(uint(minus + 2))", 31},
      {"clz(0u)", 32},
      {"clz(short(minus + 2))", 15},
      {"ctz(uint(minus * -8))", 3},
      {"ctz(0ul)", 64},
      {"mulhi(uint(minus), 2u)", 1},
      {"mulhi(minus, 2)", -1},
      {"long(mulhi(ulong(minus), ulong(4)))", 3},
      {"rotate(uint(minus - 1), 1u)", 0xfffffffd},
      {"abs(minus)", 1},
      {"min(minus, 3)", -1},
      {"max(uint(minus), 3u)", 0xffffffff},
      {"clamp(minus, 2, 5)", 2},
      {"addsat(uchar(250), uchar(10))", 255},
      {"subsat(uchar(3), uchar(10))", 0},
      {"extract_bits(0xf0u, 4u, 3u)", 7},
      {"insert_bits(0u, 7u, 4u, 3u)", 0x70},
      {"reverse_bits(1u)", 0x80000000},
      {"numeric_limits<char>::lowest()", -128},
      {"numeric_limits<long>::max()", std::numeric_limits<std::int64_t>::max()},
      {"long(sizeof(long) * 10 + sizeof(bool))", 81},
      {"select(1, 2, minus < 0)", 2},
      {"long(sizeof(float3)) * 100 + long(sizeof(packed_float3))", 1612},
      // Signed overflow wraps.
      {"int(numeric_limits<int>::max() - minus)", std::numeric_limits<std::int32_t>::min()},
  };
  std::vector<std::string> expressions;
  for (const LongCase& c : cases) expressions.push_back(c.expression);
  const auto out = values<std::int64_t>("long", expressions);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] != cases[i].expected) {
      std::fprintf(stderr, "%s is %lld\n", cases[i].expression, static_cast<long long>(out[i]));
      CHECK(false);
    }
  }
}

void test_vectors() {
  std::vector<float> out(16), in = {1, 2, 3, 4, 5, 6, 7, 8};
  launch(R"(
#define T float2
struct Pair { float2 low; packed_float3 high; };
inline T complex_product(T a, T b) { return T(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
kernel void f(device const float4* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  const float4 a = in[0], b = in[1];
  const T product = complex_product(a.xy, T(b.zw));
  out[0] = product.x;
  out[1] = product.y;
  const float4 c = float4(a.xy, 9.0f, b.x);
  out[2] = c.z + c.w;
  out[3] = dot(a, b);
  const uint3 u = uint3(float3(2.5f, 3.5f, 4.5f));
  out[4] = float(u.x + u.y + u.z);
  out[5] = any(a > 3.5f) ? 1.0f : 0.0f;
  out[6] = all(a > 3.5f) ? 1.0f : 0.0f;
  const float4 s = select(a, b, a > 2.5f);
  out[7] = s.y * 10 + s.z;
  Pair pair;
  pair.high = float3(1.0f, 2.0f, 3.0f);
  const float3 high = pair.high;
  out[8] = high.z + pair.high[1];
  const half4 h = half4(a);
  out[9] = float(h.w) + float(vec<half, 2>(h.x, h.y).y);
  const float4 m = max(min(a, b), 2.0f);
  out[10] = m.x + m.w;
  out[11] = length(float2(3.0f, 4.0f)) + normalize(float3(0.0f, 2.0f, 0.0f)).y;
  const char4 bytes = as_type<char4>(0x01020304);
  out[12] = bytes.x * 1000 + bytes.w;
  const uint2 pair_of = as_type<uint2>(0x100000002ul);
  out[13] = pair_of.x * 10 + pair_of.y;
  float4 e = exp(float4(0.0f));
  e.yz = float2(7.0f, 8.0f);
  out[14] = e.x + e.y + e.z;
  const bool4 flags = isnan(float4(NAN, 1.0f, NAN, 1.0f));
  out[15] = flags.x + 2 * flags.y + 4 * flags.z;
}
)",
         1, 1, {in.data(), out.data()});
  const float expected[] = {
      1 * 7 - 2 * 8, 1 * 8 + 2 * 7, 14, 70, 9, 1, 0, 27, 5, 6, 6, 6, 4001, 21, 16, 5};
  for (int i = 0; i < 16; ++i) {
    if (!close(out[i], expected[i])) {
      std::fprintf(stderr, "at %d\n", i);
      CHECK(false);
    }
  }
}

void test_atomics() {
  std::uint32_t words[9] = {0, 0, 0xffffffff, 0, 0xff, 0, 3, 5, 0};
  float sum = 0;
  std::int32_t least = 100;
  launch(R"(
kernel void f(device atomic_uint* words [[buffer(0)]], device atomic_float* sum [[buffer(1)]],
              device atomic_int* least [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  atomic_fetch_add_explicit(&words[0], 1u, memory_order_relaxed);
  atomic_fetch_max_explicit(&words[1], i, memory_order_relaxed);
  atomic_fetch_min_explicit(&words[2], i + 7, memory_order_relaxed);
  atomic_fetch_or_explicit(&words[3], 1u << (i % 32), memory_order_relaxed);
  atomic_fetch_and_explicit(&words[4], ~(1u << (i % 4)), memory_order_relaxed);
  atomic_fetch_xor_explicit(&words[5], 1u << (i % 32), memory_order_relaxed);
  if (i == 0) atomic_store_explicit(&words[6], 42, memory_order_relaxed);
  if (i == 0) atomic_exchange_explicit(&words[7], atomic_load_explicit(&words[7], memory_order_relaxed) + 1, memory_order_relaxed);
  uint seen = atomic_load_explicit(&words[8], memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&words[8], &seen, seen + 2, memory_order_relaxed, memory_order_relaxed)) {}
  atomic_fetch_add_explicit(sum, 0.5f, memory_order_relaxed);
  atomic_fetch_min_explicit(least, -int(i), memory_order_relaxed);
}
)",
         512, 64, {words, &sum, &least});
  constexpr std::uint32_t n = 512 * 64;
  const std::uint32_t expected[] = {n, n - 1, 7, 0xffffffff, 0xf0, 0, 42, 6, 2 * n};
  for (int i = 0; i < 9; ++i) CHECK(words[i] == expected[i]);
  CHECK(sum == n / 2);
  CHECK(least == 1 - std::int32_t(n));
}

void test_simdgroup() {
  using Words = std::vector<std::uint32_t>;
  const auto each = [](const std::string& expression, auto expected) {
    const Words out = evaluate<std::uint32_t>("uint", expression);
    for (std::uint32_t i = 0; i < 32; ++i) {
      if (out[i] != static_cast<std::uint32_t>(expected(i))) {
        std::fprintf(stderr, "%s: lane %u has %u\n", expression.c_str(), i, out[i]);
        CHECK(false);
      }
    }
  };
  each("simd_sum(i)", [](auto) { return 496; });
  each("simd_max(i * 3)", [](auto) { return 93; });
  each("simd_min(i + 5)", [](auto) { return 5; });
  each("simd_product(i < 3 ? i + 1 : 1)", [](auto) { return 6; });
  each("simd_xor(1u << i)", [](auto) { return 0xffffffff; });
  each("simd_and(i | 64)", [](auto) { return 64; });
  each("simd_prefix_inclusive_sum(i)", [](auto i) { return i * (i + 1) / 2; });
  each("simd_prefix_exclusive_sum(i)", [](auto i) { return i * (i - 1) / 2; });
  each("simd_shuffle(i, ushort((i * 5) % 32))", [](auto i) { return i * 5 % 32; });
  each("simd_shuffle_xor(i, 3)", [](auto i) { return i ^ 3; });
  each("simd_shuffle_down(i, 4)", [](auto i) { return i < 28 ? i + 4 : i; });
  each("simd_shuffle_up(i, 4)", [](auto i) { return i >= 4 ? i - 4 : i; });
  each("simd_broadcast(i, 9)", [](auto) { return 9; });
  each("simd_broadcast_first(i)", [](auto) { return 0; });
  each("simd_any(i == 31)", [](auto) { return 1; });
  each("simd_any(i == 32)", [](auto) { return 0; });
  each("simd_all(i < 31)", [](auto) { return 0; });
  each("uint(ulong(simd_ballot(i % 2 == 1)))", [](auto) { return 0xaaaaaaaa; });
  // Lanes that take no part don't count.
  each("i < 8 ? simd_sum(i) : 7", [](auto i) { return i < 8 ? 28 : 7; });
  each("uint(simd_sum(half(1))) + uint(simd_sum(float2(1.0f, 2.0f)).y)", [](auto) { return 96; });
  // One after another, without a barrier between.
  each("simd_shuffle_xor(simd_shuffle_xor(simd_shuffle_xor(i, 1), 2), 4)",
       [](auto i) { return i ^ 7; });
  // Those that have ended are inactive.
  std::vector<std::uint32_t> out(32, 9);
  launch(
      "kernel void f(device uint* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
      "  if (i >= 20) return;\n  out[i] = simd_sum(1u);\n}\n",
      1, 32, {out.data()});
  for (int i = 0; i < 32; ++i) CHECK(out[i] == (i < 20 ? 20u : 9u));
}

void test_matrices() {
  std::vector<float> a(16 * 8), b(16 * 16), d(8 * 16, -1), expected(8 * 16);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = float(int(i * 7 % 13) - 6);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = float(int(i * 5 % 11) - 5);
  // D (8 by 16) = transposed A (from 16 by 8) times B (16 by 16), plus one.
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < 16; ++column) {
      float sum = 1;
      for (int k = 0; k < 16; ++k) sum += a[k * 8 + row] * b[k * 16 + column];
      expected[row * 16 + column] = sum;
    }
  }
  const char* const text = R"(
kernel void f(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
              device float* d [[buffer(2)]], uint simdgroup [[simdgroup_index_in_threadgroup]],
              uint lane [[thread_index_in_simdgroup]]) {
  threadgroup T tile[8 * 8];
  simdgroup_matrix<T, 8, 8> left, right;
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  for (uint k = 0; k < 16; k += 8) {
    // Through threadgroup memory, in the type of the factors.
    for (uint i = lane; i < 64; i += 32) tile[i] = T(a[k * 8 + i]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_load(left, tile, 8, ulong2(0, 0), true);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = lane; i < 64; i += 32) tile[i] = T(b[(k + i / 8) * 16 + simdgroup_column + i % 8]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_load(right, tile, 8);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  sum.thread_elements()[0] += 0.0f;
  simdgroup_store(sum, d, 16, ulong2(simdgroup_column, 0));
}
)";
  for (const char* type : {"float", "half"}) {
    for (int column = 0; column < 16; column += 8) {
      launch("#define T " + std::string(type) + "\n#define simdgroup_column " +
                 std::to_string(column) + "\n" + text,
             1, 32, {a.data(), b.data(), d.data()});
    }
    CHECK(d == expected);
    std::fill(d.begin(), d.end(), -1.0f);
  }
  std::vector<float> identity(64);
  launch(R"(
kernel void f(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  simdgroup_float8x8 two(2.0f), product;
  simdgroup_multiply(product, two, two);
  simdgroup_store(product, out);
}
)",
         1, 32, {identity.data()});
  for (int i = 0; i < 64; ++i) CHECK(identity[i] == (i % 9 == 0 ? 4.0f : 0.0f));
}

}  // namespace
}  // namespace metal_emulator

int main() {
  using namespace metal_emulator;
  setenv("NITINOL_EMULATOR_CHECK", "1", 1);
  test_math();
  test_integers();
  test_vectors();
  test_atomics();
  test_simdgroup();
  test_matrices();
}
