// Arena: memory for the small parts of one submission, freed all at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <span>
#include <type_traits>

namespace nitinol {

class Arena {
 public:
  Arena() noexcept = default;
  ~Arena() { clear(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Value-initialised; destructors never run.
  template <class T>
  std::span<T> array(std::size_t n) {
    static_assert(std::is_trivially_destructible_v<T>);
    T* p = static_cast<T*>(raw(n * sizeof(T), alignof(T)));
    for (std::size_t i = 0; i < n; ++i) new (p + i) T();
    return {p, n};
  }

  void clear() noexcept {
    while (chunks_) {
      Chunk* next = chunks_->next;
      std::free(chunks_);
      chunks_ = next;
    }
    cursor_ = end_ = nullptr;
  }

 private:
  struct Chunk {
    Chunk* next;
  };

  void* raw(std::size_t bytes, std::size_t alignment) {
    auto at = (reinterpret_cast<std::uintptr_t>(cursor_) + alignment - 1) & ~(alignment - 1);
    if (cursor_ == nullptr || at + bytes > reinterpret_cast<std::uintptr_t>(end_)) {
      const std::size_t size = sizeof(Chunk) + bytes + alignment + next_size_;
      auto* chunk = static_cast<Chunk*>(std::malloc(size));
      if (!chunk) throw std::bad_alloc();
      if (next_size_ < 256 * 1024) next_size_ *= 2;
      chunk->next = chunks_;
      chunks_ = chunk;
      cursor_ = reinterpret_cast<char*>(chunk + 1);
      end_ = reinterpret_cast<char*>(chunk) + size;
      at = (reinterpret_cast<std::uintptr_t>(cursor_) + alignment - 1) & ~(alignment - 1);
    }
    cursor_ = reinterpret_cast<char*>(at + bytes);
    return reinterpret_cast<void*>(at);
  }

  Chunk* chunks_ = nullptr;
  char* cursor_ = nullptr;
  char* end_ = nullptr;
  std::size_t next_size_ = 1024;
};

}  // namespace nitinol
