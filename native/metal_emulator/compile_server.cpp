// Starts compile servers and talks to them.
#include "compile_server.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

extern char** environ;

namespace metal_emulator {
namespace {

bool send_all(int socket, const std::string& data) {
  std::size_t sent = 0;
  while (sent < data.size()) {
    const ssize_t count = send(socket, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

bool receive(int socket, int& status) {
  for (;;) {
    const ssize_t count = recv(socket, &status, sizeof status, MSG_WAITALL);
    if (count < 0 && errno == EINTR) continue;
    return count == static_cast<ssize_t>(sizeof status);
  }
}

}  // namespace

std::vector<char*> environment_without_preload() {
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "LD_PRELOAD=", 11) != 0) environment.push_back(*entry);
  }
  environment.push_back(nullptr);
  return environment;
}

std::optional<bool> CompileServers::run(const std::vector<std::string>& arguments,
                                        const std::string& messages) {
  std::string text = messages + '\0';
  for (const std::string& argument : arguments) text += argument + '\0';
  const auto size = static_cast<unsigned>(text.size());
  std::string request(sizeof size, '\0');
  std::memcpy(request.data(), &size, sizeof size);
  request += text;
  // One that has waited may have been killed meanwhile: the next is fresh.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const int socket = borrow();
    if (socket < 0) return std::nullopt;
    int status = 0;
    if (send_all(socket, request) && receive(socket, status)) {
      give_back(socket);
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    close(socket);
  }
  return std::nullopt;
}

int CompileServers::borrow() {
  {
    const std::lock_guard lock(mutex_);
    if (owner_ != getpid()) {
      for (const int socket : idle_) close(socket);
      idle_.clear();
      owner_ = getpid();
    }
    if (!idle_.empty()) {
      const int socket = idle_.back();
      idle_.pop_back();
      return socket;
    }
  }
  return start();
}

void CompileServers::give_back(int socket) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(socket);
}

// The server ends when the last copy of our end of the socket is closed.
int CompileServers::start() const {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return -1;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, sockets[1], 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  const std::string preload = "LD_PRELOAD=" + library_;
  std::vector<char*> environment = environment_without_preload();
  environment.insert(environment.end() - 1, const_cast<char*>(preload.c_str()));
  char* arguments[] = {const_cast<char*>(compiler_.c_str()), nullptr};
  pid_t child = -1;
  const int failure =
      posix_spawn(&child, compiler_.c_str(), &actions, &attributes, arguments, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(sockets[1]);
  if (failure != 0) {
    close(sockets[0]);
    return -1;
  }
  // What was spawned ends at once and leaves the server behind.
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return sockets[0];
}

}  // namespace metal_emulator
