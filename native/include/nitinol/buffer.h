// Buffer: a block of device memory shared by the nodes and exports that refer to it.
#pragma once

#include <cstddef>

#include "nitinol/memory.h"
#include "nitinol/reclaim.h"
#include "nitinol/ref.h"

namespace nitinol {

class Buffer : public Counted<Buffer> {
 public:
  // null when the memory cannot be had.
  static Ref<Buffer> allocate(Allocator& allocator, std::size_t bytes) noexcept;
  // Memory of somebody else (a NumPy array, a DLPack capsule), alive while `keep` is.
  static Ref<Buffer> borrow(void* data, std::size_t bytes, Ref<Keep> keep);

  // What a buffer of so many bytes takes from its allocator.
  static std::size_t footprint(std::size_t bytes) noexcept;

  char* data() const noexcept { return data_; }
  // What a device of its own memory calls it: null where that is the host's.
  void* handle() const noexcept { return handle_; }
  std::size_t offset() const noexcept { return offset_; }  // of `data` in the handle's memory
  std::size_t bytes() const noexcept { return bytes_; }
  bool borrowed() const noexcept { return allocator_ == nullptr; }
  bool is_of(const Allocator& allocator) const noexcept { return allocator_ == &allocator; }

  static void destroy(Buffer* self) noexcept;

 private:
  Buffer() noexcept = default;

  char* data_ = nullptr;
  std::size_t bytes_ = 0;
  void* handle_ = nullptr;
  std::size_t offset_ = 0;
  Allocator* allocator_ = nullptr;  // null: borrowed
  Ref<Keep> keep_;
};

}  // namespace nitinol
