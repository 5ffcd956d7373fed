#include "engine/io/training_state.h"

#include <cstring>
#include <map>

#include "engine/io/safetensors.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgress = "pneuma.progress";
constexpr const char* kStepState = "step_state";

// Every tensor of a state under its name in the file.
std::vector<Buffer> tensors_of(const Parameters& parameters, const Optimizer& optimizer) {
  std::vector<Buffer> all;
  for (const Parameter& p : parameters.parameters) all.push_back({"parameter/" + p.name, p.value});
  for (const Buffer& b : parameters.buffers) all.push_back({"buffer/" + b.name, b.value});
  for (const Buffer& m : optimizer.moments()) all.push_back({"moment/" + m.name, m.value});
  return all;
}

std::vector<int64_t> dims_of(const Shape& shape) { return {shape.dims, shape.dims + shape.rank}; }

std::string load(Context& ctx, const Parameters& parameters, Optimizer& optimizer,
                 const fs::path& path) {
  const SafetensorsFile file(path);
  const auto wrong = [&](const std::string& name) {
    fail(Exit::data,
         "{}: tensor {} is missing or of another shape; the run's settings do not go with this "
         "state",
         path.string(), name);
  };
  const std::vector<Buffer> all = tensors_of(parameters, optimizer);
  const FileTensor* state = file.find(kStepState);
  const auto progress = file.metadata().find(kProgress);
  if (!state || state->bytes.size() != sizeof(StepState) || progress == file.metadata().end())
    wrong(kStepState);
  for (const Buffer& b : all) {  // all is checked before anything is changed
    const FileTensor* t = file.find(b.name);
    if (!t || t->dtype != b.value.dtype() || t->shape != dims_of(b.value.shape())) wrong(b.name);
  }
  for (const Buffer& b : all) {
    const FileTensor* t = file.find(b.name);
    ctx.upload(b.value, t->bytes.data(), t->bytes.size());
  }
  parameters.write_working(ctx);
  StepState s;
  std::memcpy(static_cast<void*>(&s), state->bytes.data(), sizeof s);
  optimizer.set_state(ctx, s);
  return progress->second;
}

}  // namespace

void save_training_state(Context& ctx, const Parameters& parameters, const Optimizer& optimizer,
                         const std::string& progress, const fs::path& folder) {
  const std::vector<Buffer> all = tensors_of(parameters, optimizer);
  std::vector<std::vector<std::byte>> copies;
  std::vector<FileTensor> tensors;
  for (const Buffer& b : all) {
    auto& copy = copies.emplace_back(b.value.bytes());
    ctx.download(copy.data(), b.value, copy.size());
    tensors.push_back({b.name, b.value.dtype(), dims_of(b.value.shape()), copy});
  }
  const StepState state = optimizer.state(ctx);
  tensors.push_back(
      {kStepState, Dtype::u8, {int64_t(sizeof state)}, std::as_bytes(std::span(&state, 1))});

  // The old state keeps its name until the new one is complete; only its second name moves.
  const fs::path last = folder / "last.state", previous = folder / "previous.state";
  const fs::path second_name = folder / "previous.state.tmp";
  std::error_code error;
  fs::remove(second_name, error);
  fs::create_hard_link(last, second_name, error);
  const bool linked = !error;
  try {
    write_safetensors(last, std::move(tensors), {{kProgress, progress}});
  } catch (...) {
    fs::remove(second_name, error);
    throw;
  }
  if (linked) fs::rename(second_name, previous);
}

std::string load_training_state(Context& ctx, const Parameters& parameters, Optimizer& optimizer,
                                const fs::path& folder, std::string* note) {
  try {
    return load(ctx, parameters, optimizer, folder / "last.state");
  } catch (const Error& error) {
    const fs::path previous = folder / "previous.state";
    if (!fs::exists(previous)) throw;
    *note = fmt::format("{}; going on from {}, the state saved before", error.what(),
                        previous.string());
    return load(ctx, parameters, optimizer, previous);
  }
}

}  // namespace pneuma
