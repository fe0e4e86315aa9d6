// Moving elements between strided regions, and the kernels that are hardly more.
#pragma once

#include "cpu/kernels/iterate.h"

namespace nitinol::cpu::kernels {

void copy(const Launch& launch) noexcept;
void arange(const Launch& launch) noexcept;

// Copies a region element by element in any strides (operand 0: destination, 1:
// source, in bytes), on all threads where that pays. The regions don't overlap.
void copy_region(std::size_t itemsize, const Nest<2>& nest, char* dst, const char* src) noexcept;

// The same on the calling thread, without tiles: for small regions inside other loops.
void copy_region_inline(std::size_t itemsize, const Nest<2>& nest, char* dst,
                        const char* src) noexcept;

// The same as copy_region with the region given by layouts of one shape: `dst` row-major strides of
// the array `dst_shape`, which may be larger than the region.
void copy_into(const View& src, char* dst, std::span<const std::int64_t> dst_shape) noexcept;

}  // namespace nitinol::cpu::kernels
