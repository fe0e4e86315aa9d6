// Compute pipelines, compiled from text when first used and kept for the life of the process.
#pragma once

#import <Metal/Metal.h>

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "launch.h"
#include "objc.h"

namespace nitinol::metal {

struct Pipeline {
  id<MTLComputePipelineState> state = nil;  // nil: `error` says why
  std::size_t most_threads = 0;             // of a threadgroup
  const char* error = nullptr;              // valid for ever
};

// From any thread. What could not be had is tried again: compilers fail for a while, too.
class PipelineCache {
 public:
  explicit PipelineCache(id<MTLDevice> device) noexcept : device_(device) {}

  // Throw std::bad_alloc.
  Pipeline kernel(std::string_view file, std::string_view function,
                  std::span<const Define> defines);
  Pipeline source(std::string_view text, std::string_view function);

 private:
  struct Entry {
    std::mutex mutex;  // held while it compiles: others that want it wait
    Pipeline pipeline;
  };

  std::shared_ptr<Entry> entry(std::string&& key);
  Pipeline compile(const std::string& text, std::string_view function);
  Pipeline failed(std::string error);

  id<MTLDevice> device_;
  std::mutex mutex_;
  // By what makes the text: std::unordered_map hashes it, and compares it whole.
  std::unordered_map<std::string, std::shared_ptr<Entry>> entries_;
  std::unordered_set<std::string> errors_;  // said so far; they stay where they are
};

}  // namespace nitinol::metal
