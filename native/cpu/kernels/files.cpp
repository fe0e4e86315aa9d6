// Reading arrays from files with pread, never a mapping: a file that was cut short is a fault here
// and would be a fatal signal there. A file that changed since the graph was built is a fault too.
#include "cpu/kernels/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "cpu/half.h"
#include "cpu/pool.h"

namespace nitinol::cpu::kernels {
namespace {

constexpr std::int64_t chunk_bytes = std::int64_t{4} << 20;

class File {
 public:
  // O_NONBLOCK: a name that has become a pipe must not block the worker. No effect on files.
  explicit File(const char* path) noexcept {
    do {
      descriptor_ = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (descriptor_ < 0 && errno == EINTR);
    error_ = descriptor_ < 0 ? errno : 0;
  }
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int error() const noexcept { return error_; }

  // Bytes read, fewer than wanted at the end of the file; on an error `error` is set.
  std::int64_t read(char* target, std::int64_t wanted, std::int64_t offset,
                    int& error) const noexcept {
    std::int64_t done = 0;
    error = 0;
    while (done < wanted) {
      const ssize_t got =
          pread(descriptor_, target + done, static_cast<std::size_t>(wanted - done), offset + done);
      if (got > 0) {
        done += got;
      } else if (got == 0) {
        break;
      } else if (errno != EINTR) {
        error = errno;
        break;
      }
    }
    return done;
  }

  // What became of the file that was `size` bytes long and last written at `mtime` when the graph
  // was built; `needed` is where the wanted bytes end.
  struct Status {
    int error = 0;           // 0, ESTALE when it was written since, or what fstat said
    std::int64_t size = 0;   // now
    bool cut_short = false;  // before `needed`
    bool good() const noexcept { return error == 0 && !cut_short; }
  };
  Status check(std::int64_t size, std::int64_t mtime, std::int64_t needed) const noexcept {
    struct stat now;
    if (fstat(descriptor_, &now) != 0) return {errno};
    if (!S_ISREG(now.st_mode)) return {S_ISDIR(now.st_mode) ? EISDIR : ESTALE};
    if (now.st_size < needed) return {0, now.st_size, true};
#ifdef __APPLE__
    const timespec written = now.st_mtimespec;
#else
    const timespec written = now.st_mtim;
#endif
    const std::int64_t written_ns = std::int64_t{written.tv_sec} * 1000000000 + written.tv_nsec;
    const bool changed = now.st_size != size || (mtime != unchecked_mtime && written_ns != mtime);
    return {changed ? ESTALE : 0, now.st_size, false};
  }

 private:
  int descriptor_ = -1;
  int error_ = 0;
};

template <class U>
void swap_elements(char* data, std::int64_t bytes) noexcept {
  for (std::int64_t i = 0; i < bytes; i += static_cast<std::int64_t>(sizeof(U))) {
    U value;
    std::memcpy(&value, data + i, sizeof value);
    if constexpr (sizeof(U) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(U) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(U) == 8) value = __builtin_bswap64(value);
    std::memcpy(data + i, &value, sizeof value);
  }
}

void swap_bytes(char* data, std::int64_t bytes, std::size_t width) noexcept {
  if (width == 2) swap_elements<std::uint16_t>(data, bytes);
  if (width == 4) swap_elements<std::uint32_t>(data, bytes);
  if (width == 8) swap_elements<std::uint64_t>(data, bytes);
}

// What lies in the file and what it becomes.
struct Format {
  std::int64_t file_itemsize = 0;
  std::size_t swapped = 0;  // width of the parts to reverse; 0: none
  bool from_half = false, from_bfloat16 = false, is_bool = false;

  bool converts() const noexcept { return from_half || from_bfloat16; }

  // false when there is no such conversion.
  static bool of(DType target, std::int64_t source, bool swap, Format& format) noexcept {
    format.from_bfloat16 = source == file_bfloat16;
    format.from_half =
        source == static_cast<std::int64_t>(DType::float16) && target != DType::float16;
    if (format.converts()) {
      if (target != DType::float32) return false;
      format.file_itemsize = 2;
    } else {
      if (source != -1 && source != static_cast<std::int64_t>(target)) return false;
      format.file_itemsize = static_cast<std::int64_t>(itemsize(target));
    }
    format.is_bool = target == DType::bool_;
    // Of a complex number each part is reversed.
    format.swapped =
        !swap ? 0 : static_cast<std::size_t>(format.file_itemsize) / (is_complex(target) ? 2 : 1);
    return true;
  }

  // Makes `count` elements of the output from what was read into `raw`, which is `target` itself
  // unless the dtype changes.
  void finish(char* raw, char* target, std::int64_t count) const noexcept {
    if (swapped) swap_bytes(raw, count * file_itemsize, swapped);
    if (is_bool) {
      // A byte that is neither 0 nor 1 is no value a C++ bool may have.
      for (std::int64_t i = 0; i < count; ++i) target[i] = target[i] != 0;
    }
    if (!converts()) return;
    const auto* from = reinterpret_cast<const std::uint16_t*>(raw);
    float* to = reinterpret_cast<float*>(target);
    if (from_half) {
      for (std::int64_t i = 0; i < count; ++i) to[i] = half_bits_to_float(from[i]);
    } else {
      for (std::int64_t i = 0; i < count; ++i)
        to[i] = std::bit_cast<float>(std::uint32_t{from[i]} << 16);
    }
  }
};

}  // namespace

void read_file(const Launch& launch) noexcept {
  const auto& ints = launch.params.ints;
  Format format;
  if (ints.size() != 5 || !Format::of(launch.output.dtype, ints[2], ints[1] != 0, format)) {
    launch.fault.raise(0, Code::internal);
    return;
  }
  const std::int64_t offset = ints[0], count = launch.output.layout->size();
  const std::int64_t wanted = count * format.file_itemsize;
  const File file(launch.params.text.c_str());
  if (file.error() != 0) {
    launch.fault.raise(0, Code::io, offset, wanted, 0, file.error());
    return;
  }
  const auto unchanged = [&]() noexcept {
    const File::Status status = file.check(ints[3], ints[4], offset + wanted);
    if (status.good()) return true;
    const std::int64_t there =
        status.cut_short ? std::max<std::int64_t>(0, status.size - offset) : 0;
    launch.fault.raise(0, Code::io, offset, wanted, there, status.error);
    return false;
  };
  if (!unchanged()) return;
  const std::int64_t grain = chunk_bytes / format.file_itemsize;
  const auto target_itemsize = static_cast<std::int64_t>(itemsize(launch.output.dtype));
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    char* target = launch.output.data + begin * target_itemsize;
    const std::int64_t bytes = (end - begin) * format.file_itemsize;
    Scratch block(format.converts() ? static_cast<std::size_t>(bytes) : 1);
    if (!block) {
      launch.fault.raise(begin, Code::out_of_memory, bytes);
      return;
    }
    char* raw = format.converts() ? block.as<char>() : target;
    int error = 0;
    const std::int64_t got = file.read(raw, bytes, offset + begin * format.file_itemsize, error);
    if (got != bytes) {
      launch.fault.raise(begin, Code::io, offset, wanted, begin * format.file_itemsize + got,
                         error);
      return;
    }
    format.finish(raw, target, end - begin);
  });
  // Written while it was read: what came is a mixture.
  if (!launch.fault.failed()) unchanged();
}

}  // namespace nitinol::cpu::kernels
