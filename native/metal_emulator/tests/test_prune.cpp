// The folder of compiled kernels stays within its bounds, and what is in use stays in it.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "metal_emulator/prune.h"

using namespace metal_emulator;

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

void make(const fs::path& path, std::chrono::seconds age, std::size_t bytes = 1000) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << std::string(bytes, 'x');
  fs::last_write_time(path, fs::file_time_type::clock::now() - age);
}

}  // namespace

int main() {
  char name[] = "/tmp/nitinol-prune-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  const fs::path root = name, used = root / "used", old = root / "old", other = root / "other";
  const auto day = 24h;
  const auto kernel = [&](int i) { return used / (std::to_string(i) + ".so"); };
  const auto kernels = [&] {
    std::string left;
    for (int i = 0; i < 10; ++i) {
      if (fs::exists(kernel(i))) left += std::to_string(i);
    }
    return left;
  };
  const Bounds small{.seconds_unused = 30 * 86400, .bytes = 5000, .seconds_spared = 3600};

  CHECK(!touch((used / "metal.pch").string()));
  make(used / "metal.pch", 29 * day, 100000);
  make(used / "server.so", 400 * day);
  make(used / "lock", 400 * day);
  for (int i = 0; i < 10; ++i) make(kernel(i), (i + 1) * 1h);
  make(old / "metal.pch", 31 * day);
  make(old / "1.so", 31 * day);
  make(other / "mine.txt", 400 * day);

  // Within the bounds only the old folder goes.
  prune(root.string(), {.seconds_unused = 30 * 86400, .bytes = 10000, .seconds_spared = 3600});
  CHECK(!fs::exists(old) && fs::exists(other / "mine.txt") && kernels() == "0123456789");
  // Not twice a day.
  prune(root.string(), small);
  CHECK(kernels() == "0123456789");
  // Those that were used least lately go, and nothing else.
  CHECK(touch(kernel(7).string()));
  fs::last_write_time(root / "pruned", fs::file_time_type::clock::now() - 25h);
  prune(root.string(), small);
  CHECK(kernels() == "07");
  CHECK(fs::exists(used / "metal.pch") && fs::exists(used / "server.so"));
  CHECK(fs::exists(used / "lock"));
  // What may be in use stays, however much it is.
  for (int i = 0; i < 10; ++i) make(kernel(i), 10min);
  fs::remove(root / "pruned");
  prune(root.string(), small);
  CHECK(kernels() == "0123456789");
  CHECK(fs::exists(root / "pruned"));
  prune((root / "nowhere").string());
  fs::remove_all(root);
}
