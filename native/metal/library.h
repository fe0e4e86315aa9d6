// Compute pipelines, compiled from text when first used and kept for the life of the process.
#pragma once

#import <Metal/Metal.h>

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "launch.h"
#include "objc.h"

namespace nitinol::metal {

struct Pipeline {
  id<MTLComputePipelineState> state = nil;  // nil: `error` says why
  std::size_t most_threads = 0;             // of a threadgroup
  std::string error;
};

// From any thread. What failed to compile is not tried again.
class PipelineCache {
 public:
  explicit PipelineCache(id<MTLDevice> device) noexcept : device_(device) {}

  // Throws std::bad_alloc. The references stay valid.
  const Pipeline& kernel(std::string_view file, std::string_view function,
                         std::span<const Define> defines);
  const Pipeline& source(std::string_view text, std::string_view function);

 private:
  struct Entry {
    std::mutex mutex;  // held while it compiles: others that want it wait
    bool tried = false;
    Pipeline pipeline;
  };

  std::shared_ptr<Entry> entry(std::string&& key);
  void compile(const std::string& text, std::string_view function, Pipeline& pipeline);

  id<MTLDevice> device_;
  std::mutex mutex_;
  // By what makes the text: std::unordered_map hashes it, and compares it whole.
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;
};

}  // namespace nitinol::metal
