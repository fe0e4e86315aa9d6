// Bytes touched, a bit each, and their sums by kernel and binding.
#include "traffic.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>

#include "misuse.h"
#include "seams.h"

namespace metal_emulator {
namespace {

struct Totals {
  std::mutex mutex;
  std::map<std::pair<std::string, int>, Traffic> by_binding;
};

Totals& totals_of_traffic() {
  static Totals& instance = *new Totals;
  return instance;
}

std::atomic<bool> measuring{false};
std::atomic<bool> decided{false};

std::uint64_t count_bits(const std::vector<std::atomic<std::uint64_t>>& bits) {
  std::uint64_t sum = 0;
  for (const auto& word : bits) {
    sum += static_cast<std::uint64_t>(std::popcount(word.load(std::memory_order_relaxed)));
  }
  return sum;
}

}  // namespace

void measure_traffic() {
  if (decided && !measuring) {
    misuse("Traffic can be measured only from before the first kernel is compiled.");
  }
  measuring = true;
}

bool measures_traffic() {
  decided = true;
  return measuring;
}

std::vector<Traffic> traffic() {
  Totals& own = totals_of_traffic();
  std::lock_guard lock(own.mutex);
  std::vector<Traffic> result;
  for (const auto& [key, sums] : own.by_binding) result.push_back(sums);
  return result;
}

Measurement::Measurement(const Dispatch& dispatch) : function_(*dispatch.function) {
  for (const int index : function_.buffers()) {
    const auto at = static_cast<std::size_t>(index);
    if (dispatch.buffer_bytes[at] == 0) continue;
    const auto begin = reinterpret_cast<std::uintptr_t>(dispatch.buffers[at]);
    bindings_.push_back({begin, begin + dispatch.buffer_bytes[at], index, {}, {}});
  }
  // Of bindings that begin at the same place (an update in place) the first one counts.
  std::sort(bindings_.begin(), bindings_.end(), [](const Binding& a, const Binding& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.index > b.index;
  });
  for (std::size_t i = 0; i < bindings_.size(); ++i) {
    Binding& binding = bindings_[i];
    if (i + 1 < bindings_.size()) binding.end = std::min(binding.end, bindings_[i + 1].begin);
    const std::size_t words = (binding.end - binding.begin + 63) / 64;
    binding.read = Bits(words);
    binding.written = Bits(words);
  }
}

void Measurement::touch(const void* at, std::uint64_t bytes, bool writes) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(at);
  const auto behind =
      std::upper_bound(bindings_.begin(), bindings_.end(), first,
                       [](std::uintptr_t value, const Binding& b) { return value < b.begin; });
  if (behind == bindings_.begin()) return;
  Binding& binding = *(behind - 1);
  if (first >= binding.end) return;  // a stack, threadgroup memory, a constant
  Bits& bits = writes ? binding.written : binding.read;
  const std::uintptr_t end = std::min(first + bytes, binding.end) - binding.begin;
  for (std::uintptr_t byte = first - binding.begin; byte < end;) {
    const std::uintptr_t next = std::min(end, (byte / 64 + 1) * 64);
    const std::uint64_t mask = (~std::uint64_t{0} >> (64 - (next - byte))) << (byte % 64);
    std::atomic<std::uint64_t>& word = bits[byte / 64];
    if ((word.load(std::memory_order_relaxed) & mask) != mask) {
      word.fetch_or(mask, std::memory_order_relaxed);
    }
    byte = next;
  }
}

Measurement::~Measurement() {
  Totals& own = totals_of_traffic();
  for (const Binding& binding : bindings_) {
    const std::uint64_t read = count_bits(binding.read), written = count_bits(binding.written);
    std::lock_guard lock(own.mutex);
    Traffic& sums = own.by_binding[{function_.name(), binding.index}];
    sums.kernel = function_.name();
    sums.buffer = binding.index;
    ++sums.dispatches;
    sums.bytes_read += read;
    sums.bytes_written += written;
  }
}

}  // namespace metal_emulator
