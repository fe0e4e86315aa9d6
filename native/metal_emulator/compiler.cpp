// Compiles Metal source text: translates it, builds a shared object, and loads it.
#include "compiler.h"

#include <dlfcn.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <unordered_map>

#include "execute.h"
#include "toolchain.h"
#include "translate.h"

namespace metal_emulator {
namespace {

// Shared objects stay loaded: a pipeline may be in use for as long as the process runs.
class LoadedLibrary final : public Library {
 public:
  explicit LoadedLibrary(const metal_abi::Library& library) {
    *library.runtime = &runtime();
    for (const metal_abi::Kernel* kernel = library.first; kernel != library.last; ++kernel) {
      functions_.emplace_back(*kernel);
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
  std::deque<LoadedFunction> functions_;
  std::vector<std::string> names_;
};

// Kernels call functions of these and are linked to none. The host may have loaded them
// for itself only.
void load_dependencies() {
  static const bool loaded = [] {
    for (const char* name : {"libm.so.6", "libgcc_s.so.1"}) dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    return true;
  }();
  (void)loaded;
}

std::shared_ptr<const Library> load(const std::string& path, std::string& error) {
  load_dependencies();
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const symbol = handle != nullptr ? dlsym(handle, "metal_library") : nullptr;
  if (symbol == nullptr) {
    const char* const reason = dlerror();
    error = "The Metal emulator can't load a compiled kernel: ";
    error += reason != nullptr ? reason : path.c_str();
    return nullptr;
  }
  return std::make_shared<LoadedLibrary>(*static_cast<const metal_abi::Library*>(symbol));
}

// On disk by the translated text's hash, which another version of the text pass changes.
std::shared_ptr<const Library> build(const std::string& source, std::string& error) {
  const Toolchain* const toolchain = Toolchain::get(error);
  if (toolchain == nullptr) return nullptr;
  const Translation translation = translate(source);
  if (!translation.error.empty()) {
    error = translation.error;
    return nullptr;
  }
  const std::string path = toolchain->library_path(hash_of(translation.text));
  if (access(path.c_str(), R_OK) != 0 && !toolchain->build(translation.text, path, error)) {
    return nullptr;
  }
  return load(path, error);
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
