// sort, argsort and searchsorted by keys: unsigned integers in the order of the elements.
// Zeros of either sign have one key, and so have all NaNs, the largest of all in both
// directions. RAW is the elements' unsigned type, KEY (uint or ulong) that of keys, INDEX of
// positions; SIGN, INF, FLIP (all ones for descending order) are bits of RAW.
// Blocks of BLOCK elements are sorted in threadgroup memory, then merged pairwise.

inline KEY key_of(RAW raw) {
#ifdef FLOATING
  const RAW absolute = raw & RAW(~RAW(SIGN));
  if (absolute > RAW(INF)) return KEY(RAW(~RAW(0)));
  if (absolute == 0) raw = 0;
  return KEY(RAW(raw ^ ((raw & RAW(SIGN)) != 0 ? RAW(~RAW(0)) : RAW(SIGN)) ^ RAW(FLIP)));
#else
  return KEY(RAW(raw ^ RAW(SIGN) ^ RAW(FLIP)));
#endif
}

struct Sort {
  long n, stride;  // of a row
  long rows;
  long blocks;  // a row
  long width;   // of the runs that are merged
};

#if defined(ARGSORT)
typedef long Output;
#else
typedef RAW Output;
#endif

// What is written in the end. Only floats have different elements with equal keys.
inline Output output_of(device const RAW* row, long stride, KEY key, INDEX index) {
#if defined(ARGSORT)
  return long(index);
#elif defined(FLOATING)
  return row[long(index) * stride];
#else
  return RAW(RAW(key) ^ RAW(SIGN) ^ RAW(FLIP));
#endif
}

#ifndef BLOCK
#define BLOCK 64
#endif
#define SORT_THREADS (BLOCK / 2 < 256 ? BLOCK / 2 : 256)

// A bitonic network over pairs of key and position, which makes it stable.
kernel void sort_blocks(device const RAW* x [[buffer(0)]], device Output* out [[buffer(1)]],
                        constant long* dims [[buffer(2)]], constant Sort& sort [[buffer(3)]],
                        device KEY* to_keys [[buffer(4)]], device INDEX* to_indices [[buffer(5)]],
                        uint3 group [[threadgroup_position_in_grid]],
                        uint3 groups [[threadgroups_per_grid]],
                        uint rank [[thread_index_in_threadgroup]]) {
  threadgroup KEY keys[BLOCK];
  threadgroup INDEX indices[BLOCK];
  const ulong number = flat_position(group, groups);
  if (number >= ulong(sort.rows * sort.blocks)) return;
  const ulong row = number / ulong(sort.blocks);
  const long first = long(number - row * ulong(sort.blocks)) * BLOCK;
  device const RAW* from = x + walk(row, dims, 0);
  for (uint i = rank; i < BLOCK; i += SORT_THREADS) {
    const long place = first + long(i);
    keys[i] = place < sort.n ? key_of(from[place * sort.stride]) : KEY(~KEY(0));
    indices[i] = INDEX(place);
  }
  for (uint run = 2; run <= BLOCK; run *= 2) {
    for (uint distance = run / 2; distance > 0; distance /= 2) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (uint pair = rank; pair < BLOCK / 2; pair += SORT_THREADS) {
        const uint i = 2 * pair - (pair & (distance - 1));
        const uint j = i + distance;
        const KEY a = keys[i], b = keys[j];
        const INDEX p = indices[i], q = indices[j];
        const bool behind = a > b || (a == b && p > q);
        if (behind == ((i & run) == 0)) {
          keys[i] = b;
          keys[j] = a;
          indices[i] = q;
          indices[j] = p;
        }
      }
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const long base = long(row) * sort.n + first;
  for (uint i = rank; i < BLOCK && first + long(i) < sort.n; i += SORT_THREADS) {
    if (sort.blocks == 1) {
      out[base + long(i)] = output_of(from, sort.stride, keys[i], indices[i]);
    } else {
      to_keys[base + long(i)] = keys[i];
      to_indices[base + long(i)] = indices[i];
    }
  }
}

constant int merged_per_thread = 8;

// Eight neighbouring elements of the result a thread, found where the diagonal crosses the
// path that merging takes (Odeh, Green and others, "Merge path", 2012). On ties the earlier
// run goes first. LAST: straight to the output.
kernel void sort_merge(device const RAW* x [[buffer(0)]], device Output* out [[buffer(1)]],
                       constant long* dims [[buffer(2)]], constant Sort& sort [[buffer(3)]],
                       device const KEY* from_keys [[buffer(4)]],
                       device const INDEX* from_indices [[buffer(5)]],
                       device KEY* to_keys [[buffer(6)]], device INDEX* to_indices [[buffer(7)]],
                       uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong number = flat_position(at, grid);
  const ulong per_row = ulong(sort.n + merged_per_thread - 1) / merged_per_thread;
  const ulong row = number / per_row;
  if (row >= ulong(sort.rows)) return;
  const long first = long(number - row * per_row) * merged_per_thread;
  const long base = long(row) * sort.n;
  device const KEY* keys = from_keys + base;
  device const INDEX* indices = from_indices + base;
  const long start = first - first % (2 * sort.width);
  const long middle = min(start + sort.width, sort.n), end = min(middle + sort.width, sort.n);
  const long diagonal = first - start;
  long low = max(long(0), diagonal - (end - middle)), high = min(diagonal, middle - start);
  while (low < high) {
    const long i = (low + high) / 2;
    if (keys[start + i] <= keys[middle + diagonal - 1 - i]) {
      low = i + 1;
    } else {
      high = i;
    }
  }
  long a = start + low, b = middle + diagonal - low;
  const long stop = min(first + merged_per_thread, end);
#if defined(LAST)
  device const RAW* source = x + walk(row, dims, 0);
#endif
  for (long o = first; o < stop; ++o) {
    const bool left = b >= end || (a < middle && keys[a] <= keys[b]);
    const long place = left ? a : b;
    a += left ? 1 : 0;
    b += left ? 0 : 1;
#if defined(LAST)
    out[base + o] = output_of(source, sort.stride, keys[place], indices[place]);
#else
    to_keys[base + o] = keys[place];
    to_indices[base + o] = indices[place];
#endif
  }
}

kernel void search_sorted(device const RAW* sorted [[buffer(0)]],
                          device const RAW* values [[buffer(1)]], device long* out [[buffer(2)]],
                          constant long* dims [[buffer(3)]], constant long* search [[buffer(4)]],
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const long n = search[0], stride = search[1], count = search[2], right = search[3];
  const ulong i = flat_position(at, grid);
  if (i >= ulong(count)) return;
  const KEY key = key_of(values[walk(i, dims, 0)]);
  long first = 0, length = n;
  while (length > 0) {
    const long half_length = length / 2;
    const KEY middle = key_of(sorted[(first + half_length) * stride]);
    if (right != 0 ? middle <= key : middle < key) {
      first += half_length + 1;
      length -= half_length + 1;
    } else {
      length = half_length;
    }
  }
  out[i] = first;
}
