// The blocks runtime: what clang's generated code calls to copy and release blocks, and
// the objects, blocks and __block variables that they capture.
#include <Block.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#import <Foundation/NSObject.h>

#include "../live.h"
#include "../misuse.h"

// Blocks are no objects here: they get no messages, only Block_copy and Block_release.
extern "C" {
void* _NSConcreteStackBlock[32];
void* _NSConcreteMallocBlock[32];
void* _NSConcreteGlobalBlock[32];
}

namespace {

using metal_emulator::live_counter;

// As the compiler lays them out (clang's "Block Implementation Specification").
constexpr int needs_free = 1 << 24;
constexpr int has_copy_dispose = 1 << 25;
constexpr int is_global = 1 << 28;

constexpr int field_is_object = 3;
constexpr int field_is_block = 7;
constexpr int field_is_byref = 8;
constexpr int field_is_weak = 16;
constexpr int byref_caller = 128;

struct Descriptor {
  unsigned long reserved;
  unsigned long size;
  void (*copy)(void* to, const void* from);
  void (*dispose)(const void* block);
};

struct Block {
  void* isa;
  int flags;
  int reserved;
  void (*invoke)();
  Descriptor* descriptor;
};

// A __block variable.
struct Byref {
  void* isa;
  Byref* forwarding;
  int flags;
  int size;
};
struct ByrefHelpers {
  void (*keep)(void* to, void* from);
  void (*destroy)(void* byref);
};

// In front of what has moved to the heap.
struct alignas(16) Header {
  std::atomic<long> references;
};

Header* header(const void* payload) { return static_cast<Header*>(const_cast<void*>(payload)) - 1; }

void* allocate(std::size_t size, long references) {
  void* memory = std::malloc(sizeof(Header) + size);
  if (memory == nullptr) {
    std::abort();
  }
  return new (memory) Header{references} + 1;
}

// True when that was the last one.
bool drop(const void* payload, const char* what) {
  const long before = header(payload)->references.fetch_sub(1, std::memory_order_acq_rel);
  if (before <= 0) {
    metal_emulator::misuse("A %s was released more often than it was copied.", what);
  }
  return before == 1;
}

void free_payload(const void* payload) { std::free(header(payload)); }

ByrefHelpers* helpers(Byref* byref) { return reinterpret_cast<ByrefHelpers*>(byref + 1); }

Byref* copy_byref(Byref* from) {
  if (from->forwarding->flags & needs_free) {
    header(from->forwarding)->references.fetch_add(1, std::memory_order_relaxed);
    return from->forwarding;
  }
  // One reference for the block, one for the frame that declared the variable.
  auto* to = static_cast<Byref*>(allocate(static_cast<std::size_t>(from->size), 2));
  std::memcpy(to, from, static_cast<std::size_t>(from->size));
  to->isa = nullptr;
  to->flags |= needs_free;
  to->forwarding = to;
  from->forwarding = to;
  if (from->flags & has_copy_dispose) {
    helpers(from)->keep(to, from);
  }
  return to;
}

void release_byref(Byref* byref) {
  byref = byref->forwarding;
  if ((byref->flags & needs_free) == 0 || !drop(byref, "__block variable")) {
    return;
  }
  if (byref->flags & has_copy_dispose) {
    helpers(byref)->destroy(byref);
  }
  free_payload(byref);
}

}  // namespace

extern "C" {

void* _Block_copy(const void* argument) {
  auto* from = static_cast<const Block*>(argument);
  if (from == nullptr || (from->flags & is_global)) {
    return const_cast<void*>(argument);
  }
  if (from->flags & needs_free) {
    header(from)->references.fetch_add(1, std::memory_order_relaxed);
    return const_cast<void*>(argument);
  }
  auto* to = static_cast<Block*>(allocate(from->descriptor->size, 1));
  std::memcpy(to, from, from->descriptor->size);
  to->isa = _NSConcreteMallocBlock;
  to->flags |= needs_free;
  live_counter("Block")->fetch_add(1, std::memory_order_relaxed);
  if (from->flags & has_copy_dispose) {
    from->descriptor->copy(to, from);
  }
  return to;
}

void _Block_release(const void* argument) {
  auto* block = static_cast<const Block*>(argument);
  if (block == nullptr || (block->flags & needs_free) == 0 || !drop(block, "block")) {
    return;
  }
  if (block->flags & has_copy_dispose) {
    block->descriptor->dispose(block);
  }
  live_counter("Block")->fetch_sub(1, std::memory_order_relaxed);
  free_payload(block);
}

void _Block_object_assign(void* to, const void* object, const int flags) {
  void* value = const_cast<void*>(object);
  switch (flags & ~field_is_weak) {
    case field_is_object:
      [(id)value retain];
      break;
    case field_is_block:
      value = _Block_copy(object);
      break;
    case field_is_byref:
      value = copy_byref(static_cast<Byref*>(value));
      break;
    default:
      // What a __block variable holds is not retained without ARC, as on Apple.
      if ((flags & byref_caller) == 0) {
        metal_emulator::misuse("A block captures something of the unknown kind %d.", flags);
      }
  }
  std::memcpy(to, &value, sizeof value);
}

void _Block_object_dispose(const void* object, const int flags) {
  switch (flags & ~field_is_weak) {
    case field_is_object:
      [(id) const_cast<void*>(object) release];
      break;
    case field_is_block:
      _Block_release(object);
      break;
    case field_is_byref:
      release_byref(static_cast<Byref*>(const_cast<void*>(object)));
      break;
    default:
      break;
  }
}

}  // extern "C"
