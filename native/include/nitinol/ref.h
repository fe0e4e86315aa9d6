// Ref: an intrusive reference-counted pointer, and the base class it counts on.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace nitinol {

// A class derives from Counted<Self> and is destroyed by `delete` when its last
// reference goes, unless it provides a static `void destroy(Self*) noexcept`.
template <class Self>
class Counted {
 public:
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  void retain() const noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Self* self = const_cast<Self*>(static_cast<const Self*>(this));
      if constexpr (requires { Self::destroy(self); }) {
        Self::destroy(self);
      } else {
        delete self;
      }
    }
  }
  // Drops a reference without destroying: true when it was the last one.
  bool release_is_last() const noexcept {
    return refs_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  std::uint32_t references() const noexcept { return refs_.load(std::memory_order_acquire); }

 protected:
  Counted() noexcept = default;
  ~Counted() = default;

 private:
  mutable std::atomic<std::uint32_t> refs_{1};
};

// Counts the live objects of a class that derives from Census<Self>: for tests, which look
// for what stays behind.
template <class Self>
class Census {
 public:
  static std::int64_t alive() noexcept { return alive_.load(std::memory_order_relaxed); }

 protected:
  Census() noexcept { alive_.fetch_add(1, std::memory_order_relaxed); }
  ~Census() { alive_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  static inline constinit std::atomic<std::int64_t> alive_{0};
};

template <class T>
class Ref {
 public:
  Ref() noexcept = default;
  Ref(std::nullptr_t) noexcept {}
  Ref(const Ref& other) noexcept : p_(other.p_) {
    if (p_) p_->retain();
  }
  Ref(Ref&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }
  ~Ref() {
    if (p_) p_->release();
  }

  // `adopt` takes over a reference that the caller owns; `share` adds one.
  static Ref adopt(T* p) noexcept {
    Ref r;
    r.p_ = p;
    return r;
  }
  static Ref share(T* p) noexcept {
    if (p) p->retain();
    return adopt(p);
  }
  T* detach() noexcept { return std::exchange(p_, nullptr); }

  T* get() const noexcept { return p_; }
  T* operator->() const noexcept { return p_; }
  T& operator*() const noexcept { return *p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }
  bool operator==(const Ref& other) const noexcept { return p_ == other.p_; }

 private:
  T* p_ = nullptr;
};

}  // namespace nitinol
