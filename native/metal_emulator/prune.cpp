// Removal of compiled kernels, by when they were used last.
#include "prune.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <vector>

namespace metal_emulator {
namespace {

namespace fs = std::filesystem;
using Time = fs::file_time_type;

void prune_kernels(const fs::path& folder, Time now, const Bounds& bounds) {
  struct Kernel {
    Time used;
    std::uint64_t bytes;
    fs::path path;
  };
  std::vector<Kernel> kernels;
  std::uint64_t total = 0;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    const fs::path& path = entry.path();
    const bool is_kernel = path.extension() == ".so" && path.filename() != "server.so";
    if (!is_kernel && path.extension() != ".checked") continue;
    const Time used = entry.last_write_time(gone);
    const std::uint64_t bytes = gone ? 0 : entry.file_size(gone);
    if (gone) continue;
    kernels.push_back({used, bytes, path});
    total += bytes;
  }
  if (total <= bounds.bytes) return;
  std::sort(kernels.begin(), kernels.end(),
            [](const Kernel& a, const Kernel& b) { return a.used < b.used; });
  for (const Kernel& kernel : kernels) {
    if (total <= bounds.bytes / 2) return;
    if (now - kernel.used < std::chrono::seconds(bounds.seconds_spared)) return;
    if (fs::remove(kernel.path, gone)) total -= kernel.bytes;
  }
}

}  // namespace

bool touch(const std::string& path) { return utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0; }

void prune(const std::string& root, const Bounds& bounds) {
  const Time now = Time::clock::now();
  const fs::path stamp = fs::path(root) / "pruned";
  std::error_code failure;
  const Time last = fs::last_write_time(stamp, failure);
  if (!failure && now - last < std::chrono::hours(24)) return;
  const int file = open(stamp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return;
  close(file);
  touch(stamp.string());
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root, failure)) {
    if (entry.is_directory(failure)) folders.push_back(entry.path());
  }
  for (const fs::path& folder : folders) {
    const Time used = fs::last_write_time(folder / "metal.pch", failure);
    if (failure) continue;  // not one of ours, or one that is being made
    if (now - used > std::chrono::seconds(bounds.seconds_unused)) {
      fs::remove_all(folder, failure);
    } else {
      prune_kernels(folder, now, bounds);
    }
  }
}

}  // namespace metal_emulator
