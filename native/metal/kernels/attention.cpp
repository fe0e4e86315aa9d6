// Attention: one query a threadgroup where queries are few, tiles of queries where they are many.
// The fault: position 0, the number of valid keys is out of range.
#include <algorithm>
#include <bit>

#include "metal/kernels/kernels.h"
#include "metal/kernels/launch_helpers.h"

namespace nitinol::metal::kernels {
namespace {

// Up to so many queries a head, keys and values are read for each of them alone.
constexpr std::int64_t few_queries = 8;
// From so many keys on (there is room for: how many are valid is known on the device alone) one
// threadgroup a head would take too long; parts of them are joined by a second dispatch.
constexpr std::int64_t many_keys = 4096;
// Features of the values that one threadgroup has registers for.
constexpr std::int64_t few_slice = 512, many_slice = 128;

// The kernel's argument of this name.
struct Attention {
  std::int64_t q[4], k[4], v[4], mask[4];
  std::int64_t heads, group, queries, keys;
  float scale;
  std::uint32_t causal, splits;
};

void strides_of(const Operand& operand, std::int64_t* strides) noexcept {
  for (int d = 0; d < 4; ++d) {
    strides[d] = operand.layout->shape(d) == 1 ? 0 : operand.layout->stride(d);
  }
}

// Whether features can be read by fours.
bool by_fours(const Operand& operand) noexcept {
  const Layout& l = *operand.layout;
  bool fine = l.stride(3) == 1 && operand.offset % (4 * itemsize(operand.dtype)) == 0;
  for (int d = 0; d < 3; ++d) fine = fine && (l.shape(d) == 1 || l.stride(d) % 4 == 0);
  return fine;
}

}  // namespace

void attention(const Launch& launch) noexcept {
  if (refused(launch)) return;
  Encoder& encoder = launch.encoder;
  const Operand& out = launch.output;
  const Operand &q = launch.inputs[0], &k = launch.inputs[1], &v = launch.inputs[2];
  const bool has_mask = launch.params.ints[1] != 0, has_valid = launch.params.ints[2] != 0;
  const Operand* mask = has_mask ? &launch.inputs[3] : nullptr;
  const Operand* valid = has_valid ? &launch.inputs[has_mask ? 4 : 3] : nullptr;
  if (out.layout->size() == 0 && !has_valid) return;

  Attention p{};
  strides_of(q, p.q);
  strides_of(k, p.k);
  strides_of(v, p.v);
  if (mask) strides_of(*mask, p.mask);
  const std::int64_t batch = q.layout->shape(0), d = q.layout->shape(3), dv = v.layout->shape(3);
  p.heads = q.layout->shape(1);
  p.group = std::max<std::int64_t>(p.heads / std::max<std::int64_t>(k.layout->shape(1), 1), 1);
  p.queries = q.layout->shape(2);
  p.keys = k.layout->shape(2);
  p.scale = static_cast<float>(launch.params.floats[0]);
  p.causal = launch.params.ints[0] != 0;
  p.splits = 1;
  if (p.keys >= std::int64_t{1} << 31 || batch * p.heads * p.queries >= std::int64_t{1} << 32) {
    return refuse(launch);
  }
  // An empty result: one threadgroup still looks whether the number of keys is right.
  const bool nothing = out.layout->size() == 0;

  Defines defines;
  defines.add("Q", q.dtype).add("K", k.dtype).add("V", v.dtype);
  defines.add("D", d).add("DV", dv).add("VALID", has_valid ? "1" : "0");
  if (mask) {
    defines.add("MASK", mask->dtype);
    defines.add("MASK_IS_BOOL", mask->dtype == DType::bool_ ? "1" : "0");
  }
  const auto bind = [&](const Operand& result) {
    encoder.buffer(0, result);
    encoder.buffer(1, q);
    encoder.buffer(2, k);
    encoder.buffer(3, v);
    bind_value(encoder, 4, p);
    if (mask) encoder.buffer(5, *mask);
    if (valid) {
      encoder.buffer(6, *valid);
      encoder.fault(7);
    }
  };

  if (p.queries > few_queries) {
    const std::int64_t slice =
        std::min(ceil_div(std::max<std::int64_t>(dv, 1), 32) * 32, many_slice);
    constexpr std::int64_t simdgroups = 4;
    defines.add("OUT", out.dtype).add("SLICE", slice).add("SIMDGROUPS", simdgroups);
    defines.pipeline(encoder, "attention_many", "attend");
    bind(out);
    const std::int64_t tiles = ceil_div(p.queries, 8 * simdgroups);
    encoder.dispatch({static_cast<std::uint32_t>(nothing ? 1 : batch * p.heads),
                      static_cast<std::uint32_t>(tiles),
                      static_cast<std::uint32_t>(ceil_div(std::max<std::int64_t>(dv, 1), slice))},
                     {32 * simdgroups, 1, 1});
    return;
  }

  const std::int64_t slice = std::clamp<std::int64_t>(dv, 1, few_slice);
  // Four fours of features a lane keep it busy, and leave room for registers.
  const auto widest = static_cast<std::uint64_t>(std::max<std::int64_t>(std::max(d, slice), 1));
  const std::uint64_t lanes = std::min<std::uint64_t>(std::bit_ceil((widest + 15) / 16), 32);
  constexpr std::int64_t simdgroups = 8;
  p.splits = p.keys <= many_keys ? 1 : p.keys <= 4 * many_keys ? 8 : 16;
  const bool split = p.splits > 1 && !nothing;
  const bool fours = by_fours(q) && by_fours(k) && by_fours(v);
  const std::int64_t results = batch * p.heads * p.queries;

  Operand sums = out, partials;
  if (split) {
    const auto entries = static_cast<std::size_t>(results) * p.splits;
    sums = encoder.scratch(entries * static_cast<std::size_t>(dv) * sizeof(float));
    partials = encoder.scratch(entries * 2 * sizeof(float));
  }
  defines.add("LANES", static_cast<std::int64_t>(lanes)).add("SIMDGROUPS", simdgroups);
  defines.add("SLICE", slice).add("FOURS", fours ? "1" : "0").add("SPLIT", split ? "1" : "0");
  const Defines shared = defines;
  defines.add("OUT", split ? DType::float32 : out.dtype).add("ATTEND", "1");
  defines.pipeline(encoder, "attention_few", "attend");
  bind(sums);
  if (split) encoder.buffer(8, partials);
  encoder.dispatch({static_cast<std::uint32_t>(nothing ? 1 : results), split ? p.splits : 1,
                    static_cast<std::uint32_t>(ceil_div(std::max<std::int64_t>(dv, 1), slice))},
                   {32 * simdgroups, 1, 1});
  if (!split) return;
  const std::int64_t size = out.layout->size();
  Defines(shared).add("OUT", out.dtype).add("JOIN", "1").pipeline(encoder, "attention_few", "join");
  encoder.buffer(0, out);
  encoder.buffer(1, sums);
  encoder.buffer(2, partials);
  bind_value(encoder, 3, size);
  bind_value(encoder, 4, p.splits);
  dispatch_elements(encoder, size);
}

}  // namespace nitinol::metal::kernels
