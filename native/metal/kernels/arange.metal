// start + i * step. Floats come as pairs (nearest float, what is left), for there is no
// double here.

kernel void arange_integers(device T* out [[buffer(0)]], constant long& size [[buffer(1)]],
                            constant long* progression [[buffer(2)]],
                            uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i >= ulong(size)) return;
  out[i] = T(ulong(progression[0]) + i * ulong(progression[1]));
}

// The sum as (nearest float, what is left), by exact sums and products of floats (Dekker,
// "A floating-point technique for extending the available precision", 1971).
inline float2 progress(ulong i, constant float* progression) {
  const float start = progression[0], start_low = progression[1];
  const float step = progression[2], step_low = progression[3];
  const float count = float(i);
  const float count_low = float(long(i) - long(count));
  if (i == 0) return float2(start, start_low);
  const float product = count * step;
  float low = fma(count, step, -product);
  low += count * step_low + count_low * step;
  const float sum = start + product;
  if (isinf(product) || isinf(sum)) return float2(sum, 0.0f);
  const float part = sum - start;
  low += ((start - (sum - part)) + (product - part)) + start_low;
  const float high = sum + low;
  return float2(high, low - (high - sum));
}

kernel void arange_floats(device T* out [[buffer(0)]], constant long& size [[buffer(1)]],
                          constant float* progression [[buffer(2)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i < ulong(size)) out[i] = progress(i, progression).x;
}

kernel void arange_complex(device float2* out [[buffer(0)]], constant long& size [[buffer(1)]],
                           constant float* progression [[buffer(2)]],
                           uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i < ulong(size)) out[i] = float2(progress(i, progression).x, 0.0f);
}

// Through a float rounded to odd, so that the second rounding is the only one.
kernel void arange_halves(device T* out [[buffer(0)]], constant long& size [[buffer(1)]],
                          constant float* progression [[buffer(2)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i >= ulong(size)) return;
  const float2 value = progress(i, progression);
  uint bits = as_type<uint>(value.x);
  if (value.y != 0.0f) {
    if ((value.y < 0.0f) != (value.x < 0.0f)) bits -= 1;
    bits |= 1;
  }
  out[i] = half(as_type<float>(bits));
}
