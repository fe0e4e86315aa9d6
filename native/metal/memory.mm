// Blocks of MTLBuffers. All calls come under the allocator's lock.
#include "memory.h"

#include <algorithm>
#include <new>

namespace nitinol::metal {

Owned<id<MTLBuffer>> BufferSource::make(std::size_t bytes) noexcept {
  Pool pool;
  auto buffer =
      Owned<id<MTLBuffer>>::adopt([device_ newBufferWithLength:bytes
                                                       options:MTLResourceStorageModeShared]);
  if (buffer) residency.add(buffer.get());
  return buffer;
}

Block BufferSource::allocate(std::size_t bytes) noexcept {
  if (bytes <= largest_small) {
    try {
      return carve(bytes);
    } catch (const std::bad_alloc&) {
      return {};
    }
  }
  if (bytes > [device_ maxBufferLength]) return {};
  Owned<id<MTLBuffer>> buffer = make(bytes);
  if (!buffer) return {};
  void* data = [buffer.get() contents];
  return {data, (void*)[buffer.get() retain], 0};
}

Block BufferSource::carve(std::size_t bytes) {
  std::vector<void*>& candidates = with_room_[bytes];
  if (candidates.empty()) {
    Slab slab;
    slab.block = bytes;
    slab.blocks = slab_bytes / bytes;
    slab.free.reserve(slab.blocks);
    // The highest first, so that the lowest is taken first.
    for (std::size_t i = slab.blocks; i-- > 0;) slab.free.push_back(i * bytes);
    // Behind the last block a few bytes more: an array of no bytes that begins at the end of
    // its block has a valid address all the same.
    slab.buffer = make(slab.blocks * bytes + 64);
    if (!slab.buffer) return {};
    void* handle = (void*)slab.buffer.get();
    candidates.reserve(candidates.size() + 1);
    slabs_.emplace(handle, std::move(slab));
    candidates.push_back(handle);
  }
  void* handle = candidates.back();
  Slab& slab = slabs_.find(handle)->second;
  const std::size_t offset = slab.free.back();
  slab.free.pop_back();
  if (slab.free.empty()) candidates.pop_back();
  return {static_cast<char*>([slab.buffer.get() contents]) + offset, handle, offset};
}

void BufferSource::free(const Block& block, std::size_t bytes) noexcept {
  if (bytes > largest_small) {
    residency.remove(Owned<id<MTLBuffer>>::adopt((id<MTLBuffer>)block.handle));
    return;
  }
  const auto at = slabs_.find(block.handle);
  Slab& slab = at->second;
  std::vector<void*>& candidates = with_room_.find(slab.block)->second;
  if (slab.free.empty()) {
    try {
      candidates.push_back(block.handle);
    } catch (const std::bad_alloc&) {
      return;  // the block stays unused: that is all that is lost
    }
  }
  slab.free.push_back(block.offset);  // has room for all of its blocks
  if (slab.free.size() < slab.blocks) return;
  candidates.erase(std::find(candidates.begin(), candidates.end(), block.handle));
  residency.remove(std::move(slab.buffer));
  slabs_.erase(at);
}

}  // namespace nitinol::metal
