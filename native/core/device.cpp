// Devices and their streams.
#include "nitinol/device.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "nitinol/graph.h"

namespace nitinol {

namespace {

std::uint32_t next_stream_id = 1;  // under the graph lock

std::vector<Device*>& registry() noexcept {
  static auto* devices = new std::vector<Device*>;
  return *devices;
}

}  // namespace

Device::Device(const char* kind, int index, std::size_t memory_limit, MemorySource& source)
    : memory(memory_limit, source),
      kind_(kind),
      index_(index),
      name_(std::string(kind) + ":" + std::to_string(index)),
      default_stream_(make_stream()) {
  if (!record.keep_reserve()) throw std::bad_alloc();
}

const std::vector<Device*>& Device::all() noexcept { return registry(); }

void Device::add(Device* device) { registry().push_back(device); }

Stream* Device::make_stream() {
  std::lock_guard lock(graph_lock());
  // What its last owner left running goes by the number that it was submitted under.
  const auto unused = std::find_if(idle_.begin(), idle_.end(), [](const Stream* stream) {
    return stream->first_unfinished == nullptr;
  });
  if (unused != idle_.end()) {
    Stream* stream = *unused;
    idle_.erase(unused);
    // Another number, so that failures of its last owner are not this one's.
    stream->index = next_index_++;
    return stream;
  }
  idle_.reserve(streams_.size() + 1);  // so that recycling never allocates
  auto* stream = new Stream;
  stream->device = this;
  stream->index = next_index_++;
  stream->id = next_stream_id++;
  streams_.push_back(stream);
  return stream;
}

void Device::recycle_stream(Stream* stream) noexcept {
  std::lock_guard lock(graph_lock());
  idle_.push_back(stream);
}

}  // namespace nitinol
