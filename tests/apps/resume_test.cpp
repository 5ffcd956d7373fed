// A run that is killed after any step and resumed ends with the bits of one that was not: weights,
// moments, running statistics, step state, metrics, checkpoints.
#include <sstream>

#include "apps/common/trainer.h"
#include "data/phantom/phantom.h"
#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"
#include "kernels/open_backend.h"
#include "tests/deferred_device.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"
#include "tests/temporary.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSteps = 40;

// What a kill would leave: a copy of the run's folder as it stands, taken without the program's
// help.
void copy_folder(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::copy(from, to, fs::copy_options::recursive);
}

// metrics.jsonl without images_per_second, which is a clock's.
std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(run / "metrics.jsonl", 1 << 20));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("images_per_second");
  }
  return lines;
}

void check_equal_tensors(const fs::path& a, const fs::path& b) {
  const SafetensorsFile one(a), other(b);
  REQUIRE(one.tensors().size() == other.tensors().size());
  for (const FileTensor& t : one.tensors()) {
    const FileTensor* u = other.find(t.name);
    REQUIRE(u != nullptr);
    INFO(t.name);
    CHECK(std::ranges::equal(t.bytes, u->bytes));
  }
}

void check_equal_runs(const fs::path& a, const fs::path& b) {
  check_equal_tensors(a / "last.state", b / "last.state");
  check_equal_tensors(a / "best.safetensors", b / "best.safetensors");
  CHECK(metrics_of(a) == metrics_of(b));
}

TrainSettings small_settings(const testing::Temporary& folder) {
  TrainSettings settings;
  settings.data = (folder / "data").string();
  settings.output = (folder / "run").string();
  settings.num_layers = 10;
  settings.base_width = 4;
  settings.image_shape = "3,32,32";
  settings.mini_batch_size = 4;
  settings.threads = 1;
  return settings;
}

TrainData resolved_data(TrainSettings& settings) {
  std::vector<std::string> notes;
  resolve(settings, &notes);
  return load_train_data(settings);
}

}  // namespace

TEST_CASE("killed after any step and resumed, a run ends with the same bits") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  std::string why;
  const Backend& backend = *open_backend("cpu", &why);
  REQUIRE(bool(backend.device.set_threads(1)));

  for (const char* optimizer : {"sgd", "nag", "adam", "rmsprop"}) {
    TrainSettings settings = small_settings(folder);
    settings.output = (folder / "straight").string();
    settings.augmentation_type = "crop";
    settings.use_weighted_loss = true;
    settings.optimizer = optimizer;
    settings.learning_rate = 1e-3;
    settings.epochs = 1000;
    settings.max_steps = kSteps;
    settings.save_every = 3;  // so that most resumes take some steps again
    const TrainData data = resolved_data(settings);
    REQUIRE(data.train.samples.size() >= 8);

    fs::remove_all(settings.output);
    int64_t taken = 0;
    {
      Trainer trainer(settings, data, backend);
      const RunFolder run = RunFolder::create(settings.output);
      write_file_atomically(run.file("settings.json"), nlohmann::json(settings).dump());
      trainer.open(run, false);
      trainer.run([&] {  // asked after each step, and during validation
        const int64_t at = trainer.position().steps;
        if (at > taken) copy_folder(settings.output, folder / fmt::format("killed-{}", taken = at));
        return 0;
      });
      REQUIRE(trainer.position().steps == kSteps);
    }
    REQUIRE(taken == kSteps);

    for (int64_t k = 1; k <= kSteps; ++k) {
      INFO(optimizer, " killed after step ", k);
      const fs::path killed = folder / fmt::format("killed-{}", k);
      Trainer trainer(settings, data, backend);
      trainer.open(RunFolder::open(killed), true);
      REQUIRE(trainer.position().steps < k);
      REQUIRE(trainer.position().steps >= k - 3);
      trainer.run([] { return 0; });
      check_equal_runs(settings.output, killed);
      fs::remove_all(killed);
    }
  }
}

TEST_CASE("a device that runs behind the host leaves the same files") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  TrainSettings settings = small_settings(folder);
  settings.augmentation_type = "crop";
  settings.mini_batch_size = 5;
  settings.last_batch = "keep";
  settings.epochs = 2;
  settings.save_every = 2;
  settings.output = (folder / "straight").string();
  const TrainData data = resolved_data(settings);
  REQUIRE(data.train.samples.size() % 5 != 0);
  const auto train = [&](const Backend& backend, const std::string& name) {
    Trainer trainer(settings, data, backend);
    trainer.open(RunFolder::create(folder / name), false);
    trainer.run([] { return 0; });
  };
  train(reference_backend(), "straight");
  for (const bool at_once : {false, true}) {
    CAPTURE(at_once);
    testing::deferred::side_streams_at_once = at_once;
    const std::string name = fmt::format("late-{}", at_once);
    train(testing::deferred::backend(), name);
    check_equal_runs(folder / "straight", folder / name);
  }
}

TEST_CASE("killed on host_cuda and resumed, a run ends with the same bits") {
  if (!fs::exists(PNEUMA_BIN_DIR "/libpneuma_host_cuda.so")) return;
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  const Backend& backend = *testing::device_named("host_cuda");
  testing::HostCudaWatch watch(backend);
  TrainSettings settings = small_settings(folder);
  settings.augmentation_type = "crop";
  settings.max_steps = 5;
  settings.save_every = 2;
  const TrainData data = resolved_data(settings);
  {
    Trainer trainer(settings, data, backend);
    const RunFolder run = RunFolder::create(settings.output);
    write_file_atomically(run.file("settings.json"), nlohmann::json(settings).dump());
    trainer.open(run, false);
    trainer.run([&] {
      if (trainer.position().steps == 4) copy_folder(settings.output, folder / "killed");
      return 0;
    });
  }
  {
    Trainer trainer(settings, data, backend);
    trainer.open(RunFolder::open(folder / "killed"), true);
    CHECK(trainer.position().steps == 2);
    trainer.run([] { return 0; });
  }
  check_equal_runs(settings.output, folder / "killed");
  CHECK(watch.fault() == "");
}

TEST_CASE("a bad image ends a run after all steps before it are logged") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  TrainSettings settings = small_settings(folder);
  settings.shuffle = false;
  const TrainData data = resolved_data(settings);
  REQUIRE(data.train.samples.size() >= 12);
  write_file_atomically(data.train.root / data.train.samples[9].path, "nothing");  // in batch 2
  testing::deferred::side_streams_at_once = false;
  Trainer trainer(settings, data, testing::deferred::backend());
  trainer.open(RunFolder::create(settings.output), false);
  CHECK(testing::message_of(Exit::data, [&] { trainer.run([] { return 0; }); }) != "");
  const std::vector<nlohmann::json> lines = metrics_of(settings.output);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1]["step"] == 1);
}

TEST_CASE("a damaged last state falls back to the one before, and says so") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  std::string why;
  const Backend& backend = *open_backend("cpu", &why);
  REQUIRE(bool(backend.device.set_threads(1)));
  TrainSettings settings = small_settings(folder);
  settings.max_steps = 5;
  settings.save_every = 2;
  const TrainData data = resolved_data(settings);
  {
    Trainer trainer(settings, data, backend);
    const RunFolder run = RunFolder::create(settings.output);
    write_file_atomically(run.file("settings.json"), nlohmann::json(settings).dump());
    trainer.open(run, false);
    trainer.run([] { return 0; });
  }
  std::string state = read_file(folder / "run" / "last.state", 1 << 26);
  state[state.size() / 2] ^= 1;
  write_file_atomically(folder / "run" / "last.state", state);

  Trainer trainer(settings, data, backend);
  trainer.open(RunFolder::open(settings.output), true);
  CHECK(trainer.position().steps == 4);

  write_file_atomically(folder / "run" / "previous.state", "nothing");
  Trainer lost(settings, data, backend);
  CHECK(testing::message_of(Exit::data, [&] {
          lost.open(RunFolder::open(settings.output), true);
        }).size() > 0);
}

}  // namespace pneuma
