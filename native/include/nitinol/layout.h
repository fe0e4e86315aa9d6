// Layout: the shape of an array and where its elements lie in a buffer.
#pragma once

#include <cstdint>
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
  Layout(const Layout& other);
  Layout(Layout&& other) noexcept;
  Layout& operator=(const Layout& other);
  Layout& operator=(Layout&& other) noexcept;
  ~Layout() {
    if (data_ != inline_) delete[] data_;
  }

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
  bool same_shape(const Layout& other) const noexcept;

 private:
  void reserve(int ndim);
  void finish() noexcept;

  std::int64_t inline_[8];
  std::int64_t* data_ = inline_;
  std::int64_t size_ = 1;
  std::int64_t offset_ = 0;
  std::uint8_t ndim_ = 0;
  bool contiguous_ = true;
};

}  // namespace nitinol
