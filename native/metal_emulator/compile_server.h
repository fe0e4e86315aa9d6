// Compilers that have been started already and wait for work: see server.c.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace metal_emulator {

// Ended by a null. What is preloaded here, such as a sanitizer, is not for a compiler.
std::vector<char*> environment_without_preload();

class CompileServers {
 public:
  // `library` is server.c, compiled.
  CompileServers(std::string compiler, std::string library)
      : compiler_(std::move(compiler)), library_(std::move(library)) {}

  // As if the compiler had been run with these arguments: whether it succeeded. Nothing if
  // no server can be had; then the caller runs the compiler itself. From any thread.
  std::optional<bool> run(const std::vector<std::string>& arguments, const std::string& messages);

 private:
  int borrow();
  int start() const;
  void give_back(int socket);

  std::string compiler_;
  std::string library_;
  std::mutex mutex_;
  std::vector<int> idle_;  // sockets; as many servers as ever compiled at a time
  pid_t owner_ = 0;        // a forked child leaves its parent's servers alone
};

}  // namespace metal_emulator
