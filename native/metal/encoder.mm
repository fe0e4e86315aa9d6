// Encoding kernels: binding operands, and what becomes of a unit that can't be encoded.
#include "encoder.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "nitinol/node.h"

namespace nitinol::metal {

namespace {

constexpr std::size_t most_bytes = 4096;  // that setBytes takes
constexpr int most_buffers = 31;

MTLSize size_of(Grid grid) noexcept { return MTLSizeMake(grid.x, grid.y, grid.z); }

}  // namespace

void CommandEncoder::begin(const Unit& unit, std::uint32_t index) noexcept {
  unit_ = &unit;
  index_ = index;
  most_threads_ = 0;
  failure_ = {};
  detail_ = nullptr;
  dispatched_ = false;
  may_fault_ = false;
}

void CommandEncoder::end() noexcept {
  if (dispatched_) {
    ++units_;
    label(*unit_);
  }
  unit_ = nullptr;
  for (Ref<Buffer>& memory : taken_) flight_.recycler.put(std::move(memory));
  taken_.clear();
  if (units_ >= Flight::units_per_encoder) close();
}

void CommandEncoder::label(const Unit& unit) noexcept {
  const char* op = info(unit.op).name;
  try {
    if (!label_.empty()) label_.append(", ");
    label_.append(op);
    if (unit.fused) label_.append(" (fused)");
  } catch (const std::bad_alloc&) {
    // A label says less then.
  }
}

bool CommandEncoder::open() noexcept {
  if (encoder_ != nil) return true;
  try {
    flight_.leg->encoders.emplace_back();
  } catch (const std::bad_alloc&) {
    short_of_memory(sizeof(ReportedEncoder));
    return false;
  }
  // Serial: what one dispatch writes, the next one reads.
  encoder_ =
      [flight_.leg->buffer.get() computeCommandEncoderWithDispatchType:MTLDispatchTypeSerial];
  if (encoder_ == nil) {
    flight_.leg->encoders.pop_back();
    refuse("Metal gave no compute encoder.");
    return false;
  }
  units_ = 0;
  label_.clear();
  return true;
}

void CommandEncoder::close() noexcept {
  if (encoder_ == nil) return;
  ReportedEncoder& reported = flight_.leg->encoders.back();
  std::strncpy(reported.label, label_.c_str(), ReportedEncoder::max_label - 1);
  [encoder_ setLabel:to_string(label_).get()];
  [encoder_ endEncoding];
  encoder_ = nil;
}

Operand CommandEncoder::operand(Node& node) noexcept {
  const Layout& layout = node.layout();
  const Buffer* storage = node.buffer();
  const auto item = static_cast<std::int64_t>(itemsize(node.dtype()));
  Operand operand;
  operand.layout = &layout;
  operand.dtype = node.dtype();
  if (storage->handle()) {
    operand.buffer = storage->handle();
    operand.offset = storage->offset() + static_cast<std::size_t>(layout.offset() * item);
    return operand;
  }
  // The host's memory: what the layout spans is copied.
  std::int64_t low = 0;
  std::int64_t high = 0;
  for (int axis = 0; axis < layout.ndim(); ++axis) {
    const std::int64_t reach = layout.stride(axis) * (layout.shape(axis) - 1);
    (reach < 0 ? low : high) += reach;
  }
  const std::size_t bytes =
      layout.size() == 0 ? 0 : static_cast<std::size_t>((high - low + 1) * item);
  const Buffer* copy = take(bytes, true);
  if (!copy) return operand;
  if (bytes > 0) std::memcpy(copy->data(), node.data() + low * item, bytes);
  operand.buffer = copy->handle();
  operand.offset = copy->offset() + static_cast<std::size_t>(-low * item);
  return operand;
}

void CommandEncoder::pipeline(std::string_view file, std::string_view function,
                              std::span<const Define> defines) noexcept {
  if (failed()) return;
  try {
    use(pipelines_.kernel(file, function, defines));
  } catch (const std::bad_alloc&) {
    short_of_memory(0);
  }
}

void CommandEncoder::source(std::string_view text, std::string_view function) noexcept {
  if (failed()) return;
  try {
    use(pipelines_.source(text, function));
  } catch (const std::bad_alloc&) {
    short_of_memory(text.size());
  }
}

void CommandEncoder::use(const Pipeline& pipeline) noexcept {
  if (pipeline.state == nil) return refuse(pipeline.error);
  if (!open()) return;
  most_threads_ = pipeline.most_threads;
  [encoder_ setComputePipelineState:pipeline.state];
}

void CommandEncoder::buffer(int index, const Operand& operand) noexcept {
  if (failed() || !open()) return;
  if (index < 0 || index >= most_buffers) return refuse("A kernel bound more than 31 buffers.");
  [encoder_ setBuffer:(id<MTLBuffer>)operand.buffer
               offset:operand.offset
              atIndex:static_cast<NSUInteger>(index)];
}

void CommandEncoder::bytes(int index, const void* data, std::size_t size) noexcept {
  if (failed() || !open()) return;
  if (size > most_bytes) return refuse("A kernel's parameters take more than 4096 bytes.");
  [encoder_ setBytes:data length:size atIndex:static_cast<NSUInteger>(index)];
}

void CommandEncoder::fault(int index) noexcept {
  if (failed()) return;
  may_fault_ = true;
  Operand word;
  word.buffer = flight_.faults->handle();
  word.offset = flight_.faults->offset() + sizeof(std::uint32_t) * index_;
  buffer(index, word);
}

void CommandEncoder::threadgroup_memory(int index, std::size_t bytes) noexcept {
  if (failed() || !open()) return;
  const std::size_t rounded = (bytes + 15) / 16 * 16;  // Metal takes multiples of 16
  [encoder_ setThreadgroupMemoryLength:rounded atIndex:static_cast<NSUInteger>(index)];
}

Operand CommandEncoder::scratch(std::size_t bytes) noexcept {
  Operand operand;
  if (failed()) return operand;
  const Buffer* memory = take(bytes, false);
  if (!memory) return operand;
  operand.buffer = memory->handle();
  operand.offset = memory->offset();
  return operand;
}

Buffer* CommandEncoder::take(std::size_t bytes, bool written) noexcept {
  try {
    flight_.recycler.grow();
    taken_.reserve(taken_.size() + 1);
  } catch (const std::bad_alloc&) {
    short_of_memory(bytes);
    return nullptr;
  }
  Ref<Buffer> memory = written ? nullptr : flight_.recycler.take(bytes);
  if (!memory) memory = Buffer::allocate(memory_, bytes);
  if (!memory) {
    short_of_memory(bytes);
    return nullptr;
  }
  taken_.push_back(std::move(memory));
  return taken_.back().get();
}

void CommandEncoder::dispatch(Grid threadgroups, Grid threads) noexcept {
  if (failed() || !open()) return;
  if (most_threads_ == 0) return refuse("A kernel was dispatched without a pipeline.");
  // Nothing to do: Metal does not allow an empty grid.
  if (threadgroups.x == 0 || threadgroups.y == 0 || threadgroups.z == 0) return;
  if (std::size_t{threads.x} * threads.y * threads.z > most_threads_) {
    return refuse("A kernel wants more threads in a threadgroup than its pipeline allows.");
  }
  dispatched_ = true;
  [encoder_ dispatchThreadgroups:size_of(threadgroups) threadsPerThreadgroup:size_of(threads)];
}

void CommandEncoder::fail(const Fault& fault) noexcept {
  if (!failed()) failure_ = fault;
}

void CommandEncoder::refuse(const char* detail) noexcept {
  if (failed()) return;
  detail_ = detail;
  failure_.code = Code::internal;
}

void CommandEncoder::short_of_memory(std::size_t bytes) noexcept {
  if (failed()) return;
  const MemoryStats stats = memory_.stats();
  failure_.code = Code::out_of_memory;
  failure_.args[0] = static_cast<std::int64_t>(bytes);
  failure_.args[1] = static_cast<std::int64_t>(stats.in_use);
  failure_.args[2] = static_cast<std::int64_t>(stats.limit);
}

}  // namespace nitinol::metal
