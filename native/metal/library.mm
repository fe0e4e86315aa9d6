// From kernel text to pipelines.
#include "library.h"

#include "kernel_text.h"

namespace nitinol::metal {

namespace {

std::string describe(NSError* error, const char* otherwise) {
  std::string text = error ? to_string([error localizedDescription]) : std::string();
  return text.empty() ? otherwise : text;
}

}  // namespace

std::shared_ptr<PipelineCache::Entry> PipelineCache::entry(std::string&& key) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Entry>& found = entries_[std::move(key)];
  if (!found) found = std::make_shared<Entry>();
  return found;
}

Pipeline PipelineCache::kernel(std::string_view file, std::string_view function,
                               std::span<const Define> defines) {
  std::string key;
  key.reserve(128);
  key.append(file).append(1, '\n').append(function);
  for (const Define& define : defines) {
    key.append(1, '\n').append(define.name).append(1, ' ').append(define.value);
  }
  const std::shared_ptr<Entry> found = entry(std::move(key));
  std::lock_guard lock(found->mutex);
  if (found->pipeline.state == nil) {
    // Defines stand behind the common text, which includes Metal's own headers: a macro
    // named T would change those.
    std::string text(kernel_text("common"));
    for (const Define& define : defines) {
      text.append("#define ").append(define.name).append(1, ' ').append(define.value);
      text.append(1, '\n');
    }
    const std::string_view body = kernel_text(file);
    if (body.empty()) return failed("There is no kernel file " + std::string(file) + ".");
    found->pipeline = compile(text.append(body), function);
  }
  return found->pipeline;
}

Pipeline PipelineCache::source(std::string_view text, std::string_view function) {
  std::string key("\n");  // no file has that name
  key.append(function).append(1, '\n').append(text);
  const std::shared_ptr<Entry> found = entry(std::move(key));
  std::lock_guard lock(found->mutex);
  if (found->pipeline.state == nil) {
    found->pipeline = compile(std::string(kernel_text("common")).append(text), function);
  }
  return found->pipeline;
}

Pipeline PipelineCache::failed(std::string error) {
  Pipeline pipeline;
  std::lock_guard lock(mutex_);
  pipeline.error = errors_.insert(std::move(error)).first->c_str();
  return pipeline;
}

Pipeline PipelineCache::compile(const std::string& text, std::string_view function) {
  Pool pool;
  const auto options = Owned<MTLCompileOptions*>::adopt([[MTLCompileOptions alloc] init]);
  // NaN and infinities come out as on the CPU. Later systems call the same setting mathMode,
  // which this one sets there too.
  [options.get() setFastMathEnabled:NO];
  [options.get() setLanguageVersion:MTLLanguageVersion3_1];
  NSError* error = nil;
  const auto library =
      Owned<id<MTLLibrary>>::adopt([device_ newLibraryWithSource:to_string(text).get()
                                                         options:options.get()
                                                           error:&error]);
  if (!library) return failed(describe(error, "The kernel did not compile."));
  const auto made =
      Owned<id<MTLFunction>>::adopt([library.get() newFunctionWithName:to_string(function).get()]);
  if (!made) return failed("There is no kernel function " + std::string(function) + ".");
  error = nil;
  Pipeline pipeline;
  pipeline.state = [device_ newComputePipelineStateWithFunction:made.get() error:&error];
  if (pipeline.state == nil) return failed(describe(error, "The pipeline could not be made."));
  pipeline.most_threads = [pipeline.state maxTotalThreadsPerThreadgroup];
  return pipeline;
}

}  // namespace nitinol::metal
