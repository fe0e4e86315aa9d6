// Linear algebra on batches of matrices, a threadgroup of SIMDGROUPS simdgroups a matrix. T: float
// or float2 (complex numbers). Multiplications and additions are rounded one by one and in the
// order of the textbook, so that what the CPU calls singular is singular here.

struct Matrices {
  ulong count;
  long a[2];  // strides: row, column
  long b[2];
  long n;
  long columns;  // of b
};

#if IS_COMPLEX
inline T product(T x, T y) { return T(x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x); }
inline T conjugate(T x) { return T(x.x, -x.y); }
inline T real_number(float x) { return T(x, 0); }
inline float real_part(T x) { return x.x; }
inline float size_of(T x) { return fabs(x.x) + fabs(x.y); }  // as LAPACK compares
inline bool is_zero(T x) { return x.x == 0 && x.y == 0; }
inline bool is_nan(T x) { return x.x != x.x || x.y != x.y; }
// Smith's way, which does not overflow on the way.
inline T quotient(T x, T y) {
  if (fabs(y.x) >= fabs(y.y)) {
    const float ratio = y.y / y.x, size = y.x + y.y * ratio;
    return T((x.x + x.y * ratio) / size, (x.y - x.x * ratio) / size);
  }
  const float ratio = y.x / y.y, size = y.x * ratio + y.y;
  return T((x.x * ratio + x.y) / size, (x.y * ratio - x.x) / size);
}
#else
inline T product(T x, T y) { return x * y; }
inline T conjugate(T x) { return x; }
inline T real_number(float x) { return x; }
inline float real_part(T x) { return x; }
inline float size_of(T x) { return fabs(x); }
inline bool is_zero(T x) { return x == 0; }
inline bool is_nan(T x) { return x != x; }
inline T quotient(T x, T y) { return x / y; }
#endif

constant constexpr uint threads = 32 * SIMDGROUPS;

// Who a thread is, and what its threadgroup shares.
struct Team {
  uint thread_index;
  uint simdgroup;
  uint lane;
  threadgroup float* sizes;  // one a simdgroup
  threadgroup uint* rows;
};

inline void wait_for_memory() {
  threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
}

// Whether any thread of the threadgroup says so.
inline bool any_of_team(bool value, thread const Team& team) {
  wait_for_memory();
  const bool here = simd_any(value);
  if (team.lane == 0) team.rows[team.simdgroup] = here ? 1 : 0;
  wait_for_memory();
  bool result = false;
  for (uint s = 0; s < SIMDGROUPS; ++s) result = result || team.rows[s] != 0;
  return result;
}

// The row, from j on, that has the largest element in column j: the first of equals, and j itself
// when that is not a number. Whether it is zero.
inline uint pivot_row(device const T* a, uint n, uint j, thread bool& zero,
                      thread const Team& team) {
  float size = -1;
  uint row = n;
  for (uint i = j + 1 + team.thread_index; i < n; i += threads) {
    const float candidate = size_of(a[ulong(i) * n + j]);
    if (candidate > size) {
      size = candidate;
      row = i;
    }
  }
  for (ushort distance = 1; distance < 32; distance *= 2) {
    const float other = simd_shuffle_xor(size, distance);
    const uint other_row = simd_shuffle_xor(row, distance);
    if (other > size || (other == size && other_row < row)) {
      size = other;
      row = other_row;
    }
  }
  if (team.lane == 0) {
    team.sizes[team.simdgroup] = size;
    team.rows[team.simdgroup] = row;
  }
  wait_for_memory();
  size = size_of(a[ulong(j) * n + j]);
  row = j;
  for (uint s = 0; s < SIMDGROUPS; ++s) {
    if (team.sizes[s] > size || (team.sizes[s] == size && row != j && team.rows[s] < row)) {
      size = team.sizes[s];
      row = team.rows[s];
    }
  }
  zero = is_zero(a[ulong(row) * n + j]);
  wait_for_memory();  // before any of this is written again
  return row;
}

// Gaussian elimination with partial pivoting of a (n x n) and, beside it, b (n x columns), both
// row-major. The place of the first zero pivot, n when there is none; `swaps` counts them.
inline uint eliminate(device T* a, uint n, device T* b, uint columns, thread uint& swaps,
                      thread const Team& team) {
  swaps = 0;
  for (uint j = 0; j < n; ++j) {
    bool zero;
    const uint p = pivot_row(a, n, j, zero, team);
    if (zero) return j;
    if (p != j) {
      ++swaps;
      for (uint l = j + team.thread_index; l < n; l += threads) {
        const T other = a[ulong(p) * n + l];
        a[ulong(p) * n + l] = a[ulong(j) * n + l];
        a[ulong(j) * n + l] = other;
      }
      for (uint c = team.thread_index; c < columns; c += threads) {
        const T other = b[ulong(p) * columns + c];
        b[ulong(p) * columns + c] = b[ulong(j) * columns + c];
        b[ulong(j) * columns + c] = other;
      }
      wait_for_memory();
    }
    for (uint i = j + 1 + team.simdgroup; i < n; i += SIMDGROUPS) {
      const T factor = quotient(a[ulong(i) * n + j], a[ulong(j) * n + j]);
      for (uint l = j + 1 + team.lane; l < n; l += 32) {
        a[ulong(i) * n + l] -= product(factor, a[ulong(j) * n + l]);
      }
      for (uint c = team.lane; c < columns; c += 32) {
        b[ulong(i) * columns + c] -= product(factor, b[ulong(j) * columns + c]);
      }
    }
    wait_for_memory();
  }
  return n;
}

// Solves for b what `eliminate` left: a's upper triangle.
inline void substitute_back(device const T* a, uint n, device T* b, uint columns,
                            thread const Team& team) {
  for (uint j = n; j-- > 0;) {
    for (uint c = team.thread_index; c < columns; c += threads) {
      b[ulong(j) * columns + c] = quotient(b[ulong(j) * columns + c], a[ulong(j) * n + j]);
    }
    wait_for_memory();
    // One column: a row a thread; more: a row a simdgroup.
    const uint first = columns == 1 ? team.thread_index : team.simdgroup;
    const uint step = columns == 1 ? threads : SIMDGROUPS;
    for (uint i = first; i < j; i += step) {
      const T factor = a[ulong(i) * n + j];
      for (uint c = columns == 1 ? 0 : team.lane; c < columns; c += 32) {
        b[ulong(i) * columns + c] -= product(factor, b[ulong(j) * columns + c]);
      }
    }
    wait_for_memory();
  }
}

inline bool has_nan(device const T* a, uint n, constant long* strides, thread const Team& team) {
  bool found = false;
  for (uint i = team.simdgroup; i < n; i += SIMDGROUPS) {
    for (uint j = team.lane; j < n; j += 32) {
      found = found || is_nan(a[long(i) * strides[0] + long(j) * strides[1]]);
    }
  }
  return any_of_team(found, team);
}

inline void copy_matrix(device T* to, device const T* from, uint rows, uint columns,
                        constant long* strides, thread const Team& team) {
  for (uint i = team.simdgroup; i < rows; i += SIMDGROUPS) {
    for (uint j = team.lane; j < columns; j += 32) {
      to[ulong(i) * columns + j] = from[long(i) * strides[0] + long(j) * strides[1]];
    }
  }
}

inline void fill(device T* to, ulong count, T value, thread const Team& team) {
  for (ulong e = team.thread_index; e < count; e += threads) to[e] = value;
}

#if defined(SOLVE)
// x for a @ x = b; INVERSE: b is the identity. `work` has room for all matrices a.
kernel void solve(device T* out [[buffer(0)]], device const T* a [[buffer(1)]],
                  device T* work [[buffer(2)]], constant Matrices& p [[buffer(3)]],
                  constant long* batch_dims [[buffer(4)]], device atomic_uint* fault [[buffer(5)]],
#if !INVERSE
                  device const T* b [[buffer(6)]],
#endif
                  uint3 group [[threadgroup_position_in_grid]],
                  uint3 groups [[threadgroups_per_grid]],
                  uint thread_index [[thread_index_in_threadgroup]],
                  uint simdgroup [[simdgroup_index_in_threadgroup]],
                  uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sizes[SIMDGROUPS];
  threadgroup uint rows[SIMDGROUPS];
  const ulong index = flat_position(group, groups);
  if (index >= p.count) return;
  const Team team = {thread_index, simdgroup, lane, sizes, rows};
  const uint n = uint(p.n), columns = uint(p.columns);
  device const T* source = a + walk(index, batch_dims, 0);
  device T* lu = work + index * n * n;
  device T* x = out + index * n * columns;
  copy_matrix(lu, source, n, n, p.a, team);
#if INVERSE
  for (uint i = simdgroup; i < n; i += SIMDGROUPS) {
    for (uint j = lane; j < n; j += 32) x[ulong(i) * n + j] = i == j ? real_number(1) : T(0);
  }
#else
  copy_matrix(x, b + walk(index, batch_dims, 1), n, columns, p.b, team);
#endif
  wait_for_memory();
  uint swaps;
  const uint zero = eliminate(lu, n, x, columns, swaps, team);
  if (zero == n) {
    substitute_back(lu, n, x, columns, team);
  } else if (has_nan(source, n, p.a, team)) {
    // A matrix with a NaN has NaN for a result; that it looks singular says nothing.
    fill(x, ulong(n) * columns, T(NAN), team);
  } else if (thread_index == 0) {
    raise_fault(fault, index * n + zero);
  }
}
#endif

#if defined(DETERMINANT)
// x / 2^e with magnitude about 1; e is added to the exponent.
inline T scaled(T x, thread int& exponent) {
#if IS_COMPLEX
  const float size = max(fabs(x.x), fabs(x.y));
  const bool keep = size == 0 || !isfinite(x.x) || !isfinite(x.y);
#else
  const float size = fabs(x);
  const bool keep = size == 0 || !isfinite(x);
#endif
  if (keep) return x;
  int e;
  frexp(size, e);
  exponent += e;
#if IS_COMPLEX
  return T(ldexp(x.x, -e), ldexp(x.y, -e));
#else
  return ldexp(x, -e);
#endif
}

kernel void det(device T* out [[buffer(0)]], device const T* a [[buffer(1)]],
                device T* work [[buffer(2)]], constant Matrices& p [[buffer(3)]],
                constant long* batch_dims [[buffer(4)]],
                uint3 group [[threadgroup_position_in_grid]],
                uint3 groups [[threadgroups_per_grid]],
                uint thread_index [[thread_index_in_threadgroup]],
                uint simdgroup [[simdgroup_index_in_threadgroup]],
                uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sizes[SIMDGROUPS];
  threadgroup uint rows[SIMDGROUPS];
  const ulong index = flat_position(group, groups);
  if (index >= p.count) return;
  const Team team = {thread_index, simdgroup, lane, sizes, rows};
  const uint n = uint(p.n);
  device const T* source = a + walk(index, batch_dims, 0);
  device T* lu = work + index * n * n;
  copy_matrix(lu, source, n, n, p.a, team);
  wait_for_memory();
  uint swaps;
  if (eliminate(lu, n, lu, 0, swaps, team) < n) {
    const bool nan = has_nan(source, n, p.a, team);
    if (thread_index == 0) out[index] = nan ? T(NAN) : T(0);
    return;
  }
  if (thread_index != 0) return;
  // As fraction * 2^exponent, so that it overflows only when the result does.
  T fraction = real_number(1);
  int exponent = 0;
  for (uint i = 0; i < n; ++i) {
    fraction = product(fraction, scaled(lu[ulong(i) * n + i], exponent));
    fraction = scaled(fraction, exponent);
  }
  if (swaps % 2 != 0) fraction = -fraction;
  exponent = clamp(exponent, -10000, 10000);
#if IS_COMPLEX
  out[index] = T(ldexp(fraction.x, exponent), ldexp(fraction.y, exponent));
#else
  out[index] = ldexp(fraction, exponent);
#endif
}
#endif

#if defined(CHOLESKY)
// Element (i, j) of the lower factor, which stands in the output: as it is, or its conjugate at
// (j, i) for the upper one.
inline ulong place_of(uint n, uint i, uint j) {
  return UPPER ? ulong(j) * n + i : ulong(i) * n + j;
}
inline T lower_of(device const T* factor, uint n, uint i, uint j) {
  const T value = factor[place_of(n, i, j)];
  return UPPER ? conjugate(value) : value;
}

kernel void cholesky(device T* out [[buffer(0)]], device const T* a [[buffer(1)]],
                     constant Matrices& p [[buffer(3)]], constant long* batch_dims [[buffer(4)]],
                     device atomic_uint* fault [[buffer(5)]],
                     uint3 group [[threadgroup_position_in_grid]],
                     uint3 groups [[threadgroups_per_grid]],
                     uint thread_index [[thread_index_in_threadgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sizes[SIMDGROUPS];
  threadgroup uint rows[SIMDGROUPS];
  const ulong index = flat_position(group, groups);
  if (index >= p.count) return;
  const Team team = {thread_index, simdgroup, lane, sizes, rows};
  const uint n = uint(p.n);
  device const T* source = a + walk(index, batch_dims, 0);
  device T* factor = out + index * n * n;
  bool nan = false;
  for (uint i = simdgroup; i < n; i += SIMDGROUPS) {
    for (uint j = lane; j < n; j += 32) {
      const bool used = UPPER ? j >= i : j <= i;
      const T value = used ? source[long(i) * p.a[0] + long(j) * p.a[1]] : T(0);
      nan = nan || is_nan(value);
      factor[ulong(i) * n + j] = value;
    }
  }
  wait_for_memory();
  uint failed = n;
  for (uint j = 0; j < n; ++j) {
    const float square = real_part(factor[place_of(n, j, j)]);
    if (square <= 0) {  // a NaN goes on, to where it belongs
      failed = j;
      break;
    }
    const float root = sqrt(square);
    wait_for_memory();  // all have read the square
    if (thread_index == 0) factor[place_of(n, j, j)] = real_number(root);
    for (uint i = j + 1 + thread_index; i < n; i += threads) {
      factor[place_of(n, i, j)] = factor[place_of(n, i, j)] / root;
    }
    wait_for_memory();
    for (uint i = j + 1 + simdgroup; i < n; i += SIMDGROUPS) {
      const T left = lower_of(factor, n, i, j);
      for (uint l = j + 1 + lane; l <= i; l += 32) {
        const T change = product(left, conjugate(lower_of(factor, n, l, j)));
        factor[place_of(n, i, l)] -= UPPER ? conjugate(change) : change;
      }
    }
    wait_for_memory();
  }
  if (failed == n) return;
  if (any_of_team(nan, team)) {
    fill(factor, ulong(n) * n, T(NAN), team);
  } else if (thread_index == 0) {
    raise_fault(fault, index * n + failed);
  }
}
#endif
