// Keeps a started compiler at hand. Loading and relocating clang takes longer than the
// compilation of a small kernel, so this library, preloaded into clang, stops where its main
// would begin: for each request it forks, and the child goes on as a compiler would have.
// A request, on the socket that is standard input: its size, the name of the file for
// messages, and the arguments, each ended by a zero byte. The answer: a wait status.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int Main(int, char**, char**);
typedef int Start(Main*, int, char**, void (*)(void), void (*)(void), void (*)(void), void*);

static Main* compiler;

static int read_all(char* to, size_t size) {
  while (size > 0) {
    const ssize_t count = read(0, to, size);
    if (count <= 0) return 0;
    to += count;
    size -= (size_t)count;
  }
  return 1;
}

static int compile(char* request, size_t size) {
  char** arguments = malloc((size + 2) * sizeof *arguments);
  int count = 0;
  for (char* at = request + strlen(request) + 1; at < request + size; at += strlen(at) + 1) {
    arguments[count++] = at;
  }
  arguments[count] = NULL;
  const int messages = open(request, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0);
  dup2(messages, 1);
  dup2(messages, 2);
  return compiler(count, arguments, environ);
}

static int serve(int argc, char** argv, char** environment) {
  (void)argc;
  (void)argv;
  (void)environment;
  unsetenv("LD_PRELOAD");
  // The host may wait for all of its children; this is none of those.
  if (fork() != 0) _exit(0);
  for (;;) {
    unsigned size;
    if (!read_all((char*)&size, sizeof size)) _exit(0);
    char* request = malloc(size);
    if (request == NULL || !read_all(request, size)) _exit(0);
    const pid_t child = fork();
    if (child == 0) exit(compile(request, size));
    int status = -1;
    if (child > 0) waitpid(child, &status, 0);
    free(request);
    if (send(0, &status, sizeof status, MSG_NOSIGNAL) != (ssize_t)sizeof status) _exit(0);
  }
}

__attribute__((visibility("default"))) int __libc_start_main(Main* main, int argc, char** argv,
                                                             void (*init)(void), void (*fini)(void),
                                                             void (*loader_fini)(void),
                                                             void* stack) {
  Start* const start = (Start*)dlsym(RTLD_NEXT, "__libc_start_main");
  compiler = main;
  return start(serve, argc, argv, init, fini, loader_fini, stack);
}
