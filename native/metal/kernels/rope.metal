// Rotary position embedding. T: the type of the elements. A thread turns one pair (or copies one
// element that stays) at one position, for HEADS rows of the dimensions before.

struct Rotation {
  long outer;  // rows before position and feature, the product of those dimensions
  long length;
  long d;
  long row_stride;   // of x, from one position to the next
  long stride;       // from one feature to the next
  long out_stride;   // of the output, from one outer row to the next
  uint first_pair;   // of the table
  uint table_pairs;  // how many it holds
  uint pairs;        // that are turned at all
  uint rest;         // threads behind the pairs: elements to copy
  uint interleaved;
};

// `turns`: for each pair, the part of a full turn that it makes at every position, as a fraction
// of 2^64. A position times that, modulo 2^64, is the angle without any rounding, which floats
// would not give for positions in the thousands. The lowest bit stands for "not a number".
kernel void rope(device T* out [[buffer(0)]], device const T* x [[buffer(1)]],
                 device const long* offset [[buffer(2)]], constant long* dims [[buffer(3)]],
                 constant Rotation& p [[buffer(4)]], constant ulong* turns [[buffer(5)]],
                 uint3 at [[thread_position_in_grid]]) {
  if (at.x >= p.table_pairs + p.rest) return;
  const bool turned = at.x < p.table_pairs;
  const uint pair = p.first_pair + at.x;
  const long first =
      turned ? (p.interleaved ? 2 * pair : pair) : 2 * p.pairs + (at.x - p.table_pairs);
  const long second = p.interleaved ? first + 1 : first + p.pairs;
  float cosine = 1, sine = 0;
  if (turned) {
    const ulong turn = turns[at.x] * ulong(offset[0] + long(at.y));
    const float angle = float(long(turn)) * 3.40612158e-19f;  // 2 pi / 2^64
    cosine = turns[at.x] & 1 ? NAN : cos(angle);
    sine = turns[at.x] & 1 ? NAN : sin(angle);
  }
  const ulong begin = ulong(at.z) * HEADS;
  for (ulong row = begin; row < min(begin + HEADS, ulong(p.outer)); ++row) {
    device const T* from = x + walk(row, dims, 0) + long(at.y) * p.row_stride;
    device T* to = out + row * p.out_stride + long(at.y) * p.d;
    if (!turned) {
      to[first] = from[first * p.stride];
      continue;
    }
    const float a = float(from[first * p.stride]), b = float(from[second * p.stride]);
    to[first] = T(fma(a, cosine, -(b * sine)));
    to[second] = T(fma(b, cosine, a * sine));
  }
}
