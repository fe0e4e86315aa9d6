// Products: matmul, quantised products, attention, rope; and linear algebra. Against the CPU's
// kernels, within the rounding of float32. OpenBLAS as for native/tests/test_linalg.cpp.
#include <limits>

#include "kernel_case.h"
#include "load_blas.h"

using namespace nitinol;
using namespace nitinol::metal;
using namespace nitinol::metal::testing;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

double tolerance_of(DType dtype) {
  return dtype == DType::float16 ? 2e-3 : is_integer(dtype) || dtype == DType::bool_ ? 0 : 2e-5;
}

void test_matmul() {
  const auto multiply = [](DType dtype, std::int64_t m, std::int64_t k, std::int64_t n,
                           const Shape& batch, bool dense) {
    Shape left = batch, right = batch, result = batch;
    left.insert(left.end(), {m, k});
    right.insert(right.end(), {k, n});
    result.insert(result.end(), {m, n});
    Array a = is_integer(dtype) || dtype == DType::bool_
                  ? random_array(dtype, left, dense)
                  : random_numbers(dtype, left, -1, 1, dense);
    Array b = is_integer(dtype) || dtype == DType::bool_
                  ? random_array(dtype, right, dense)
                  : random_numbers(dtype, right, -1, 1, dense);
    CHECK(check({Op::matmul, {&a, &b}, result, dtype}, tolerance_of(dtype), "matmul").dispatches <=
          1);
  };
  for (const DType dtype : {DType::float32, DType::float16}) {
    for (int round = 0; round < 30; ++round) {
      const bool dense = round % 3 == 0;
      const std::int64_t k = pick(0, 70);
      multiply(dtype, pick(1, 80), k, pick(1, 80), {}, dense);
      multiply(dtype, pick(1, 9), k, pick(1, 90), {}, dense);
      multiply(dtype, pick(1, 90), k, pick(1, 9), {}, dense);
      multiply(dtype, pick(1, 40), k, pick(1, 40), random_shape(2, 3), dense);
      multiply(dtype, pick(1, 4), pick(0, 5), pick(1, 4), {9, 8}, dense);
    }
    multiply(dtype, 1, 576, 96, {}, true);
    multiply(dtype, 200, 33, 600, {}, true);  // large tiles
    multiply(dtype, 40, 20, 50, {70}, false);
  }
  for (const DType dtype :
       {DType::bool_, DType::int8, DType::uint16, DType::int32, DType::uint64, DType::complex64}) {
    for (int round = 0; round < 8; ++round) {
      multiply(dtype, pick(1, 20), pick(0, 40), pick(1, 20), random_shape(1, 3), false);
    }
  }
  // (batch, m, k) @ (k, n): the batch is joined with the rows, or not.
  Array b = random_numbers(DType::float32, {24, 20}, -1, 1);
  const Shape joined{4, 24, 20};
  b.layout = Layout(joined, Shape{0, b.layout.stride(0), b.layout.stride(1)}, b.layout.offset());
  for (const bool dense : {true, false}) {
    Array a = random_numbers(DType::float32, {4, 3, 24}, -1, 1, dense);
    check({Op::matmul, {&a, &b}, {4, 3, 20}, DType::float32}, 2e-5, "joined matmul");
  }
  // A NaN and an infinity stay in their row and column.
  for (const std::int64_t n : {3, 40}) {
    Array x = random_numbers(DType::float32, {n, 40}, -1, 1, true);
    Array y = random_numbers(DType::float32, {40, 50}, -1, 1, true);
    x.get<float>({2, 7}) = nan;
    y.get<float>({39, 41}) = infinity;
    check({Op::matmul, {&x, &y}, {n, 50}, DType::float32}, 2e-5, "matmul of special values");
  }
}

Array random_blocks(std::int64_t kind, Shape shape, std::int64_t blocks, int layout) {
  const std::int64_t size = kind == 2 ? 18 : kind == 3 ? 20 : 34;
  shape.push_back(blocks * size);
  Array dense = random_array(DType::uint8, shape, true);
  for (std::size_t i = 0; i < dense.storage.size(); ++i) {
    dense.storage[i] = static_cast<char>(pick(0, 255));
  }
  for (std::size_t i = 0; i + static_cast<std::size_t>(size) <= dense.storage.size();
       i += static_cast<std::size_t>(size)) {
    for (std::size_t e = 0; e < (kind == 3 ? 2 : 1); ++e) {
      const float16 scale = cpu::to_half(static_cast<float>(pick(-64, 64)) / 512);
      std::memcpy(dense.storage.data() + i + 2 * e, &scale, 2);
    }
  }
  if (layout == 0) return dense;
  // Rows further apart, at an odd place, or every other byte.
  const std::int64_t step = layout == 1 ? 1 : 2, gap = layout == 1 ? 8 : 3;
  Shape strides(shape.size());
  std::int64_t extent = step;
  for (std::size_t d = shape.size(); d-- > 0;) {
    strides[d] = extent;
    extent *= shape[d];
    if (d + 1 == shape.size()) extent += gap;
  }
  Array a{DType::uint8, Layout(shape, strides, layout == 1 ? 4 : 1), {}};
  a.storage.resize(static_cast<std::size_t>(extent) + 8, char(0x77));
  for (std::int64_t i = 0; i < a.layout.size(); ++i) {
    *a.at(cpu::testing::unravel(i, shape)) = dense.storage[static_cast<std::size_t>(i)];
  }
  return a;
}

void test_quantized() {
  for (const std::int64_t kind : {2, 3, 8}) {
    for (int round = 0; round < 24; ++round) {
      const std::int64_t blocks = round % 6 == 0 ? 18 : pick(0, 5), n = pick(1, 90);
      const std::int64_t k = 32 * blocks;
      Array w = random_blocks(kind, {n}, blocks, static_cast<int>(pick(0, 2)));
      Shape shape = round % 3 == 0   ? Shape{1, 1}
                    : round % 3 == 1 ? Shape{pick(1, 9)}
                                     : Shape{pick(1, 3), pick(1, 40)};
      Shape result = shape;
      shape.push_back(k);
      result.push_back(n);
      const bool dense = round % 2 == 0;
      Array x = random_numbers(DType::float32, shape, -1, 1, dense);
      const Result r = check({Op::quantized_matmul, {&x, &w}, result, DType::float32, {kind}}, 2e-4,
                             "quantized_matmul");
      CHECK(!dense || w.layout.offset() % 4 != 0 || w.layout.stride(1) != 1 || r.dispatches == 1);

      Array many = random_blocks(kind, {2, 3}, blocks, static_cast<int>(pick(0, 2)));
      check({Op::dequantize, {&many}, {2, 3, k}, DType::float32, {kind}}, 0, "dequantize");
      Array index = array_of<std::int32_t>(DType::int32, {2, 2},
                                           {0, -1, static_cast<std::int32_t>(pick(0, n - 1)),
                                            static_cast<std::int32_t>(pick(-n, -1))});
      check({Op::quantized_take, {&w, &index}, {2, 2, k}, DType::float32, {kind}}, 0,
            "quantized_take");
      if (blocks == 0) continue;
      index.data<std::int32_t>()[3] = static_cast<std::int32_t>(-n - 1);
      check_fault({Op::quantized_take, {&w, &index}, {2, 2, k}, DType::float32, {kind}},
                  Code::index_out_of_range, 3);
      index.data<std::int32_t>()[1] = static_cast<std::int32_t>(n);
      check_fault({Op::quantized_take, {&w, &index}, {2, 2, k}, DType::float32, {kind}},
                  Code::index_out_of_range, 1);
    }
    // Many columns: more rows a simdgroup.
    Array w = random_blocks(kind, {4100}, 2, 0);
    for (const std::int64_t rows : {1, 3}) {
      Array x = random_numbers(DType::float32, {rows, 64}, -1, 1, true);
      x.data<float>()[5] = infinity;
      check({Op::quantized_matmul, {&x, &w}, {rows, 4100}, DType::float32, {kind}}, 2e-4,
            "quantized_matmul of an infinity");
    }
  }
}

void test_rope() {
  for (const DType dtype : {DType::float32, DType::float16}) {
    for (int round = 0; round < 40; ++round) {
      const std::int64_t d = pick(2, 70), dims = 2 * pick(0, d / 2);
      const std::int64_t length = round % 4 == 0 ? 1 : pick(1, 40);
      const Shape shape{pick(1, 2), pick(1, 9), length, d};
      Array x = random_numbers(dtype, shape, -1, 1, round % 3 == 0);
      const std::int64_t offsets[] = {0, 1, 8000, 131071, -5};
      Array offset = scalar(offsets[round % 5]);
      const Result r = check(
          {Op::rope, {&x, &offset}, shape, dtype, {dims, round % 2}, {1e5, round % 3 ? 1.0 : 0.25}},
          dtype == DType::float16 ? 2e-3 : 2e-6, "rope");
      CHECK(r.dispatches == 1);
    }
    Array x = random_numbers(dtype, {1, 3, 1300}, -1, 1);  // more pairs than a table holds
    Array offset = scalar(77);
    check({Op::rope, {&x, &offset}, {1, 3, 1300}, dtype, {1200, 1}, {1e4, 1.0}},
          dtype == DType::float16 ? 2e-3 : 2e-6, "wide rope");
    check({Op::rope, {&x, &offset}, {1, 3, 1300}, dtype, {4, 0}, {0.0, 1.0}}, 2e-6, "rope of NaN");
  }
}

struct Attended {
  std::int64_t batch = 1, heads = 4, kv_heads = 2, queries = 1, keys = 10, d = 64, dv = 64;
  bool causal = false, dense = true;
  int mask = 0;             // 1 bool, 2 float32, 3 float16
  std::int64_t valid = -1;  // -1: not given
  DType dtype = DType::float32;
  DType stored = DType::float32;  // of keys and values
  float special = 0;              // put into a float32 key
};

Result attend(const Attended& c) {
  Array q = random_numbers(c.dtype, {c.batch, c.heads, c.queries, c.d}, -2, 2, c.dense);
  Array k = random_numbers(c.stored, {c.batch, c.kv_heads, c.keys, c.d}, -2, 2, c.dense);
  Array v = random_numbers(c.stored, {c.batch, c.kv_heads, c.keys, c.dv}, -2, 2, c.dense);
  if (c.special != 0) k.get<float>({0, 0, c.keys / 2, 0}) = c.special;
  Case attention{Op::attention,
                 {&q, &k, &v},
                 {c.batch, c.heads, c.queries, c.dv},
                 c.dtype,
                 {c.causal, c.mask != 0, c.valid >= 0},
                 {1 / std::sqrt(static_cast<double>(c.d))}};
  Array mask, valid = scalar(c.valid);
  if (c.mask != 0) {
    const Shape shape{pick(0, 1) ? c.batch : 1, pick(0, 1) ? c.heads : 1,
                      pick(0, 1) ? c.queries : 1, c.keys};
    mask = c.mask == 1   ? random_array(DType::bool_, shape)
           : c.mask == 2 ? random_numbers(DType::float32, shape, -3, 3)
                         : random_numbers(DType::float16, shape, -3, 3);
    attention.inputs.push_back(&mask);
  }
  if (c.valid >= 0) attention.inputs.push_back(&valid);
  return check(attention, c.dtype == DType::float16 ? 2e-3 : 1e-5, "attention");
}

void test_attention() {
  const std::int64_t sizes[][2] = {{64, 64}, {5, 7}, {80, 33}, {128, 200}, {96, 600}};
  for (int round = 0; round < 60; ++round) {
    Attended c;
    const auto& size = sizes[round % 5];
    c.d = size[0];
    c.dv = size[1];
    c.batch = pick(1, 2);
    c.kv_heads = pick(1, 2);
    c.heads = c.kv_heads * pick(1, 3);
    c.queries = round % 3 == 0 ? 1 : round % 3 == 1 ? pick(1, 8) : pick(9, 70);
    c.keys = pick(1, 90);
    c.causal = pick(0, 1) == 1;
    c.dense = pick(0, 1) == 1;
    c.mask = round % 4 == 0 ? static_cast<int>(pick(1, 3)) : 0;
    c.valid = pick(0, 1) ? pick(0, c.keys) : -1;
    c.dtype = round % 10 == 9 ? DType::float16 : DType::float32;
    c.stored = round % 10 >= 6 ? DType::float16 : DType::float32;
    CHECK(attend(c).dispatches == 1);
  }
  Attended many;
  many.keys = 4500;  // in parts, which a second dispatch joins
  many.valid = 4321;
  many.causal = true;
  for (const DType stored : {DType::float16, DType::float32}) {
    for (const std::int64_t queries : {1, 3, 12}) {
      many.stored = stored;
      many.queries = queries;
      CHECK(attend(many).dispatches == (queries > 8 ? 1 : 2));
    }
  }
  many.valid = 2;
  many.queries = 1;
  attend(many);
  for (const float special : {infinity, -infinity, nan}) {
    for (const std::int64_t queries : {1, 20}) {
      Attended c;
      c.queries = queries;
      c.keys = 33;
      c.special = special;
      attend(c);
      c.mask = 1;
      attend(c);
    }
  }
  // No key to see gives zeros; a wrong number of keys is a fault.
  for (const std::int64_t queries : {1, 20}) {
    Attended c;
    c.queries = queries;
    c.valid = 0;
    attend(c);
    c.causal = true;
    c.valid = 1;
    attend(c);
    for (const std::int64_t valid : {std::int64_t{-1}, std::int64_t{6}, INT64_MIN}) {
      Array q = random_numbers(DType::float32, {1, 2, queries, 8}, -1, 1);
      Array k = random_numbers(DType::float32, {1, 1, 5, 8}, -1, 1);
      Array number = scalar(valid);
      check_fault({Op::attention,
                   {&q, &k, &k, &number},
                   {1, 2, queries, 8},
                   DType::float32,
                   {0, 0, 1},
                   {1.0}},
                  Code::index_out_of_range, 0);
      Array none = random_numbers(DType::float32, {0, 2, queries, 8}, -1, 1);
      Array no_keys = random_numbers(DType::float32, {0, 1, 5, 8}, -1, 1);
      check_fault({Op::attention,
                   {&none, &no_keys, &no_keys, &number},
                   {0, 2, queries, 8},
                   DType::float32,
                   {0, 0, 1},
                   {1.0}},
                  Code::index_out_of_range, 0);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (const int status = cpu::testing::load_blas(argc, argv)) return status;
  test_quantized();
  test_rope();
  test_attention();
  test_matmul();
}
