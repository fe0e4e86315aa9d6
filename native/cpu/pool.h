// The worker threads that split one kernel over the cores.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nitinol::cpu {

// A callable passed by address: no allocation, must outlive the call.
class ChunkFn {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, ChunkFn>)
  ChunkFn(F&& f) noexcept
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, std::int64_t begin, std::int64_t end) {
          (*static_cast<std::remove_reference_t<F>*>(o))(begin, end);
        }) {}
  void operator()(std::int64_t begin, std::int64_t end) const { call_(object_, begin, end); }

 private:
  void* object_;
  void (*call_)(void*, std::int64_t, std::int64_t);
};

// Runs fn(begin, end) over [0, n) cut at multiples of `grain`, on the calling
// thread and the idle workers, and returns when all of it is done. Where the cuts
// lie depends on n and grain alone, never on the number of threads. fn must not
// throw. May be called by several threads at once; a nested call runs inline.
void parallel_for(std::int64_t n, std::int64_t grain, ChunkFn fn) noexcept;

// Threads that take part in a parallel_for, the caller included.
int concurrency() noexcept;
// For tests and benchmarks; 1 runs everything on the caller.
void set_concurrency(int threads) noexcept;

}  // namespace nitinol::cpu
