// Runs clang and the linker and keeps what they make.
#include "toolchain.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "fiber.h"
#include "prune.h"
#include "stdlib_text.h"
#include "traffic.h"

namespace metal_emulator {
namespace {

namespace fs = std::filesystem;

// Metal's own names for parts of its standard library; here each is all of it.
constexpr const char* partial_headers[] = {
    "metal_atomic",    "metal_common",           "metal_compute",
    "metal_geometric", "metal_integer",          "metal_limits",
    "metal_math",      "metal_matrix",           "metal_relational",
    "metal_simdgroup", "metal_simdgroup_matrix", "metal_types",
};

std::vector<std::string> compile_flags() {
  std::vector<std::string> flags = {
      "-std=c++17", "-fPIC", "-nostdinc", "-fno-exceptions", "-fno-rtti", "-fno-ident",
      "-fno-math-errno", "-ffp-contract=off", "-fvisibility=hidden", "-fno-strict-aliasing",
      "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fwrapv",
      "-fno-strict-float-cast-overflow", "-w",
      // 1.0 is a float in Metal, and every operation on halves rounds to half.
      "-Xclang", "-cl-single-precision-constant", "-Xclang", "-ffloat16-excess-precision=none"};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    for (const char* flag : {"-mavx2", "-mfma", "-mf16c", "-mpopcnt"}) flags.push_back(flag);
  }
#endif
  if (measures_traffic()) {
    // Of the sanitizer only its calls: stdlib/traffic.h has functions of these names.
    flags.insert(flags.end(), {"-fsanitize=address", "-fsanitize-address-use-after-return=never",
                               "-DMETAL_MEASURES_TRAFFIC=1"});
    for (const char* option :
         {"instrumentation-with-call-threshold=0", "opt=0", "stack=0", "globals=0"}) {
      flags.insert(flags.end(), {"-mllvm", std::string("-asan-") + option});
    }
    return flags;
  }
#if METAL_EMULATOR_TSAN
  flags.insert(flags.end(), {"-fsanitize=thread", "-gline-tables-only"});
#elif METAL_EMULATOR_ASAN
  flags.insert(flags.end(), {"-fsanitize=address", "-gline-tables-only"});
#endif
  return flags;
}

std::vector<std::string> check_flags() {
  return {"-std=c++17", "-nostdinc",
          "-w",         "-DMETAL_CHECKS_ADDRESS_SPACES=1",
          "-Xclang",    "-cl-single-precision-constant"};
}

std::string find_program(const std::vector<std::string>& names) {
  const char* path = std::getenv("PATH");
  for (const std::string& name : names) {
    std::istringstream folders(path != nullptr ? path : "/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
      const std::string candidate = folder + "/" + name;
      if (access(candidate.c_str(), X_OK) == 0) return candidate;
    }
  }
  return "";
}

// Which build of a program this is, without the time it takes to ask it.
std::string identity(const std::string& program) {
  std::error_code ignored;
  const std::string real = fs::canonical(program, ignored).string();
  struct stat info = {};
  stat(real.c_str(), &info);
  return real + " " + std::to_string(info.st_size) + " " + std::to_string(info.st_mtime);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return file.good();
}

// A name that no other thread or process uses.
std::string temporary(const std::string& folder) {
  static std::atomic<unsigned> counter{0};
  return folder + "/tmp." + std::to_string(getpid()) + "." + std::to_string(counter++);
}

// Runs a program and waits for it. What it says goes to `messages`, a file. It gets a
// process group of its own: Ctrl-C is meant for the host.
bool run_program(const std::vector<std::string>& arguments, const std::string& messages) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  pid_t child = -1;
  const std::vector<char*> environment = environment_without_preload();
  const int failure =
      posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) {
    write_file(messages, arguments[0] + ": " + std::strerror(failure) + "\n");
    return false;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return true;  // somebody else collected it: the output tells
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool make_server(const std::string& compiler, const std::string& source, const std::string& made,
                 const std::string& server) {
  const std::string messages = made + ".txt";
  const bool good = run_program({compiler, "-x", "c", "-O1", "-w", "-shared", "-fPIC", source, "-o",
                                 made, "-ldl"},
                                messages) &&
                    rename(made.c_str(), server.c_str()) == 0;
  if (good) unlink(messages.c_str());
  return good;
}

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 32;
  x *= 0xe9846af9b1a615d;
  x ^= x >> 32;
  x *= 0xe9846af9b1a615d;
  return x ^ (x >> 28);
}

}  // namespace

std::string hash_of(const std::string& text) {
  std::uint64_t a = 0x9e3779b97f4a7c15, b = text.size();
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min<std::size_t>(8, text.size() - at);
    std::memcpy(&word, text.data() + at, count);
    a = mix(a + word);
    b = mix((b ^ word) + 0xd1b54a32d192ed03 * (a | 1));
    at += count;
  }
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(a),
                static_cast<unsigned long long>(b));
  return digits;
}

const Toolchain* Toolchain::get(std::string& error) {
  struct Made {
    Toolchain toolchain;
    std::string error;
    Made() {
      if (toolchain.find(error)) toolchain.prepare(error);
    }
  };
  static const Made* const made = new Made;
  error = made->error;
  return error.empty() ? &made->toolchain : nullptr;
}

bool Toolchain::find(std::string& error) {
  compiler_ = find_program({"clang++-19", "clang++"});
  linker_ = find_program({"ld"});
  if (compiler_.empty() || linker_.empty()) {
    error = "The Metal emulator needs clang++-19 and ld on PATH to compile kernels.";
    return false;
  }
  std::string root;
  if (const char* own = std::getenv("NITINOL_EMULATOR_CACHE"); own != nullptr && *own != '\0') {
    root = own;
  } else if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0') {
    root = std::string(xdg) + "/nitinol-metal-emulator";
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    root = std::string(home) + "/.cache/nitinol-metal-emulator";
  } else {
    error = "The Metal emulator keeps compiled kernels in a folder: set NITINOL_EMULATOR_CACHE.";
    return false;
  }
  std::string key = identity(compiler_) + "\n" + identity(linker_) + "\n";
  for (const std::string& flag : compile_flags()) key += flag + "\n";
  for (const StdlibFile& file : stdlib_files()) {
    key.append(file.name).append("\n").append(file.text);
  }
  std::error_code failure;
  fs::create_directories(root, failure);
  folder_ = fs::absolute(root, failure).string() + "/" + hash_of(key);
  fs::create_directories(folder_, failure);
  if (failure) {
    error = "The Metal emulator can't write to " + root + ": " + failure.message();
    return false;
  }
  touch(folder_ + "/metal.pch");
  prune(root);
  return true;
}

bool Toolchain::compile(const std::vector<std::string>& arguments,
                        const std::string& messages) const {
  const std::optional<bool> served = servers_->run(arguments, messages);
  return served.has_value() ? *served : run_program(arguments, messages);
}

bool Toolchain::precompile(const std::vector<std::string>& flags, const std::string& header,
                           std::string& error) const {
  const std::string made = temporary(folder_), messages = made + ".txt";
  std::vector<std::string> arguments = {compiler_};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  arguments.insert(arguments.end(),
                   {"-isystem", folder_, "-x", "c++-header", folder_ + "/all.h", "-o", made});
  const bool good = run_program(arguments, messages) && rename(made.c_str(), header.c_str()) == 0;
  if (!good) {
    error = "The Metal emulator can't precompile its standard library:\n" + read_file(messages);
    unlink(made.c_str());
  }
  unlink(messages.c_str());
  return good;
}

bool Toolchain::check(const std::string& text, std::string& error) const {
  const std::string checked = folder_ + "/" + hash_of(text) + ".checked";
  if (!checks_ || touch(checked)) return true;
  const std::string base = temporary(folder_);
  const std::string source = base + ".cpp", messages = base + ".txt";
  std::vector<std::string> arguments = {compiler_};
  for (const std::string& flag : check_flags()) arguments.push_back(flag);
  arguments.insert(arguments.end(), {"-include-pch", folder_ + "/checked.pch", "-isystem", folder_,
                                     "-fsyntax-only", source});
  const bool good = write_file(source, text) && compile(arguments, messages);
  if (good) {
    write_file(checked, "");
  } else {
    error = read_file(messages);
  }
  unlink(source.c_str());
  unlink(messages.c_str());
  return good;
}

// Writes the standard library's text and precompiles it, once for a folder.
bool Toolchain::prepare(std::string& error) {
  const std::string header = folder_ + "/metal.pch", server = folder_ + "/server.so";
  servers_ = std::make_unique<CompileServers>(compiler_, server);
  const char* const wanted = std::getenv("NITINOL_EMULATOR_CHECK");
  checks_ = wanted != nullptr && *wanted != '\0';
  if (access(header.c_str(), R_OK) == 0 && !checks_) return true;
  const int lock = open((folder_ + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX) != 0) {
    error = "The Metal emulator can't lock " + folder_ + ": " + std::strerror(errno);
    if (lock >= 0) close(lock);
    return false;
  }
  if (access(header.c_str(), R_OK) != 0) {
    bool good = true;
    for (const StdlibFile& file : stdlib_files()) {
      good &= write_file(folder_ + "/" + std::string(file.name), file.text);
    }
    for (const char* name : partial_headers) {
      good &= write_file(folder_ + "/" + name, "#include <metal_stdlib>\n");
    }
    good &= write_file(folder_ + "/all.h", "#include <metal_stdlib>\n");
    good &= make_server(compiler_, folder_ + "/server.c", temporary(folder_), server);
    if (!good) {
      error = "The Metal emulator can't write its standard library to " + folder_;
    } else {
      precompile(compile_flags(), header, error);
    }
  }
  const std::string checked = folder_ + "/checked.pch";
  if (error.empty() && checks_ && access(checked.c_str(), R_OK) != 0) {
    precompile(check_flags(), checked, error);
  }
  close(lock);
  return error.empty();
}

std::string Toolchain::library_path(const std::string& hash, Tier tier) const {
  return folder_ + "/" + hash + (tier == Tier::quick ? ".quick.so" : ".so");
}

bool Toolchain::build(const std::string& text, Tier tier, const std::string& path,
                      std::string& error) const {
  const std::string base = temporary(folder_);
  const std::string source = base + ".cpp", object = base + ".o", library = base + ".so",
                    messages = base + ".txt";
  std::vector<std::string> arguments = {compiler_};
  for (const std::string& flag : compile_flags()) arguments.push_back(flag);
  // The precompiled header is of no tier: that it was made without optimisation matters to
  // nothing in it.
  arguments.insert(arguments.end(),
                   {tier == Tier::quick ? "-O0" : "-O1", "-Xclang", "-fno-validate-pch"});
  arguments.insert(arguments.end(), {"-include-pch", folder_ + "/metal.pch", "-isystem", folder_,
                                     "-c", source, "-o", object});
  // No start files and no default libraries; the sanitizers' functions are in the host.
  const std::vector<std::string> link = {
      linker_,           "-shared",          "-o", library,          object,
      "--build-id=none", "--hash-style=gnu", "-z", "noseparate-code"};
  const bool good = write_file(source, text) && compile(arguments, messages) &&
                    run_program(link, messages) && rename(library.c_str(), path.c_str()) == 0;
  if (!good) {
    error = read_file(messages);
    if (error.empty()) error = "The Metal emulator can't write to " + folder_ + ".\n";
  }
  for (const std::string& file : {source, object, library, messages}) unlink(file.c_str());
  return good;
}

}  // namespace metal_emulator
