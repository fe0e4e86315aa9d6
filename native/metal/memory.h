// Memory of the Metal device: shared between host and GPU, small blocks carved from slabs.
#pragma once

#import <Metal/Metal.h>

#include <cstddef>
#include <map>
#include <unordered_map>
#include <vector>

#include "nitinol/memory.h"
#include "objc.h"
#include "residency.h"

namespace nitinol::metal {

// The handle of a block is its id<MTLBuffer>, which the source keeps alive. An MTLBuffer takes
// whole pages and some microseconds to make, so blocks of up to `largest_small` share one.
class BufferSource final : public MemorySource {
 public:
  // So many bytes at most are kept resident.
  BufferSource(id<MTLDevice> device, std::size_t most_resident)
      : residency(device, most_resident), device_(device) {}

  Block allocate(std::size_t bytes) noexcept override;
  void free(const Block& block, std::size_t bytes) noexcept override;
  void freed() noexcept override { residency.flush(); }
  std::size_t resident() const noexcept override { return residency.bytes(); }
  const char* residency_description() const noexcept override { return residency.description(); }

  Residency residency;

 private:
  static constexpr std::size_t largest_small = std::size_t{64} << 10;
  static constexpr std::size_t slab_bytes = std::size_t{1} << 20;

  struct Slab {
    Owned<id<MTLBuffer>> buffer;
    std::size_t block = 0;  // bytes of each
    std::vector<std::size_t> free;
    std::size_t blocks = 0;
  };

  Owned<id<MTLBuffer>> make(std::size_t bytes) noexcept;
  Block carve(std::size_t bytes);

  id<MTLDevice> device_;                                 // immortal, as the devices are
  std::unordered_map<void*, Slab> slabs_;                // by handle
  std::map<std::size_t, std::vector<void*>> with_room_;  // handles by the size of their blocks
};

}  // namespace nitinol::metal
