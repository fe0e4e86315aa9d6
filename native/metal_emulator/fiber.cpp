// Switching of stacks, with what the sanitizers want to be told about it.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if METAL_EMULATOR_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if METAL_EMULATOR_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what a call must preserve on the current stack, stores the stack pointer at the
// first argument, and goes on at the second, which was stored so.
extern "C" void metal_emulator_switch(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl metal_emulator_switch
.hidden metal_emulator_switch
.type metal_emulator_switch, @function
metal_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  # A ret would never go where the processor expects it to.
  popq %rcx
  jmp *%rcx
.size metal_emulator_switch, .-metal_emulator_switch

.p2align 4
.hidden metal_emulator_begin
.globl metal_emulator_begin
.type metal_emulator_begin, @function
metal_emulator_begin:
  movq %r12, %rdi
  call *%r13
  ud2
.size metal_emulator_begin, .-metal_emulator_begin
)");
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
.globl metal_emulator_switch
.hidden metal_emulator_switch
.type metal_emulator_switch, %function
metal_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size metal_emulator_switch, .-metal_emulator_switch

.p2align 4
.hidden metal_emulator_begin
.globl metal_emulator_begin
.type metal_emulator_begin, %function
metal_emulator_begin:
  mov x0, x19
  blr x20
  brk #0
.size metal_emulator_begin, .-metal_emulator_begin
)");
#else
#error "The emulator's fibers know x86-64 and AArch64."
#endif

extern "C" void metal_emulator_begin();

namespace metal_emulator {
namespace {

constexpr std::size_t stack_bytes = std::size_t{256} << 10;

}  // namespace

METAL_EMULATOR_UNSEEN void enter_fiber(Fiber* fiber) {
#if METAL_EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &fiber->host_bottom_, &fiber->host_size_);
#endif
  for (;;) {
    fiber->body_(fiber->argument_);
    fiber->suspend();
  }
}

Fiber::Fiber(void (*body)(void*), void* argument) : body_(body), argument_(argument) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // The lowest page is a guard.
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
    std::fputs("Emulated Metal: no memory for the stack of a GPU thread\n", stderr);
    std::abort();
  }
  memory_ = static_cast<char*>(memory) + page;
  // Stacks that all begin at the same place of a page would compete for the same few
  // lines of the cache.
  static std::atomic<std::size_t> count{0};
  const std::size_t offset = count++ * 1088 % (stack_bytes / 4);
  auto* top = reinterpret_cast<void**>(memory_ + stack_bytes - offset);
#if defined(__x86_64__)
  // As metal_emulator_switch pushes them: r15 r14 r13 r12 rbx rbp, and where to return to.
  // metal_emulator_begin starts with an aligned stack pointer and calls.
  void** frame = top - 9;
  frame[0] = frame[1] = nullptr;
  frame[2] = reinterpret_cast<void*>(&enter_fiber);
  frame[3] = this;
  frame[4] = frame[5] = nullptr;
  frame[6] = reinterpret_cast<void*>(&metal_emulator_begin);
  frame[7] = frame[8] = nullptr;
#else
  void** frame = top - 20;
  for (int i = 0; i < 20; ++i) frame[i] = nullptr;
  frame[0] = this;
  frame[1] = reinterpret_cast<void*>(&enter_fiber);
  frame[11] = reinterpret_cast<void*>(&metal_emulator_begin);
#endif
  own_stack_ = frame;
#if METAL_EMULATOR_TSAN
  own_tsan_ = __tsan_create_fiber(0);
#endif
}

METAL_EMULATOR_UNSEEN void Fiber::resume() {
#if METAL_EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&host_fake_stack_, memory_, stack_bytes);
#endif
#if METAL_EMULATOR_TSAN
  host_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(own_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  metal_emulator_switch(&host_stack_, own_stack_);
#if METAL_EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(host_fake_stack_, nullptr, nullptr);
#endif
}

METAL_EMULATOR_UNSEEN void Fiber::suspend() {
#if METAL_EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&own_fake_stack_, host_bottom_, host_size_);
#endif
#if METAL_EMULATOR_TSAN
  __tsan_switch_to_fiber(host_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  metal_emulator_switch(&own_stack_, host_stack_);
#if METAL_EMULATOR_ASAN
  // The next host thread may be another one.
  __sanitizer_finish_switch_fiber(own_fake_stack_, &host_bottom_, &host_size_);
#endif
}

}  // namespace metal_emulator
