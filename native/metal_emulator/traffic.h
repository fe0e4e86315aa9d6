// Traffic: which bytes of its buffers a dispatch reads and writes, measured where that is asked
// for.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "compiler.h"

namespace metal_emulator {

// Kernels are compiled with a call for each load and store then.
bool measures_traffic();

// A bit for each byte, so that what is touched again, by whichever thread, counts once: as in a
// GPU whose caches hold a dispatch's operands. Bytes are credited to the binding that begins
// nearest before them. Constants of setBytes are left out.
class Measurement {
 public:
  explicit Measurement(const Dispatch& dispatch);
  // Enters it all in the totals.
  ~Measurement();

  void touch(const void* at, std::uint64_t bytes, bool writes) noexcept;

 private:
  using Bits = std::vector<std::atomic<std::uint64_t>>;
  struct Binding {
    std::uintptr_t begin;
    std::uintptr_t end;
    int index;
    Bits read, written;
  };

  const Function& function_;
  std::vector<Binding> bindings_;  // by their beginnings
};

}  // namespace metal_emulator
