// Allocator and Buffer: size classes, huge pages, the limit, and admission.
#include "nitinol/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>

#include "nitinol/buffer.h"
#include "nitinol/schedule.h"

namespace nitinol {

namespace {

constexpr std::size_t alignment = 64;
// Sizes from here on are multiples of a page of any system, being a quarter step of their power of
// two.
constexpr std::size_t mapped_from = std::size_t{128} << 10;
constexpr std::size_t huge_from = std::size_t{4} << 20;
constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t largest = std::size_t{1} << 62;

// Four classes between two powers of two, so that at most a fifth is wasted.
std::size_t class_size(std::size_t bytes) noexcept {
  if (bytes <= 4 * alignment) return std::max<std::size_t>(1, (bytes + 63) / 64) * 64;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

int class_of(std::size_t size) noexcept {
  const int power = std::bit_width(size) - 1;
  return power * 4 + static_cast<int>((size >> (power - 2)) & 3);
}

std::size_t size_of_class(int number) noexcept {
  return (std::size_t{4} + (number & 3)) << (number / 4 - 2);
}

// Blocks from mapped_from on are mapped one by one and go back to the system when they are freed.
// From malloc they would come out of its arenas, where the small blocks between them keep the pages
// of those that were freed: a server that trims its cache now and then grew by hundreds of MB in
// that way.
class HostMemory final : public MemorySource {
 public:
  Block allocate(std::size_t size) noexcept override {
    if (size < mapped_from) return {std::aligned_alloc(alignment, size)};
    return {size < huge_from ? map(size) : map_huge(size)};
  }

  void free(const Block& block, std::size_t size) noexcept override {
    if (size < mapped_from) {
      std::free(block.data);
    } else {
      ::munmap(block.data, size);
    }
  }

 private:
  static std::byte* map(std::size_t size) noexcept {
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return data == MAP_FAILED ? nullptr : static_cast<std::byte*>(data);
  }

  // The kernel backs only aligned ranges by huge pages: maps more and gives both ends back.
  static std::byte* map_huge(std::size_t size) noexcept {
    std::byte* mapped = map(size + huge_page);
    if (!mapped) return nullptr;
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(mapped) & (huge_page - 1);
    std::byte* block = mapped + before;
    if (before > 0) ::munmap(mapped, before);
    if (before < huge_page) ::munmap(block + size, huge_page - before);
#if defined(MADV_HUGEPAGE)
    // Only a hint: without huge pages the memory is slower, not wrong.
    ::madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }
};

std::size_t read_limit(const char* path) noexcept {
  std::size_t limit = std::numeric_limits<std::size_t>::max();
  if (std::FILE* file = std::fopen(path, "re")) {
    unsigned long long value = 0;
    if (std::fscanf(file, "%llu", &value) == 1) limit = value;
    std::fclose(file);
  }
  return limit;
}

}  // namespace

MemorySource& MemorySource::host() noexcept {
  static auto* source = new HostMemory;
  return *source;
}

Block Allocator::take(std::size_t bytes) noexcept {
  if (bytes > largest || forked()) return {};
  const std::size_t size = class_size(bytes);
  std::lock_guard lock(mutex_);
  if (size > limit_ || in_use_ > limit_ - size) return {};
  Free*& list = free_[class_of(size)];
  Block block;
  if (list) {
    block = {list, list->handle, list->offset};
    list = list->next;
    cached_ -= size;
  } else {
    if (in_use_ + cached_ > limit_ - size) trim_locked();
    block = source_.allocate(size);
    if (!block.data && cached_ > 0) {
      trim_locked();
      block = source_.allocate(size);
    }
    if (!block.data) return {};
  }
  in_use_ += size;
  peak_ = std::max(peak_, in_use_);
  return block;
}

void Allocator::give(const Block& block, std::size_t bytes) noexcept {
  // In a forked child the lock may be held by a thread that does not exist there, so
  // none of these functions touches it, and memory is left to the end of the process.
  if (forked()) return;
  const std::size_t size = class_size(bytes);
  std::lock_guard lock(mutex_);
  in_use_ -= size;
  Free*& list = free_[class_of(size)];
  auto* entry = new (block.data) Free{list, block.handle, block.offset};
  list = entry;
  cached_ += size;
  if (in_use_ + cached_ > limit_) trim_locked();
}

Allocator::Admission Allocator::admit(std::size_t bytes, bool endless) noexcept {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = tickets_++;
  left_.wait(lock, [&] {
    return ticket == turn_ && (admitted_ == 0 || bytes > limit_ || fits_locked(bytes));
  });
  ++turn_;
  const Admission admission{bytes > limit_ ? 0 : bytes, endless};
  if (!endless) ++admitted_;
  reserved_ += admission.bytes;
  if (turn_ != tickets_) left_.notify_all();  // the next may fit as well
  return admission;
}

bool Allocator::admits_now(std::size_t bytes) const noexcept {
  std::lock_guard lock(mutex_);
  return turn_ == tickets_ && fits_locked(bytes);
}

bool Allocator::fits_locked(std::size_t bytes) const noexcept {
  // Compared without sums: a planned peak may be as large as a size can be.
  const std::size_t held = in_use_ + std::min(reserved_, ~in_use_);
  return bytes <= limit_ && held <= limit_ - bytes;
}

void Allocator::leave(const Admission& admission) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (!admission.endless) --admitted_;
    reserved_ -= admission.bytes;
  }
  left_.notify_all();
}

std::size_t Allocator::trim_locked() noexcept {
  const std::size_t freed = cached_;
  for (int number = 0; number < class_count; ++number) {
    Free*& list = free_[number];
    while (list) {
      const Block block{list, list->handle, list->offset};
      list = list->next;
      source_.free(block, size_of_class(number));
    }
  }
  cached_ = 0;
  if (freed > 0) source_.freed();
  return freed;
}

std::size_t Allocator::trim() noexcept {
  if (forked()) return 0;
  std::lock_guard lock(mutex_);
  return trim_locked();
}

void Allocator::set_limit(std::size_t bytes) noexcept {
  if (forked()) return;
  {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
    if (in_use_ + cached_ > limit_) trim_locked();
  }
  left_.notify_all();
}

MemoryStats Allocator::stats() const noexcept {
  const auto read = [this] {
    return MemoryStats{in_use_, cached_, peak_, limit_, source_.resident()};
  };
  if (forked()) return read();
  std::lock_guard lock(mutex_);
  return read();
}

void Allocator::reset_peak() noexcept {
  if (forked()) return;
  std::lock_guard lock(mutex_);
  peak_ = in_use_;
}

std::size_t default_memory_limit() noexcept {
  std::size_t limit = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  limit = std::min(limit, read_limit("/sys/fs/cgroup/memory.max"));
  limit = std::min(limit, read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  return limit / 10 * 8;
}

// The header lies in front of its data: one allocation a buffer.
static_assert(sizeof(Buffer) <= alignment);

Ref<Buffer> Buffer::allocate(Allocator& allocator, std::size_t bytes) noexcept {
  const Block block = allocator.take(bytes + alignment);
  if (!block.data) return nullptr;
  auto* buffer = new (block.data) Buffer;
  buffer->data_ = static_cast<char*>(block.data) + alignment;
  buffer->bytes_ = bytes;
  buffer->handle_ = block.handle;
  buffer->offset_ = block.offset + alignment;
  buffer->allocator_ = &allocator;
  return Ref<Buffer>::adopt(buffer);
}

std::size_t Buffer::footprint(std::size_t bytes) noexcept {
  return bytes > largest ? bytes : class_size(bytes + alignment);
}

Ref<Buffer> Buffer::borrow(void* data, std::size_t bytes, Ref<Keep> keep) {
  auto* buffer = new Buffer;
  buffer->data_ = static_cast<char*>(data);
  buffer->bytes_ = bytes;
  buffer->keep_ = std::move(keep);
  return Ref<Buffer>::adopt(buffer);
}

void Buffer::destroy(Buffer* self) noexcept {
  if (!self->allocator_) {
    delete self;
    return;
  }
  Allocator* allocator = self->allocator_;
  const std::size_t bytes = self->bytes_;
  const Block block{self, self->handle_, self->offset_ - alignment};
  self->~Buffer();
  allocator->give(block, bytes + alignment);
}

}  // namespace nitinol
