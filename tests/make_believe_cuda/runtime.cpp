// A CUDA runtime for a machine without a GPU. Memory is host memory and kernels do nothing: it shows no number and no time.
// Copies and fills do happen. It refuses what CUDA refuses while a stream is being recorded, and counts all that is launched.
// Signatures are those of CUDA 13, as torch's build for it calls them. A call that is missing here reaches the real runtime,
// which finds no driver, so that it fails aloud.
#include <cuda_runtime_api.h>
#include <execinfo.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
#define IGNORED(name) API int name() { return 0; }   // succeeds and does nothing, whatever it is given
#define LOCKED std::lock_guard<std::recursive_mutex> lock(here().mutex)

namespace {

// ---- What there is

int setting(const char* name, int otherwise) {
  const char* value = getenv(name);
  return value ? atoi(value) : otherwise;
}

struct Stream;
struct Graph {
  struct Node { std::string what; std::function<void()> run; };
  std::vector<Node> nodes;
};
struct Recording {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  std::thread::id owner;
  std::set<Stream*> streams;
  Graph* graph = new Graph;
  bool broken = false;
};
struct Stream { int device; bool blocking; Recording* recording = nullptr; };
struct Event { unsigned long long recording = 0; };
struct Block { size_t bytes; int device; };

struct Machine {
  std::recursive_mutex mutex;
  const int devices = setting("FAKE_DEVICES", 1), capability = setting("FAKE_CC", 90);
  const size_t total = size_t(setting("FAKE_MB", 81000)) << 20;  // bytes of each device
  const bool driver_too_old = setting("NODRIVER", 0), trace = setting("FAKE_TRACE", 0);
  size_t used[8] = {}, peak[8] = {};
  std::map<char*, Block> blocks;        // device memory by its first byte
  std::map<char*, size_t> pinned;       // host memory that CUDA knows
  std::map<const void*, std::string> kernels;
  std::map<unsigned long long, Recording*> recordings;  // under way
  unsigned long long last_id = 0;
  std::map<std::string, long> counts;   // "recorded WHAT", "launched WHAT", and calls by name
  std::vector<std::string> refused;
};
Machine& here() {  // never destroyed: torch calls until the process ends
  static Machine* machine = new Machine;
  return *machine;
}

thread_local int device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;

template <class T> const std::pair<char* const, T>* block_of(const std::map<char*, T>& blocks, const void* address) {
  auto after = blocks.upper_bound((char*)address);
  return after == blocks.begin() ? nullptr : &*std::prev(after);
}
bool on_device(const void* p) { auto b = block_of(here().blocks, p); return b && (char*)p < b->first + b->second.bytes; }
bool is_pinned(const void* p) { auto b = block_of(here().pinned, p); return b && (char*)p < b->first + b->second; }

Stream* stream_of(cudaStream_t handle) {
  static Stream* legacy[8] = {};  // the default stream of each device
  if (handle != nullptr && handle != cudaStreamLegacy && handle != cudaStreamPerThread) return (Stream*)handle;
  if (!legacy[device]) legacy[device] = new Stream{device, true};
  return legacy[device];
}

// ---- What may not be

cudaError_t fail(cudaError_t error) { return last_error = error; }

cudaError_t refuse(cudaError_t error, const std::string& what) {
  here().refused.push_back(what);
  if (here().trace) {
    fprintf(stderr, "make-believe CUDA refuses: %s\n", what.c_str());
    void* frames[60];
    backtrace_symbols_fd(frames, backtrace(frames, 60), 2);
  }
  return fail(error);
}

cudaError_t breaks(Recording* recording, cudaError_t error, const std::string& what) {
  recording->broken = true;
  return refuse(error, what);
}

// Calls such as cudaMalloc: forbidden to a recording thread, and to all threads while a recording is global; allowed to threads
// that have said relaxed, as torch's allocator does.
cudaError_t unsafe_while_recording(const std::string& call) {
  LOCKED;
  if (mode_of_thread == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (auto& [id, r] : here().recordings) {
    if (r->owner == std::this_thread::get_id() && r->mode != cudaStreamCaptureModeRelaxed)
      return breaks(r, cudaErrorStreamCaptureUnsupported, call + " by the recording thread");
    if (r->mode == cudaStreamCaptureModeGlobal && mode_of_thread == cudaStreamCaptureModeGlobal)
      return breaks(r, cudaErrorStreamCaptureUnsupported, call + " by another thread during a global recording");
  }
  return cudaSuccess;
}
#define NOT_WHILE_RECORDING(call) if (cudaError_t error = unsafe_while_recording(call)) return error

cudaError_t enqueue(cudaStream_t handle, const std::string& what, std::function<void()> run = {}) {
  LOCKED;
  Stream* stream = stream_of(handle);
  if (stream->recording) {
    stream->recording->graph->nodes.push_back({what, run});
    here().counts["recorded " + what]++;
    return cudaSuccess;
  }
  if (stream->blocking)  // it would wait for the recording stream
    for (auto& [id, r] : here().recordings)
      for (Stream* other : r->streams)
        if (other->blocking) return breaks(r, cudaErrorStreamCaptureImplicit, what + " on the default stream");
  here().counts["launched " + what]++;
  if (run) run();
  return cudaSuccess;
}

cudaError_t launch(cudaStream_t handle, const void* kernel) {
  LOCKED;
  auto name = "kernel " + here().kernels[kernel];
  if (stream_of(handle)->device != device) return refuse(cudaErrorInvalidResourceHandle, name + " on another device");
  return enqueue(handle, name);
}

cudaError_t synchronises(cudaStream_t handle, const char* call) {
  LOCKED;
  here().counts[call]++;
  Recording* r = stream_of(handle)->recording;
  return r ? breaks(r, cudaErrorStreamCaptureUnsupported, std::string(call) + " of a recording stream") : cudaSuccess;
}

bool recorded(Event* event) { return event->recording && here().recordings.count(event->recording); }

}  // namespace

// ---- For the tests

API void make_believe_clear() {
  LOCKED;
  here().counts.clear();
  here().refused.clear();
  std::copy(here().used, here().used + 8, here().peak);
}
API size_t make_believe_used(int d) { return here().used[d]; }
API size_t make_believe_peak(int d) { return here().peak[d]; }
API const char* make_believe_report() {  // a line each: a number, a tab and what it counts, or "refused", a tab and what was
  LOCKED;
  static std::string text;
  text.clear();
  for (auto& [what, n] : here().counts) text += std::to_string(n) + "\t" + what + "\n";
  for (auto& what : here().refused) text += "refused\t" + what + "\n";
  return text.c_str();
}

// ---- Kernels: nvcc's code registers them at the start, and launches them through a stack of configurations

struct Configuration { dim3 grid, block; size_t shared; cudaStream_t stream; };
static thread_local std::vector<Configuration> configurations;

API void** __cudaRegisterFatBinary(void*) { static void* handle; return &handle; }
IGNORED(__cudaRegisterFatBinaryEnd) IGNORED(__cudaUnregisterFatBinary) IGNORED(__cudaRegisterVar)
API void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  LOCKED;
  here().kernels[host] = name;
}
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid, *block = c.block, *shared = c.shared, *(cudaStream_t*)stream = c.stream;
  return cudaSuccess;
}
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) { *kernel = (cudaKernel_t)host; return cudaSuccess; }
API cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3, dim3, void**, size_t, cudaStream_t s) { return launch(s, k); }
API cudaError_t cudaLaunchKernel(const void* f, dim3, dim3, void**, size_t, cudaStream_t s) { return launch(s, f); }
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void**) { return launch(c->stream, f); }
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void*) {
  *a = {};
  a->maxThreadsPerBlock = 1024, a->numRegs = 32, a->binaryVersion = a->ptxVersion = here().capability;
  return cudaSuccess;
}
API cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void*, int, size_t) { *n = 2; return cudaSuccess; }
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void*, int, size_t, unsigned) {
  *n = 2;
  return cudaSuccess;
}

// ---- Devices: as an H100, but for the compute capability and the memory

API cudaError_t cudaGetDeviceCount(int* n) {
  *n = here().driver_too_old ? 0 : here().devices;
  return here().driver_too_old ? fail(cudaErrorInsufficientDriver) : cudaSuccess;
}
API cudaError_t cudaDriverGetVersion(int* v) { *v = here().driver_too_old ? 12040 : CUDART_VERSION; return cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int* v) { *v = CUDART_VERSION; return cudaSuccess; }
API cudaError_t cudaGetDevice(int* d) { *d = device; return cudaSuccess; }
API cudaError_t cudaSetDevice(int d) {
  if (d >= here().devices) return fail(cudaErrorInvalidDevice);
  device = d;
  return cudaSuccess;
}
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  snprintf(p->name, sizeof p->name, "Make-believe GPU");
  p->major = here().capability / 10, p->minor = here().capability % 10, p->totalGlobalMem = here().total;
  p->warpSize = 32, p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->multiProcessorCount = 132;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 232448, p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->maxBlocksPerMultiProcessor = 32, p->l2CacheSize = 50 << 20;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int d) {
  cudaDeviceProp p;
  cudaGetDeviceProperties(&p, d);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = p.maxBlocksPerMultiProcessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = int(p.sharedMemPerBlock); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(p.sharedMemPerBlockOptin); break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = int(p.sharedMemPerMultiprocessor); break;
    case cudaDevAttrMaxRegistersPerBlock: *value = p.regsPerBlock; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[1]; break;
    default: *value = 0;
  }
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) { *least = 0, *greatest = -5; return cudaSuccess; }
API cudaError_t cudaDeviceSynchronize() {
  LOCKED;
  for (auto& [id, r] : here().recordings)
    return breaks(r, cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize during a recording");
  return cudaSuccess;
}
API cudaError_t cudaGetDriverEntryPointByVersion(
    const char*, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  if (result) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
API cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
API cudaError_t cudaPeekAtLastError() { return last_error; }

// ---- Memory

API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = here().total, *free = here().total - here().used[device];
  return cudaSuccess;
}
API cudaError_t cudaMalloc(void** address, size_t bytes) {
  NOT_WHILE_RECORDING("cudaMalloc");
  LOCKED;
  size_t& used = here().used[device];
  if (used + bytes > here().total) return fail(cudaErrorMemoryAllocation);
  *address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  here().blocks[(char*)*address] = {bytes, device};
  used += bytes;
  here().peak[device] = std::max(here().peak[device], used);
  return cudaSuccess;
}
API cudaError_t cudaFree(void* address) {
  LOCKED;
  if (!address) return cudaSuccess;
  NOT_WHILE_RECORDING("cudaFree");
  auto block = here().blocks.find((char*)address);
  if (block == here().blocks.end()) return refuse(cudaErrorInvalidValue, "cudaFree of what is not device memory");
  here().used[block->second.device] -= block->second.bytes;
  munmap(address, block->second.bytes);
  here().blocks.erase(block);
  return cudaSuccess;
}
API cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  NOT_WHILE_RECORDING("cudaHostAlloc");
  LOCKED;
  *address = calloc(1, bytes);
  here().pinned[(char*)*address] = bytes;
  return cudaSuccess;
}
API cudaError_t cudaFreeHost(void* address) {
  LOCKED;
  here().pinned.erase((char*)address);
  free(address);
  return cudaSuccess;
}
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* address) {
  LOCKED;
  *a = {};
  a->type = is_pinned(address) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  if (on_device(address)) {
    a->type = cudaMemoryTypeDevice, a->devicePointer = (void*)address;
    a->device = block_of(here().blocks, address)->second.device;
  }
  return cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  LOCKED;
  bool inside = on_device(to) && on_device(from);
  std::string what = inside ? "copy on the device" : on_device(to) ? "copy from the host" : "copy to the host";
  // A replay would read the host's memory of that time again.
  if (stream_of(stream)->recording && !inside) refuse(cudaSuccess, what + " in a recording");
  return enqueue(stream, what, [=] { memmove(to, from, bytes); });
}
API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  NOT_WHILE_RECORDING("cudaMemcpy");
  memmove(to, from, bytes);
  return cudaSuccess;
}
API cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
  return enqueue(stream, "memset", [=] { memset(at, value, bytes); });
}

// ---- Streams, events and recordings

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  *stream = (cudaStream_t) new Stream{device, !(flags & cudaStreamNonBlocking)};
  return cudaSuccess;
}
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) { *priority = 0; return cudaSuccess; }
API cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return synchronises(stream, "cudaStreamSynchronize"); }
API cudaError_t cudaStreamQuery(cudaStream_t stream) { return synchronises(stream, "cudaStreamQuery"); }
API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, mode_of_thread);
  return cudaSuccess;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  LOCKED;
  Recording* r = stream_of(stream)->recording;
  *status = !r ? cudaStreamCaptureStatusNone : r->broken ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
API cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph, const cudaGraphNode_t**,
    const cudaGraphEdgeData**, size_t* dependencies) {
  LOCKED;
  cudaStreamIsCapturing(stream, status);
  Recording* r = stream_of(stream)->recording;
  if (r && id) *id = r->id;
  if (r && graph) *graph = (cudaGraph_t)r->graph;
  if (dependencies) *dependencies = 0;
  return cudaSuccess;
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  LOCKED;
  Stream* stream = stream_of(handle);
  if (handle == nullptr) return refuse(cudaErrorStreamCaptureUnsupported, "recording of the default stream");
  if (stream->recording) return refuse(cudaErrorIllegalState, "recording of a recording stream");
  auto* r = new Recording{++here().last_id, mode, std::this_thread::get_id(), {stream}};
  stream->recording = here().recordings[r->id] = r;
  here().counts["cudaStreamBeginCapture"]++;
  return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  LOCKED;
  Recording* r = stream_of(handle)->recording;
  if (!r) return refuse(cudaErrorIllegalState, "end of a recording that is none");
  for (Stream* stream : r->streams) stream->recording = nullptr;
  here().recordings.erase(r->id);
  *graph = r->broken ? nullptr : (cudaGraph_t)r->graph;
  if (r->broken) return fail(cudaErrorStreamCaptureInvalidated);
  if (r->owner != std::this_thread::get_id() && r->mode != cudaStreamCaptureModeRelaxed)
    return refuse(cudaErrorStreamCaptureWrongThread, "end of a recording by another thread");
  return cudaSuccess;
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { *event = (cudaEvent_t) new Event; return cudaSuccess; }
API cudaError_t cudaEventDestroy(cudaEvent_t event) { delete (Event*)event; return cudaSuccess; }
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  LOCKED;
  Recording* r = stream_of(stream)->recording;
  ((Event*)event)->recording = r ? r->id : 0;
  return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) { return cudaEventRecord(event, stream); }
API cudaError_t cudaEventQuery(cudaEvent_t event) {
  NOT_WHILE_RECORDING("cudaEventQuery");
  LOCKED;
  return recorded((Event*)event) ? refuse(cudaErrorCapturedEvent, "cudaEventQuery of a recorded event") : cudaSuccess;
}
API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  LOCKED;
  return recorded((Event*)event) ? refuse(cudaErrorCapturedEvent, "cudaEventSynchronize of a recorded event") : cudaSuccess;
}
API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) { *milliseconds = 1; return cudaSuccess; }
API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  LOCKED;
  Stream* stream = stream_of(handle);
  Recording* theirs = recorded((Event*)event) ? here().recordings[((Event*)event)->recording] : nullptr;
  if (stream->recording == theirs) return cudaSuccess;
  if (!theirs) return refuse(cudaErrorStreamCaptureIsolation, "a recording stream waits for what is not recorded");
  if (stream->recording) return refuse(cudaErrorStreamCaptureMerge, "a wait that would merge two recordings");
  stream->recording = theirs;  // it joins the recording
  theirs->streams.insert(stream);
  return cudaSuccess;
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return enqueue(stream, "host function", [=] { function(data); });
}

// ---- Graphs

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = (cudaGraphExec_t) new Graph(*(Graph*)graph);
  return cudaSuccess;
}
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  LOCKED;
  if (stream_of(stream)->recording) return refuse(cudaErrorStreamCaptureUnsupported, "replay in a recording");
  here().counts["cudaGraphLaunch"]++;
  for (auto& node : ((Graph*)executable)->nodes)
    if (node.run) node.run();
  return cudaSuccess;
}
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  NOT_WHILE_RECORDING("cudaGraphExecDestroy");
  delete (Graph*)executable;
  return cudaSuccess;
}
API cudaError_t cudaGraphDestroy(cudaGraph_t graph) { delete (Graph*)graph; return cudaSuccess; }
API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* n) {
  *n = ((Graph*)graph)->nodes.size();
  if (nodes) std::fill(nodes, nodes + *n, nullptr);
  return cudaSuccess;
}
API cudaError_t cudaGraphRetainUserObject(cudaGraph_t, cudaUserObject_t, unsigned, unsigned) { return cudaSuccess; }

#include "libraries.inc"
