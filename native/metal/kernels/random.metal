// Random numbers by Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
// 3", 2011), with the bits of the CPU: a thread makes the four words of one counter. Two
// words are one 64-bit integer, the first low. T is the type of elements.

struct Random {
  ulong seed, offset;
  long size;  // elements
  ulong low, range;
  float first, last, below;  // below: the largest number under last
  float mean, deviation;
};

inline uint4 philox(constant Random& random, ulong counter) {
  uint4 v =
      uint4(uint(counter), uint(counter >> 32), uint(random.offset), uint(random.offset >> 32));
  uint k0 = uint(random.seed), k1 = uint(random.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const ulong p = ulong(v.x) * 0xD2511F53ul;
    const ulong q = ulong(v.z) * 0xCD9E8D57ul;
    v = uint4(uint(q >> 32) ^ v.y ^ k0, uint(q), uint(p >> 32) ^ v.w ^ k1, uint(p));
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return v;
}

inline ulong two_words(uint low, uint high) { return ulong(low) | (ulong(high) << 32); }

kernel void random_bits32(device uint* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong counter = flat_position(at, grid), first = counter * 4;
  const uint4 words = philox(random, counter);
  for (uint i = 0; i < 4 && first + i < ulong(random.size); ++i) out[first + i] = words[i];
}

kernel void random_bits64(device ulong* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong counter = flat_position(at, grid), first = counter * 2;
  const uint4 words = philox(random, counter);
  if (first < ulong(random.size)) out[first] = two_words(words.x, words.y);
  if (first + 1 < ulong(random.size)) out[first + 1] = two_words(words.z, words.w);
}

kernel void random_uniform(device float* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                           uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong counter = flat_position(at, grid), first = counter * 4;
  const uint4 words = philox(random, counter);
  for (uint i = 0; i < 4 && first + i < ulong(random.size); ++i) {
    const float u = float(words[i] >> 8) * 0x1p-24f;
    // last - first could overflow; rounding may reach either end.
    float v = random.first * (1.0f - u) + random.last * u;
    v = v < random.first ? random.first : v;
    out[first + i] = v < random.below ? v : random.below;
  }
}

// -log((bits + 1) / 2^32), by the distance from 1 where that is the shorter.
inline float exponential_of(uint bits) {
  if (bits >= 0x80000000u) {
    const float d = float(0xffffffffu - bits) * 0x1p-32f;
    const float u = 1.0f - d;
    return u == 1.0f ? d : precise::log(u) * (d / (u - 1.0f));
  }
  return -precise::log(float(bits + 1) * 0x1p-32f);
}

// Box-Muller: a radius and a number of turns make two normal numbers.
inline float2 normals(uint radius, uint turns, constant Random& random) {
  const float r = precise::sqrt(2.0f * exponential_of(radius)) * random.deviation;
  // The nearest quarter of a turn, and what is left: less than an eighth, in units of 2^-32.
  const uint quarter = (turns >> 30) + ((turns >> 29) & 1);
  const float angle = float(int(turns - (quarter << 30))) * 1.46291808e-9f;
  const float c = precise::cos(angle), s = precise::sin(angle);
  const float x = (quarter & 1) != 0 ? s : c, y = (quarter & 1) != 0 ? c : s;
  return float2(fma(r, ((quarter + 1) & 2) != 0 ? -x : x, random.mean),
                fma(r, (quarter & 2) != 0 ? -y : y, random.mean));
}

kernel void random_normal(device float* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong counter = flat_position(at, grid), first = counter * 4;
  const uint4 words = philox(random, counter);
  const float2 a = normals(words.x, words.y, random), b = normals(words.z, words.w, random);
  const float4 values = float4(a.x, a.y, b.x, b.y);
  for (uint i = 0; i < 4 && first + i < ulong(random.size); ++i) out[first + i] = values[i];
}

// The high half of a 64 by 64 bit product, from products of halves.
inline ulong multiply_high(ulong a, ulong b) {
  const ulong a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const ulong low = a0 * b0;
  const ulong middle = a1 * b0 + (low >> 32);
  const ulong other = a0 * b1 + (middle & 0xffffffffu);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

// Lemire's multiplication without rejection: 64 bits for fewer than 2^32 values, 128 for more.
kernel void random_integers(device T* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                            uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong counter = flat_position(at, grid), first = counter * 2;
  const uint4 words = philox(random, counter);
  if (first < ulong(random.size)) {
    out[first] = T(random.low + multiply_high(two_words(words.x, words.y), random.range));
  }
  if (first + 1 < ulong(random.size)) {
    out[first + 1] = T(random.low + multiply_high(two_words(words.z, words.w), random.range));
  }
}

kernel void random_wide_integers(device T* out [[buffer(0)]], constant Random& random [[buffer(1)]],
                                 uint3 at [[thread_position_in_grid]],
                                 uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i >= ulong(random.size)) return;
  const uint4 words = philox(random, i);
  const ulong high = two_words(words.z, words.w);
  const ulong low = high * random.range;
  const ulong carried = low + multiply_high(two_words(words.x, words.y), random.range);
  out[i] = T(random.low + multiply_high(high, random.range) + (carried < low ? 1 : 0));
}
