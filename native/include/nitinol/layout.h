// Layout: the shape of an array and where its elements lie in a buffer.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace nitinol {

inline constexpr int max_ndim = 64;

// Shape, strides and offset, all counted in elements. Strides may be zero
// (broadcast) or negative (flipped). Up to four dimensions need no allocation.
class Layout {
 public:
  Layout() noexcept = default;
  // Row-major, offset 0. The caller has checked that the size fits in int64.
  explicit Layout(std::span<const std::int64_t> shape);
  Layout(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
         std::int64_t offset);
  Layout(const Layout& other)
      : size_(other.size_),
        offset_(other.offset_),
        ndim_(other.ndim_),
        contiguous_(other.contiguous_) {
    if (other.data_ == other.inline_) {
      std::memcpy(inline_, other.inline_, sizeof inline_);
    } else {
      data_ = new std::int64_t[2 * ndim_];
      std::memcpy(data_, other.data_, sizeof(std::int64_t) * 2 * ndim_);
    }
  }
  // Layouts are moved once for every node made, so this is inline and branches once.
  Layout(Layout&& other) noexcept
      : data_(other.data_ == other.inline_ ? inline_ : other.data_),
        size_(other.size_),
        offset_(other.offset_),
        ndim_(other.ndim_),
        contiguous_(other.contiguous_) {
    if (data_ == inline_) {
      std::memcpy(inline_, other.inline_, sizeof inline_);
    } else {
      other.forget();
    }
  }
  Layout& operator=(const Layout& other);
  Layout& operator=(Layout&& other) noexcept;
  ~Layout() {
    if (data_ != inline_) delete[] data_;
  }

  static constexpr int inline_ndim = 4;

  int ndim() const noexcept { return ndim_; }
  std::int64_t size() const noexcept { return size_; }  // number of elements
  std::int64_t offset() const noexcept { return offset_; }
  bool contiguous() const noexcept { return contiguous_; }  // row-major without gaps
  std::int64_t shape(int axis) const noexcept { return data_[axis]; }
  std::int64_t stride(int axis) const noexcept { return data_[ndim_ + axis]; }
  std::span<const std::int64_t> shape() const noexcept {
    return {data_, static_cast<std::size_t>(ndim_)};
  }
  std::span<const std::int64_t> strides() const noexcept {
    return {data_ + ndim_, static_cast<std::size_t>(ndim_)};
  }
  bool same_shape(const Layout& other) const noexcept {
    if (ndim_ != other.ndim_) return false;
    for (int i = 0; i < ndim_; ++i) {
      if (data_[i] != other.data_[i]) return false;
    }
    return true;
  }

 private:
  void reserve(int ndim);
  void finish() noexcept;
  void forget() noexcept {
    data_ = inline_;
    ndim_ = 0;
    size_ = 1;
    offset_ = 0;
    contiguous_ = true;
  }

  std::int64_t inline_[2 * inline_ndim];
  std::int64_t* data_ = inline_;
  std::int64_t size_ = 1;
  std::int64_t offset_ = 0;
  std::uint8_t ndim_ = 0;
  bool contiguous_ = true;
};

}  // namespace nitinol
