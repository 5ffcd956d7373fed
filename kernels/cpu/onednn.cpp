#include "kernels/cpu/onednn.h"

#include <omp.h>

#include <list>
#include <map>
#include <mutex>

#include "kernels/cpu/device.h"
#include "kernels/cpu/table.h"

namespace pneuma::onednn {
namespace {

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

dnnl::primitive reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  return dnnl::reorder({engine(), from, engine(), to});
}

// Least recently used operations leave first.
struct Cache {
  std::mutex mutex;
  std::list<std::pair<Key, Built>> recent;
  std::map<Key, std::list<std::pair<Key, Built>>::iterator> found;
};
Cache& cache() {
  static Cache c;
  return c;
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine e = [] {
    dnnl::set_primitive_cache_capacity(0);  // ours is the one
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return e;
}

bool computes_bf16() {
  static const int isa = int(dnnl::get_effective_cpu_isa());
  return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

dnnl::memory::data_type computed(Dtype stored, bool add) {
  return stored == Dtype::bf16 && !add && computes_bf16() ? dnnl::memory::data_type::bf16
                                                          : dnnl::memory::data_type::f32;
}

// Between the tensor and its copy in f32.
void Operation::Part::convert(void* data, void* copy) const {
  const int64_t count = int64_t(user.get_size() / sizeof(float));
  const View tensor{data, {count}, 1, stored}, wide{copy, {count}, 1};
  cpu_backend().kernels.convert.run(
      nullptr, output ? Convert{wide, {tensor, add}} : Convert{tensor, {wide}});
}

Operation::Operation(dnnl::primitive primitive, const dnnl::memory::desc& scratchpad,
                     std::vector<Argument> arguments)
    : primitive_(std::move(primitive)), scratchpad_(scratchpad) {
  workspace_ = aligned(scratchpad.get_size());
  for (Argument& a : arguments) {
    Part part{std::move(a)};
    part.staged =
        part.add || dnnl::memory::data_type_size(part.user.get_data_type()) != size_of(part.stored);
    if (part.staged) {
      part.stage = workspace_;
      workspace_ += aligned(part.user.get_size());
    }
    if (part.user != part.wanted) {
      part.reorder =
          part.output ? reorder(part.wanted, part.user) : reorder(part.user, part.wanted);
      part.offset = workspace_;
      workspace_ += aligned(part.wanted.get_size());
    }
    parts_.push_back(std::move(part));
  }
}

void Operation::run(const std::vector<void*>& data, void* workspace) const {
  thread_local dnnl::stream stream(engine());
  std::unordered_map<int, dnnl::memory> arguments;
  const auto bytes = static_cast<std::byte*>(workspace);
  std::vector<std::pair<dnnl::memory, dnnl::memory>> places(parts_.size());  // user, wanted
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    auto& [user, wanted] = places[i];
    if (part.staged && !part.output) part.convert(data[i], bytes + part.stage);
    user = {part.user, engine(), part.staged ? bytes + part.stage : data[i]};
    wanted = part.reorder ? dnnl::memory(part.wanted, engine(), bytes + part.offset) : user;
    if (part.reorder && !part.output)
      part.reorder.execute(stream, {{DNNL_ARG_FROM, user}, {DNNL_ARG_TO, wanted}});
    arguments.emplace(part.name, wanted);
  }
  arguments.emplace(DNNL_ARG_SCRATCHPAD, dnnl::memory(scratchpad_, engine(), workspace));
  primitive_.execute(stream, arguments);
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    auto& [user, wanted] = places[i];
    if (part.reorder && part.output)
      part.reorder.execute(stream, {{DNNL_ARG_FROM, wanted}, {DNNL_ARG_TO, user}});
    stream.wait();
    if (part.staged && part.output) part.convert(data[i], bytes + part.stage);
  }
}

Built operation(Key key, const std::function<Built()>& build) {
  const int threads = compute_threads();
  if (omp_get_max_threads() != threads) omp_set_num_threads(threads);  // of the calling thread
  key.back() = threads;
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  if (const auto it = c.found.find(key); it != c.found.end()) {
    c.recent.splice(c.recent.begin(), c.recent, it->second);
    return it->second->second;
  }
  Built built = build();
  c.recent.emplace_front(key, built);
  c.found[key] = c.recent.begin();
  if (c.recent.size() > kMaxOperations) {
    c.found.erase(c.recent.back().first);
    c.recent.pop_back();
  }
  return built;
}

size_t cached_operations() {
  const std::lock_guard lock(cache().mutex);
  return cache().recent.size();
}

Status guarded(const std::function<Status()>& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_out_of_memory)
      return {StatusCode::out_of_memory, "oneDNN: the host has no memory left"};
    if (e.status == dnnl_unimplemented)
      return {StatusCode::unsupported, "oneDNN has no implementation for these shapes"};
    if (e.status == dnnl_invalid_arguments)
      return {StatusCode::invalid, "oneDNN refuses these shapes"};
    return {StatusCode::device, "oneDNN failed"};
  } catch (const std::bad_alloc&) {
    return {StatusCode::out_of_memory, "the host has no memory left"};
  }
}

size_t workspace_of(const std::function<Built()>& find) {
  size_t bytes = 0;
  guarded([&] {
    bytes = find()->workspace();
    return Status{};
  });
  return bytes;
}

Status run(const std::function<Built()>& find, const std::vector<void*>& data,
           const View& workspace) {
  return guarded([&]() -> Status {
    const Built op = find();
    if (workspace.bytes() < op->workspace())
      return {StatusCode::invalid, "convolution or linear: the workspace is too small"};
    op->run(data, workspace.data);
    return {};
  });
}

}  // namespace pneuma::onednn
