// Residency sets. Built with an SDK older than macOS 15's, or run on an older system, there are
// none.
#include "residency.h"

#include <new>

namespace nitinol::metal {

#if __has_include(<Metal/MTLResidencySet.h>)

Residency::Residency(id<MTLDevice> device, std::size_t most) : most_(most) {
  // A virtual machine's GPU may lack them on any system.
  const bool responds = [device respondsToSelector:@selector(newResidencySetWithDescriptor:error:)];
  if (@available(macOS 15.0, *)) {
    if (responds) {
      Pool pool;
      const auto descriptor =
          Owned<MTLResidencySetDescriptor*>::adopt([[MTLResidencySetDescriptor alloc] init]);
      NSError* error = nil;
      set_ = Owned<id>::adopt([device newResidencySetWithDescriptor:descriptor.get() error:&error]);
      if (set_) {
        description_ = "Buffers are kept resident by a residency set.";
        stale_ = true;  // the first commit requests residency
      } else {
        description_ = "Buffers are not kept resident: no residency set could be made. ";
        description_ += error ? to_string([error localizedDescription]) : "Metal does not say why.";
      }
      return;
    }
  }
  description_ = "Buffers are not kept resident: this system has no residency sets.";
}

void Residency::attach(id<MTLCommandQueue> queue) noexcept {
  if (!set_) return;
  if (@available(macOS 15.0, *)) [queue addResidencySet:(id<MTLResidencySet>)set_.get()];
}

void Residency::add(id<MTLBuffer> buffer) noexcept {
  if (!set_) return;
  if (@available(macOS 15.0, *)) {
    const std::size_t bytes = [buffer allocatedSize];
    std::lock_guard lock(mutex_);
    if (bytes > most_ || bytes_.load(std::memory_order_relaxed) > most_ - bytes) return;
    [(id<MTLResidencySet>)set_.get() addAllocation:buffer];
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    stale_.store(true, std::memory_order_release);
  }
}

void Residency::commit() noexcept {
  if (!stale_.load(std::memory_order_acquire)) return;
  if (@available(macOS 15.0, *)) {
    Pool pool;
    std::lock_guard lock(mutex_);
    stale_.store(false, std::memory_order_relaxed);
    flush_locked();
    // It stands: what is added later is covered by it.
    if (!requested_) [(id<MTLResidencySet>)set_.get() requestResidency];
    requested_ = true;
  }
}

void Residency::remove(Owned<id<MTLBuffer>> buffer) noexcept {
  if (!set_) return;
  if (@available(macOS 15.0, *)) {
    Pool pool;
    id<MTLResidencySet> set = set_.get();
    std::lock_guard lock(mutex_);
    if (![set containsAllocation:buffer.get()]) return;
    [set removeAllocation:buffer.get()];
    bytes_.fetch_sub([buffer.get() allocatedSize], std::memory_order_relaxed);
    try {
      leaving_.push_back(std::move(buffer));
    } catch (const std::bad_alloc&) {
      flush_locked();
    }
  }
}

void Residency::flush() noexcept {
  Pool pool;
  std::lock_guard lock(mutex_);
  if (!leaving_.empty()) flush_locked();
}

void Residency::flush_locked() noexcept {
  if (@available(macOS 15.0, *)) [(id<MTLResidencySet>)set_.get() commit];
  leaving_.clear();
}

void Residency::relinquish() noexcept {
  if (!set_) return;
  if (@available(macOS 15.0, *)) {
    std::lock_guard lock(mutex_);
    if (requested_) [(id<MTLResidencySet>)set_.get() endResidency];
    requested_ = false;
    stale_.store(true, std::memory_order_release);
  }
}

#else

Residency::Residency(id<MTLDevice>, std::size_t most)
    : most_(most),
      description_("Buffers are not kept resident: built with an SDK that has no residency sets.") {
}
void Residency::attach(id<MTLCommandQueue>) noexcept {}
void Residency::add(id<MTLBuffer>) noexcept {}
void Residency::commit() noexcept {}
void Residency::remove(Owned<id<MTLBuffer>>) noexcept {}
void Residency::flush() noexcept {}
void Residency::flush_locked() noexcept {}
void Residency::relinquish() noexcept {}

#endif

}  // namespace nitinol::metal
