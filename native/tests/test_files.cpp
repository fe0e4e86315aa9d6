// read_file: what it reads, swaps and converts, and what it says of files that changed.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/kernels/files.h"

namespace {

using namespace nitinol;
using namespace nitinol::cpu;

// A row-major output.
template <class T>
struct Array {
  explicit Array(std::int64_t size) : memory(new T[size]()), layout(std::span(&size, 1)) {
    first = memory.get();
  }
  View view(DType dtype) { return {reinterpret_cast<char*>(first), &layout, dtype}; }

  std::unique_ptr<T[]> memory;
  Layout layout;
  T* first;
};

Fault read(View output, const Params& params) {
  FaultSlot slot;
  kernels::read_file(Launch{params, {}, output, slot});
  return slot.failed() ? slot.get() : Fault{};
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder ? folder : "/tmp") + "/nitinol_test_XXXXXX";
    const int descriptor = mkstemp(path_.data());
    CHECK(descriptor >= 0);
    CHECK(write(descriptor, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    struct stat status;
    CHECK(fstat(descriptor, &status) == 0);
#ifdef __APPLE__
    const timespec written = status.st_mtimespec;
#else
    const timespec written = status.st_mtim;
#endif
    mtime_ = std::int64_t{written.tv_sec} * 1000000000 + written.tv_nsec;
    size_ = status.st_size;
    close(descriptor);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }

  void fill(Params& params, std::int64_t offset, bool swapped, std::int64_t dtype) const {
    params.text = path_;
    params.ints = {offset, swapped, dtype, size_, mtime_};
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::int64_t size_ = 0, mtime_ = 0;
};

void test_read_file() {
  constexpr std::int64_t count = 3000000, offset = 5;  // several chunks, unaligned
  std::vector<float> data(count);
  for (float& x : data) x = static_cast<float>(std::rand()) / 7;
  std::string bytes(offset, 'x');
  bytes.append(reinterpret_cast<const char*>(data.data()), count * sizeof(float));
  const TemporaryFile file(bytes + "tail");
  Array<float> out(count);
  const View view = out.view(DType::float32);
  Params params;
  file.fill(params, offset, false, -1);
  CHECK(read(view, params).code == Code::none);
  CHECK(std::memcmp(out.first, data.data(), count * sizeof(float)) == 0);

  file.fill(params, offset, true, -1);
  CHECK(read(view, params).code == Code::none);
  for (std::int64_t i : {std::int64_t{0}, count / 2, count - 1}) {
    CHECK(std::bit_cast<std::uint32_t>(out.first[i]) ==
          __builtin_bswap32(std::bit_cast<std::uint32_t>(data[i])));
  }

  // Another time of modification, then a size that no longer holds the data, then nothing at all.
  file.fill(params, offset, false, -1);
  const timespec times[2] = {{0, UTIME_OMIT}, {1000, 0}};
  CHECK(utimensat(AT_FDCWD, file.path().c_str(), times, 0) == 0);
  const Fault changed = read(view, params);
  CHECK(changed.code == Code::io && changed.native == ESTALE);
  CHECK(changed.args[0] == offset && changed.args[1] == count * 4);
  params.ints[4] = kernels::unchecked_mtime;
  CHECK(read(view, params).code == Code::none);
  CHECK(truncate(file.path().c_str(), 1000) == 0);
  const Fault cut = read(view, params);
  CHECK(cut.code == Code::io && cut.native == 0);
  CHECK(cut.args[0] == offset && cut.args[1] == count * 4 && cut.args[2] == 1000 - offset);
  CHECK(unlink(file.path().c_str()) == 0);
  CHECK(read(view, params).native == ENOENT);
  CHECK(mkfifo(file.path().c_str(), 0600) == 0);
  CHECK(read(view, params).native == ESTALE);
  CHECK(unlink(file.path().c_str()) == 0 && mkdir(file.path().c_str(), 0700) == 0);
  CHECK(read(view, params).native == EISDIR);
  CHECK(rmdir(file.path().c_str()) == 0);
}

void test_read_conversions() {
  std::string bytes;
  for (int i = 0; i < 65536; ++i) bytes.append(reinterpret_cast<const char*>(&i), 2);
  const TemporaryFile file(bytes);
  Array<float> out(65536);
  Params params;
  for (const bool half : {true, false}) {
    for (const bool swapped : {false, true}) {
      file.fill(params, 0, swapped,
                half ? static_cast<std::int64_t>(DType::float16) : kernels::file_bfloat16);
      CHECK(read(out.view(DType::float32), params).code == Code::none);
      for (std::uint32_t i = 0; i < 65536; ++i) {
        const auto bits = static_cast<std::uint16_t>(swapped ? __builtin_bswap16(i) : i);
        const float wanted = half ? static_cast<float>(std::bit_cast<float16>(bits))
                                  : std::bit_cast<float>(std::uint32_t{bits} << 16);
        CHECK(wanted == out.first[i] || (wanted != wanted && out.first[i] != out.first[i]));
      }
    }
  }
  // Bytes of a file that are no booleans.
  Array<bool> flags(65536);
  file.fill(params, 0, false, -1);
  CHECK(read(flags.view(DType::bool_), params).code == Code::none);
  for (int i = 0; i < 65536; ++i) {
    std::uint8_t byte;
    std::memcpy(&byte, flags.first + i, 1);
    CHECK(byte == (bytes[i] != 0));
  }
  // Complex numbers keep the order of their parts.
  Array<complex64> pairs(100);
  file.fill(params, 0, true, -1);
  CHECK(read(pairs.view(DType::complex64), params).code == Code::none);
  std::uint32_t first;
  std::memcpy(&first, bytes.data(), 4);
  CHECK(std::bit_cast<std::uint32_t>(pairs.first[0].real()) == __builtin_bswap32(first));
  file.fill(params, 0, false, static_cast<std::int64_t>(DType::int8));
  CHECK(read(pairs.view(DType::complex64), params).code == Code::internal);
}

}  // namespace

int main() {
  test_read_file();
  test_read_conversions();
  return 0;
}
