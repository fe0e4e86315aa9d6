// Copies of elements of type T; POSITION is uint or ulong, whichever counts them.

kernel void copy_dense(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                       constant long& size [[buffer(3)]], uint3 at [[thread_position_in_grid]],
                       uint3 grid [[threads_per_grid]]) {
  const ulong first = flat_position(at, grid) * 4;
  for (ulong i = first; i < min(first + 4, ulong(size)); ++i) out[i] = x[i];
}

kernel void copy_strided(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                         constant long* dims [[buffer(2)]], constant long& size [[buffer(3)]],
                         uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]]) {
  const ulong i = flat_position(at, grid);
  if (i >= ulong(size)) return;
  out[walk(POSITION(i), dims, 0)] = x[walk(POSITION(i), dims, 1)];
}

struct Tiles {
  long rows, columns, row_tiles, column_tiles, count;
  long to_row, to_column, from_row, from_column;
};

// The source is dense along rows, the destination along columns: each is walked in its
// own direction, through a square of threadgroup memory (a column wider, so that
// neither direction meets one memory bank).
kernel void copy_tiles(device const T* x [[buffer(0)]], device T* out [[buffer(1)]],
                       constant long* dims [[buffer(2)]], constant Tiles& tiles [[buffer(3)]],
                       uint3 group [[threadgroup_position_in_grid]],
                       uint3 groups [[threadgroups_per_grid]],
                       uint3 thread_at [[thread_position_in_threadgroup]]) {
  threadgroup T square[32][33];
  const ulong number = flat_position(group, groups);
  if (number >= ulong(tiles.count)) return;
  const ulong across = ulong(tiles.column_tiles);
  const ulong rest = number / across;
  const ulong outer = rest / ulong(tiles.row_tiles);
  const long column = long(number - rest * across) * 32;
  const long row = long(rest - outer * ulong(tiles.row_tiles)) * 32;
  device const T* from = x + walk(outer, dims, 1);
  device T* to = out + walk(outer, dims, 0);
  const long i = long(thread_at.x);
  for (long j = long(thread_at.y); j < 32; j += 8) {
    if (row + i < tiles.rows && column + j < tiles.columns) {
      square[j][i] = from[(row + i) * tiles.from_row + (column + j) * tiles.from_column];
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (long j = long(thread_at.y); j < 32; j += 8) {
    if (row + j < tiles.rows && column + i < tiles.columns) {
      to[(row + j) * tiles.to_row + (column + i) * tiles.to_column] = square[i][j];
    }
  }
}
