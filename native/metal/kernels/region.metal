// Copies of strided regions, of elements that are only moved. T: an unsigned type of their size.
// INDEX: the type that positions are counted in.

#if defined(REGIONS)
// `regions`: where each region's entry begins; an entry is the destination's offset, the size, then
// a walk over destination and source.
kernel void copy_regions(device T* out [[buffer(0)]], constant long* regions [[buffer(1)]],
                         device const T* source0 [[buffer(2)]],
#if REGIONS > 1
                         device const T* source1 [[buffer(3)]],
#endif
#if REGIONS > 2
                         device const T* source2 [[buffer(4)]],
#endif
#if REGIONS > 3
                         device const T* source3 [[buffer(5)]],
#endif
#if REGIONS > 4
                         device const T* source4 [[buffer(6)]],
#endif
#if REGIONS > 5
                         device const T* source5 [[buffer(7)]],
#endif
#if REGIONS > 6
                         device const T* source6 [[buffer(8)]],
#endif
#if REGIONS > 7
                         device const T* source7 [[buffer(9)]],
#endif
                         uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  constant long* region = regions + regions[at.y];
  const ulong position = ulong(at.z) * grid.x + at.x;
  if (position >= ulong(region[1])) return;
  device const T* source = source0;
#if REGIONS > 1
  if (at.y == 1) source = source1;
#endif
#if REGIONS > 2
  if (at.y == 2) source = source2;
#endif
#if REGIONS > 3
  if (at.y == 3) source = source3;
#endif
#if REGIONS > 4
  if (at.y == 4) source = source4;
#endif
#if REGIONS > 5
  if (at.y == 5) source = source5;
#endif
#if REGIONS > 6
  if (at.y == 6) source = source6;
#endif
#if REGIONS > 7
  if (at.y == 7) source = source7;
#endif
  const INDEX flat = INDEX(position);
  out[region[0] + walk(flat, region + 2, 0)] = source[walk(flat, region + 2, 1)];
}
#endif

// An integer of any type by the number of its DType, as a long: values beyond that become its
// largest.
inline long load_integer(device const uchar* at, int dtype) {
  switch (dtype) {
    case 1:
      return *(device const char*)at;
    case 2:
      return *(device const short*)at;
    case 3:
      return *(device const int*)at;
    case 4:
      return *(device const long*)at;
    case 5:
      return *at;
    case 6:
      return *(device const ushort*)at;
    case 7:
      return *(device const uint*)at;
    default:
      return long(min(*(device const ulong*)at, ulong(0x7fffffffffffffff)));
  }
}

#if defined(STARTS)
struct Start {
  long last;    // the largest that leaves the update inside
  long stride;  // of the axis in the output
  long dtype;
};

// The update's elements to where the starts say. `size` elements; the walk: output, update.
kernel void update_region(device T* out [[buffer(0)]], device const T* update [[buffer(1)]],
                          constant long* dims [[buffer(2)]], constant ulong& size [[buffer(3)]],
                          constant Start* starts [[buffer(4)]],
#if STARTS_IN_TABLE
                          device const long* table [[buffer(5)]],
#else
                          device const uchar* start0 [[buffer(5)]],
#if STARTS > 1
                          device const uchar* start1 [[buffer(6)]],
#endif
#if STARTS > 2
                          device const uchar* start2 [[buffer(7)]],
#endif
#if STARTS > 3
                          device const uchar* start3 [[buffer(8)]],
#endif
#endif
                          uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong position = flat_position(at, grid);
  if (position >= size) return;
  long base = 0;
#if STARTS_IN_TABLE
  for (int k = 0; k < STARTS; ++k) {
    base += clamp(table[k], long(0), starts[k].last) * starts[k].stride;
  }
#else
  base +=
      clamp(load_integer(start0, int(starts[0].dtype)), long(0), starts[0].last) * starts[0].stride;
#if STARTS > 1
  base +=
      clamp(load_integer(start1, int(starts[1].dtype)), long(0), starts[1].last) * starts[1].stride;
#endif
#if STARTS > 2
  base +=
      clamp(load_integer(start2, int(starts[2].dtype)), long(0), starts[2].last) * starts[2].stride;
#endif
#if STARTS > 3
  base +=
      clamp(load_integer(start3, int(starts[3].dtype)), long(0), starts[3].last) * starts[3].stride;
#endif
#endif
  const INDEX flat = INDEX(position);
  out[base + walk(flat, dims, 0)] = update[walk(flat, dims, 1)];
}
#endif

// One start into a table of them, for updates with more than a kernel has arguments for.
kernel void load_start(device long* table [[buffer(0)]], device const uchar* start [[buffer(1)]],
                       constant int2& place_and_dtype [[buffer(2)]],
                       uint3 at [[thread_position_in_grid]]) {
  if (at.x == 0) table[place_and_dtype.x] = load_integer(start, place_and_dtype.y);
}
