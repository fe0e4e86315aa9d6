// Layout: construction, and the facts derived once from shape and strides.
#include "nitinol/layout.h"

#include <algorithm>
#include <cstring>

namespace nitinol {

void Layout::reserve(int ndim) {
  if (ndim > ndim_ || data_ == inline_) {
    std::int64_t* fresh = ndim <= inline_ndim ? inline_ : new std::int64_t[2 * ndim];
    if (data_ != inline_) delete[] data_;
    data_ = fresh;
  }
  ndim_ = static_cast<std::uint8_t>(ndim);
}

namespace {

// The extents of an empty array may have a product that no integer holds; what they are
// multiplied to is never used then, but must not overflow.
std::int64_t wrapping_multiply(std::int64_t a, std::int64_t b) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

}  // namespace

void Layout::finish() noexcept {
  size_ = 1;
  contiguous_ = true;
  for (int i = ndim_ - 1; i >= 0; --i) {
    if (data_[i] != 1 && stride(i) != size_) contiguous_ = false;
    size_ = wrapping_multiply(size_, data_[i]);
  }
  if (size_ == 0) contiguous_ = true;
}

Layout::Layout(std::span<const std::int64_t> shape) {
  reserve(static_cast<int>(shape.size()));
  std::int64_t step = 1;
  for (int i = ndim_ - 1; i >= 0; --i) {
    data_[i] = shape[i];
    data_[ndim_ + i] = step;
    step = wrapping_multiply(step, shape[i]);
  }
  size_ = step;
}

Layout::Layout(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
               std::int64_t offset) {
  reserve(static_cast<int>(shape.size()));
  std::copy(shape.begin(), shape.end(), data_);
  std::copy(strides.begin(), strides.end(), data_ + ndim_);
  offset_ = offset;
  finish();
}

Layout& Layout::operator=(const Layout& other) {
  if (this == &other) return *this;
  reserve(other.ndim_);
  std::memcpy(data_, other.data_, sizeof(std::int64_t) * 2 * ndim_);
  size_ = other.size_;
  offset_ = other.offset_;
  contiguous_ = other.contiguous_;
  return *this;
}

Layout& Layout::operator=(Layout&& other) noexcept {
  if (this == &other) return *this;
  if (data_ != inline_) delete[] data_;
  ndim_ = other.ndim_;
  size_ = other.size_;
  offset_ = other.offset_;
  contiguous_ = other.contiguous_;
  if (other.data_ == other.inline_) {
    data_ = inline_;
    std::memcpy(inline_, other.inline_, sizeof(std::int64_t) * 2 * ndim_);
  } else {
    data_ = other.data_;
    other.forget();
  }
  return *this;
}

}  // namespace nitinol
