// Running sums and products, in the order of the CPU: a row is cut into sections; each is
// scanned in order from nothing, and what came before it is added to every element. A
// thread has a section. Macros: types IN, ACC, OUT; PRODUCT; IDENTITY.

inline float join(float a, float b) {
#ifdef PRODUCT
  return a * b;
#else
  return a + b;
#endif
}
inline ulong join(ulong a, ulong b) {
#ifdef PRODUCT
  return a * b;
#else
  return a + b;
#endif
}
inline float2 join(float2 a, float2 b) {
#ifdef PRODUCT
  return float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
#else
  return a + b;
#endif
}

struct Scan {
  long n, stride;  // of a row
  long rows;
  long section;   // elements
  long sections;  // a row
};

// A tile: what a simdgroup reads at once, 32 elements for each of its 32 sections. Lanes lie
// along a section, so that they read neighbours. Rows are an element longer, so that a
// column does not lie in one memory bank.
constant int tile_row = 33;
constant int tile_size = 32 * 33;

// Columns [first, first + 32) of the simdgroup's sections.
inline void load_tile(device const IN* x, constant long* dims, constant Scan& scan, ulong number,
                      long first, threadgroup ACC* tile, uint lane) {
  for (uint r = 0; r < 32; ++r) {
    const ulong row = (number + r) / ulong(scan.sections);
    if (row >= ulong(scan.rows)) break;
    const long section = long(number + r - row * ulong(scan.sections));
    const long i = first + long(lane), place = section * scan.section + i;
    if (i < scan.section && place < scan.n) {
      tile[r * tile_row + lane] = ACC(x[walk(row, dims, 0) + place * scan.stride]);
    }
  }
}

inline long length_of(constant Scan& scan, long section) {
  return min(scan.section, scan.n - section * scan.section);
}

// The number of the first section of a simdgroup; two to a threadgroup.
inline ulong first_section(uint3 group, uint3 groups, uint simdgroup) {
  return (flat_position(group, groups) * 2 + simdgroup) * 32;
}

kernel void scan_totals(device const IN* x [[buffer(0)]], device ACC* totals [[buffer(1)]],
                        constant long* dims [[buffer(3)]], constant Scan& scan [[buffer(4)]],
                        uint3 group [[threadgroup_position_in_grid]],
                        uint3 groups [[threadgroups_per_grid]],
                        uint lane [[thread_index_in_simdgroup]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup ACC tiles[2 * 32 * 33];
  threadgroup ACC* tile = tiles + simdgroup * tile_size;
  const ulong number = first_section(group, groups, simdgroup);
  const ulong row = (number + lane) / ulong(scan.sections);
  const long section = long(number + lane - row * ulong(scan.sections));
  const long length = row < ulong(scan.rows) ? length_of(scan, section) : 0;
  ACC value = IDENTITY;
  for (long first = 0; first < scan.section; first += 32) {
    load_tile(x, dims, scan, number, first, tile, lane);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const long count = min(length - first, long(32));
    for (long k = 0; k < count; ++k) value = join(value, tile[lane * tile_row + k]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (length > 0) totals[number + lane] = value;
}

// Totals become what came before: a simdgroup a row, in order.
kernel void scan_prefix(device ACC* totals [[buffer(1)]], constant Scan& scan [[buffer(4)]],
                        uint3 group [[threadgroup_position_in_grid]],
                        uint3 groups [[threadgroups_per_grid]],
                        uint lane [[thread_index_in_simdgroup]]) {
  const ulong row = flat_position(group, groups);
  if (row >= ulong(scan.rows)) return;
  device ACC* mine = totals + row * ulong(scan.sections);
  ACC before = IDENTITY;
  for (long first = 0; first < scan.sections; first += 32) {
    const long i = first + long(lane);
    const ACC total = i < scan.sections ? mine[i] : ACC(IDENTITY);
    const ushort count = ushort(min(scan.sections - first, long(32)));
    ACC result = before;
    for (ushort k = 0; k < count; ++k) {
      if (lane == k) result = before;
      before = join(before, lane_value(total, k));
    }
    if (i < scan.sections) mine[i] = result;
  }
}

kernel void scan_sections(device const IN* x [[buffer(0)]], device const ACC* before [[buffer(1)]],
                          device OUT* out [[buffer(2)]], constant long* dims [[buffer(3)]],
                          constant Scan& scan [[buffer(4)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          uint3 groups [[threadgroups_per_grid]],
                          uint lane [[thread_index_in_simdgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup ACC tiles[2 * 32 * 33];
  threadgroup ACC* tile = tiles + simdgroup * tile_size;
  const ulong number = first_section(group, groups, simdgroup);
  const ulong row = (number + lane) / ulong(scan.sections);
  const long section = long(number + lane - row * ulong(scan.sections));
  const long length = row < ulong(scan.rows) ? length_of(scan, section) : 0;
  ACC value = IDENTITY;
  const bool alone = scan.sections == 1;
  const ACC earlier = !alone && length > 0 ? before[number + lane] : ACC(IDENTITY);
  for (long first = 0; first < scan.section; first += 32) {
    load_tile(x, dims, scan, number, first, tile, lane);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const long count = min(length - first, long(32));
    for (long k = 0; k < count; ++k) {
      value = join(value, tile[lane * tile_row + k]);
      tile[lane * tile_row + k] = alone ? value : join(earlier, value);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint r = 0; r < 32; ++r) {
      const ulong to_row = (number + r) / ulong(scan.sections);
      if (to_row >= ulong(scan.rows)) break;
      const long to_section = long(number + r - to_row * ulong(scan.sections));
      const long i = first + long(lane), place = to_section * scan.section + i;
      if (i < scan.section && place < scan.n) {
        out[to_row * ulong(scan.n) + ulong(place)] = OUT(tile[r * tile_row + lane]);
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}
