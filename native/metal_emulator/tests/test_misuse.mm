// Each broken rule of the API ends the process with its sentence. Every case runs in
// a process of its own: this program, started again with the case's name.
#include <dispatch/dispatch.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "metal_emulator/seams.h"
#include "metal_objects.h"

namespace {

using namespace emulator_test;

id<MTLCommandBuffer> commands() { return [[device() newCommandQueue] commandBuffer]; }
id<MTLComputeCommandEncoder> encoder() { return [[commands() retain] computeCommandEncoder]; }
id nothing() { return nil; }  // where the compiler would object
const MTLSize one = MTLSizeMake(1, 1, 1);

struct Case {
  void (*commit)();
  const char* sentence;  // part of it
};

const std::map<std::string, Case> cases = {
    {"encoder open at commit",
     {[] {
        id<MTLCommandBuffer> own = commands();
        [own computeCommandEncoder];
        [own commit];
      },
      "was committed with an encoder open"}},
    {"two encoders",
     {[] {
        id<MTLCommandBuffer> own = commands();
        [own computeCommandEncoder];
        [own blitCommandEncoder];
      },
      "that has an encoder open"}},
    {"committed twice",
     {[] {
        id<MTLCommandBuffer> own = commands();
        [own commit];
        [own commit];
      },
      "commit was sent to a command buffer that has been committed already"}},
    {"encoder after commit",
     {[] {
        id<MTLCommandBuffer> own = commands();
        [own commit];
        [own computeCommandEncoder];
      },
      "that has been committed already"}},
    {"handler after commit",
     {[] {
        id<MTLCommandBuffer> own = commands();
        [own commit];
        [own addCompletedHandler:^(id<MTLCommandBuffer>){
        }];
      },
      "addCompletedHandler: was sent to a command buffer that has been committed already"}},
    {"encoding after the end",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own endEncoding];
        [own setComputePipelineState:pipeline(@"add")];
      },
      "after endEncoding"}},
    {"ended twice",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own endEncoding];
        [own endEncoding];
      },
      "endEncoding was sent to the encoder \"\" after endEncoding"}},
    {"encoder released open",
     {[] {
        @autoreleasepool {
          [commands() computeCommandEncoder];
        }
      },
      "was released before endEncoding"}},
    {"wait before commit", {[] { [commands() waitUntilCompleted]; }, "has not been committed"}},
    {"wait for scheduling before commit",
     {[] { [commands() waitUntilScheduled]; }, "has not been committed"}},
    {"buffer freed in use",
     {[] {
        metal_emulator::hold_gpu();
        id<MTLCommandBuffer> own =
            [[device() newCommandQueue] commandBufferWithUnretainedReferences];
        id<MTLBuffer> x = [device() newBufferWithLength:16 options:0];
        x.label = @"weights";
        encode(own, @"add", x, 1, 1);
        [own commit];
        [x release];
      },
      "The buffer \"weights\" of 16 bytes was freed while"}},
    {"pipeline freed in use",
     {[] {
        id<MTLCommandBuffer> own =
            [[device() newCommandQueue] commandBufferWithUnretainedReferences];
        id<MTLComputeCommandEncoder> compute = [own computeCommandEncoder];
        @autoreleasepool {
          [compute setComputePipelineState:pipeline(@"add")];
        }
      },
      "The pipeline of the kernel \"add\" was freed while"}},
    {"buffer freed in a residency set",
     {[] {
        id<MTLResidencySet> own = residency_set();
        id<MTLBuffer> x = [device() newBufferWithLength:16 options:0];
        x.label = @"weights";
        [own addAllocation:x];
        [own commit];
        [own removeAllocation:x];
        [x release];
      },
      "The buffer \"weights\" of 16 bytes was freed while it is in a residency set"}},
    {"buffer freed before it is in its residency set",
     {[] {
        id<MTLBuffer> x = [device() newBufferWithLength:16 options:0];
        [residency_set() addAllocation:x];
        [x release];
      },
      "was freed while it is in a residency set"}},
    {"no allocation", {[] { [residency_set() addAllocation:nothing()]; }, "needs an allocation, not nil"}},
    {"no descriptor of a residency set",
     {[] { [device() newResidencySetWithDescriptor:nothing() error:nullptr]; }, "needs a descriptor"}},
    {"no residency set",
     {[] { [[device() newCommandQueue] addResidencySet:nothing()]; }, "needs a residency set, not nil"}},
    {"too many residency sets",
     {[] {
        id<MTLCommandQueue> queue = [device() newCommandQueue];
        for (int i = 0; i < 33; ++i) {
          [queue addResidencySet:residency_set()];
        }
      },
      "takes 32 residency sets at most"}},
    {"residency sets on macOS 14",
     {[] {
        metal_emulator::remove_residency_sets();
        residency_set();
      },
      "does not understand 'newResidencySetWithDescriptor:error:'"}},
    {"dispatch source resumed twice",
     {[] {
        dispatch_source_t own = dispatch_source_create(
            DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0, DISPATCH_MEMORYPRESSURE_WARN,
            dispatch_get_global_queue(QOS_CLASS_UTILITY, 0));
        dispatch_resume(own);
        dispatch_resume(own);
      },
      "dispatch_resume was called more often"}},
    {"dispatch source of nothing",
     {[] {
        dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0, 0,
                               dispatch_get_global_queue(QOS_CLASS_UTILITY, 0));
      },
      "0x0 is no mask of levels"}},
    {"no pipeline",
     {[] { [encoder() dispatchThreadgroups:one threadsPerThreadgroup:one]; },
      "without a pipeline"}},
    {"unbound buffer",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own setComputePipelineState:pipeline(@"add")];
        [own setBuffer:buffer(1) offset:0 atIndex:0];
        [own dispatchThreadgroups:one threadsPerThreadgroup:one];
      },
      "The kernel \"add\" needs a buffer at index 1"}},
    {"unbound again",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own setComputePipelineState:pipeline(@"add")];
        [own setBuffer:buffer(1) offset:0 atIndex:0];
        [own setBuffer:buffer(1) offset:0 atIndex:1];
        [own setBuffer:nil offset:0 atIndex:0];
        [own dispatchThreadgroups:one threadsPerThreadgroup:one];
      },
      "The kernel \"add\" needs a buffer at index 0"}},
    {"threadgroup too large",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own setComputePipelineState:pipeline(@"add")];
        [own dispatchThreadgroups:one threadsPerThreadgroup:MTLSizeMake(1025, 1, 1)];
      },
      "1025 x 1 x 1 threads per threadgroup are more than the 1024"}},
    {"empty grid",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own setComputePipelineState:pipeline(@"add")];
        [own dispatchThreadgroups:MTLSizeMake(0, 1, 1) threadsPerThreadgroup:one];
      },
      "have a dimension of 0"}},
    {"part of a threadgroup",
     {[] {
        [encoder() dispatchThreads:MTLSizeMake(33, 1, 1)
             threadsPerThreadgroup:MTLSizeMake(32, 1, 1)];
      },
      "whole threadgroups only"}},
    {"too many bytes",
     {[] {
        const char bytes[4097] = {};
        [encoder() setBytes:bytes length:sizeof bytes atIndex:0];
      },
      "the length 4097 is not between 1 and 4096"}},
    {"offset beyond the length",
     {[] { [encoder() setBuffer:buffer(4) offset:16 atIndex:0]; },
      "the offset 16 at index 0 is not less than the length 16"}},
    {"offset without buffer",
     {[] { [encoder() setBufferOffset:4 atIndex:3]; }, "no buffer is bound at index 3"}},
    {"index",
     {[] { [encoder() setBuffer:buffer(4) offset:0 atIndex:31]; }, "the index 31 is not less"}},
    {"threadgroup memory",
     {[] { [encoder() setThreadgroupMemoryLength:32784 atIndex:0]; }, "32784 exceeds 32768"}},
    {"threadgroup memory in steps",
     {[] { [encoder() setThreadgroupMemoryLength:20 atIndex:0]; }, "not a multiple of 16"}},
    {"no threadgroup memory",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own setComputePipelineState:pipeline(@"sum")];
        [own setBuffer:buffer(1) offset:0 atIndex:0];
        [own setBuffer:buffer(1) offset:0 atIndex:1];
        [own dispatchThreadgroups:one threadsPerThreadgroup:one];
      },
      "needs threadgroup memory at index 0"}},
    {"blit beyond the length",
     {[] {
        id<MTLBlitCommandEncoder> own = [[commands() retain] blitCommandEncoder];
        [own fillBuffer:buffer(4) range:NSMakeRange(8, 12) value:0];
      },
      "12 bytes at the offset 8 lie beyond the length 16"}},
    {"overlapping copy",
     {[] {
        id<MTLBlitCommandEncoder> own = [[commands() retain] blitCommandEncoder];
        id<MTLBuffer> x = buffer(4);
        [own copyFromBuffer:x sourceOffset:0 toBuffer:x destinationOffset:4 size:8];
      },
      "overlap"}},
    {"empty buffer", {[] { [device() newBufferWithLength:0 options:0]; }, "A buffer of length 0"}},
    {"huge buffer",
     {[] { [device() newBufferWithLength:device().maxBufferLength + 1 options:0]; },
      "exceeds maxBufferLength"}},
    {"memory off a page",
     {[] {
        static char memory[16];
        [device() newBufferWithBytesNoCopy:memory + 1 length:8 options:0 deallocator:nil];
      },
      "multiples of the page size"}},
    {"contents of a private buffer",
     {[] { [[device() newBufferWithLength:16 options:MTLResourceStorageModePrivate] contents]; },
      "no contents that the CPU can reach"}},
    {"debug group left open",
     {[] {
        id<MTLComputeCommandEncoder> own = encoder();
        [own pushDebugGroup:@"group"];
        [own endEncoding];
      },
      "ended with a debug group open"}},
    {"unknown selector",
     {[] { [(id)@"text" objectAtIndex:0]; },
      "NSConstantString does not understand 'objectAtIndex:'"}},
    {"traffic measured too late",
     {[] {
        pipeline(@"add");
        metal_emulator::measure_traffic();
      },
      "only from before the first kernel is compiled"}},
    {"environment",
     {[] {
        setenv("METAL_EMULATOR", "explode", 1);
        device();
      },
      "\"explode\" is no seam of the Metal emulator"}},
};

// What the process of one case wrote, when it was aborted; else a note.
std::string run_case(const char* program, const std::string& name) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    execl(program, program, name.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t size; (size = read(ends[0], part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(size));
  }
  close(ends[0]);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
    return "(not aborted) " + text;
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    @autoreleasepool {
      cases.at(argv[1]).commit();
    }
    return 0;
  }
  for (const auto& [name, expected] : cases) {
    const std::string text = run_case(argv[0], name);
    const bool right = text.starts_with("Metal emulator: API misuse: ") &&
                       text.find(expected.sentence) != std::string::npos;
    if (!right) {
      std::fprintf(stderr, "%s: expected \"%s\", got: %s\n", name.c_str(), expected.sentence,
                   text.c_str());
    }
    CHECK(right);
  }
}
