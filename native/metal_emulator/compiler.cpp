// Compiles Metal source text: translates it, builds a shared object, and loads it.
#include "compiler.h"

#include <dlfcn.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <unordered_map>

#include "execute.h"
#include "fiber.h"
#include "prune.h"
#include "toolchain.h"
#include "traffic.h"
#include "translate.h"

namespace metal_emulator {
namespace {

// Kernels call functions of these and are linked to none. The host may have loaded them
// for itself only.
void load_dependencies() {
  static const bool loaded = [] {
    for (const char* name : {"libm.so.6", "libgcc_s.so.1"}) dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    return true;
  }();
  (void)loaded;
}

// Shared objects stay loaded: a pipeline may be in use for as long as the process runs.
const metal_abi::Library* load(const std::string& path, std::string& error) {
  load_dependencies();
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const symbol = handle != nullptr ? dlsym(handle, "metal_library") : nullptr;
  if (symbol == nullptr) {
    const char* const reason = dlerror();
    error = "The Metal emulator can't load a compiled kernel: ";
    error += reason != nullptr ? reason : path.c_str();
    return nullptr;
  }
  const auto* const library = static_cast<const metal_abi::Library*>(symbol);
  *library->runtime = &runtime();
  return library;
}

// From the folder, or built.
const metal_abi::Library* load_or_build(const Toolchain& toolchain, const std::string& text,
                                        Tier tier, std::string& error) {
  const std::string path = toolchain.library_path(hash_of(text), tier);
  if (!touch(path) && !toolchain.build(text, tier, path, error)) return nullptr;
  return load(path, error);
}

class LoadedLibrary final : public Library, private Code {
 public:
  // `text` has been translated. Null, and `error`, if it does not compile.
  static std::shared_ptr<const Library> make(const Toolchain& toolchain, std::string text,
                                             std::string& error) {
    const std::string path = toolchain.library_path(hash_of(text), Tier::optimised);
    const bool is_there = access(path.c_str(), R_OK) == 0;
    const Tier tier = sanitized || measures_traffic() || is_there ? Tier::optimised : Tier::quick;
    const metal_abi::Library* const loaded = load_or_build(toolchain, text, tier, error);
    if (loaded == nullptr) return nullptr;
    return std::make_shared<LoadedLibrary>(toolchain, std::move(text), *loaded,
                                           tier == Tier::optimised);
  }

  LoadedLibrary(const Toolchain& toolchain, std::string text, const metal_abi::Library& loaded,
                bool is_optimised)
      : toolchain_(toolchain), text_(std::move(text)) {
    for (const metal_abi::Kernel* kernel = loaded.first; kernel != loaded.last; ++kernel) {
      functions_.emplace_back(*kernel, is_optimised ? nullptr : static_cast<const Code*>(this));
      names_.push_back(kernel->name);
    }
  }

  const std::vector<std::string>& function_names() const override { return names_; }

  const Function* find(const std::string& name) const override {
    for (const LoadedFunction& function : functions_) {
      if (function.name() == name) return &function;
    }
    return nullptr;
  }

 private:
  // Such a run is slow enough, as is one that is measured.
  static constexpr bool sanitized = METAL_EMULATOR_TSAN != 0 || METAL_EMULATOR_ASAN != 0;

  const metal_abi::Kernel* optimised(const std::string& function) const override {
    const std::lock_guard lock(mutex_);
    if (optimised_ == nullptr) {
      std::string error;
      optimised_ = load_or_build(toolchain_, text_, Tier::optimised, error);
      if (optimised_ == nullptr) misuse(function.c_str(), "can't be optimised: " + error);
    }
    const metal_abi::Kernel* kernel = optimised_->first;
    while (kernel->name != function) ++kernel;
    return kernel;
  }

  const Toolchain& toolchain_;
  std::string text_;
  std::deque<LoadedFunction> functions_;
  std::vector<std::string> names_;
  mutable std::mutex mutex_;
  mutable const metal_abi::Library* optimised_ = nullptr;
};

// Translated text goes by its own hash, which another version of the text pass changes.
std::shared_ptr<const Library> build(const std::string& source, std::string& error) {
  const Toolchain* const toolchain = Toolchain::get(error);
  if (toolchain == nullptr) return nullptr;
  Translation translation = translate(source);
  if (!translation.error.empty()) {
    error = translation.error;
    return nullptr;
  }
  if (!toolchain->check(translation.text, error)) return nullptr;
  return LoadedLibrary::make(*toolchain, std::move(translation.text), error);
}

// A text that somebody compiles or has compiled.
struct Entry {
  std::mutex mutex;
  bool done = false;
  std::shared_ptr<const Library> library;
  std::string error;
};

struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries;  // by hash
};

}  // namespace

std::shared_ptr<const Library> Library::compile(const std::string& source, std::string& error) {
  static Cache* const cache = new Cache;
  const std::string hash = hash_of(source);
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(cache->mutex);
    std::shared_ptr<Entry>& place = cache->entries[hash];
    if (place == nullptr) place = std::make_shared<Entry>();
    entry = place;
  }
  const std::lock_guard lock(entry->mutex);
  if (!entry->done) {
    entry->library = build(source, entry->error);
    entry->done = true;
  }
  error = entry->error;
  return entry->library;
}

}  // namespace metal_emulator
