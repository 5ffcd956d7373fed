// A run that is killed after any step and resumed ends with the bits of one that was not: weights,
// moments, running statistics, step state, metrics, checkpoints.
#include <cstring>
#include <ranges>
#include <sstream>

#include "apps/common/trainer.h"
#include "data/phantom/phantom.h"
#include "engine/io/atomic_file.h"
#include "kernels/open_backend.h"
#include "tests/deferred_device.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"
#include "tests/run_files.h"
#include "tests/small_run.h"
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

void check_equal_runs(const fs::path& a, const fs::path& b) {
  testing::check_equal_tensors(a / "last.state", b / "last.state");
  testing::check_equal_tensors(a / "best.safetensors", b / "best.safetensors");
  CHECK(testing::timeless_metrics_of(a) == testing::timeless_metrics_of(b));
}

TrainData resolved_data(TrainSettings& settings) {
  std::vector<std::string> notes;
  resolve(settings, &notes);
  return load_train_data(settings);
}

// A scale that falls at the start, or soon, and grows every third clean step.
void move_loss_scale(TrainSettings& settings) {
  settings.loss_scale_start = 0x1p40;  // float16 overflows at once,
  settings.loss_scale_growth = settings.precision_dtype == "bfloat16" ? 1024 : 2;  // bfloat16 later
  settings.loss_scale_backoff = 0x1p-6;
  settings.loss_scale_interval = 3;
}

int64_t skipped_of(const fs::path& run) {
  for (const nlohmann::json& line : std::views::reverse(testing::timeless_metrics_of(run)))
    if (line["event"] == "step") return line["skipped"];
  return 0;
}

// The folder's last state, but for the scaler: that starts anew.
void forget_scaler(const fs::path& state, double start) {
  std::vector<std::byte> fresh(sizeof(StepState));
  const SafetensorsFile file(state);
  std::vector<FileTensor> tensors;
  for (FileTensor t : file.tensors()) {
    if (t.name == "step_state") {
      StepState s;
      std::memcpy(static_cast<void*>(&s), t.bytes.data(), sizeof s);
      s.loss_scale = start;
      s.clean = 0;
      std::memcpy(fresh.data(), &s, sizeof s);
      t.bytes = fresh;
    }
    tensors.push_back(t);
  }
  write_safetensors(state, std::move(tensors), file.metadata());
}

struct Killing {
  const char *precision, *optimizer;
  int64_t every;  // steps between kills
  bool all = false;
};

// All that the loop can do beside: a schedule with a warm-up, parts, clipping, counting towards an
// early end, both weights.
void ask_for_all(TrainSettings& settings) {
  settings.lr_scheduler = "cosine";
  settings.warmup_steps = 7;
  settings.epochs = 20;
  settings.accumulate_steps = 2;
  settings.clip_gradient_norm = 0.3;
  settings.early_stopping = true;
  settings.early_stopping_tolerance = 0.01;
  settings.early_stopping_patience = 15;
  settings.weighted_loss_mode = "class";
  settings.checkpoint_frequency = 2;
}

}  // namespace

TEST_CASE("killed after any step and resumed, a run ends with the same bits") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  std::string why;
  const Backend& backend = *open_backend("cpu", &why);
  REQUIRE(bool(backend.device.set_threads(1)));

  for (const auto& [precision, optimizer, every, all] :
       {Killing{"float32", "sgd", 1}, Killing{"float32", "nag", 1}, Killing{"float32", "adam", 1},
        Killing{"float32", "rmsprop", 1}, Killing{"float16", "adam", 4},
        Killing{"bfloat16", "nag", 4}, Killing{"float32", "adam", 8, true},
        Killing{"float16", "nag", 8, true}}) {
    CAPTURE(std::string(precision));
    CAPTURE(std::string(optimizer));
    TrainSettings settings = testing::small_settings(folder);
    settings.output = (folder / "straight").string();
    settings.augmentation_type = "crop";
    settings.use_weighted_loss = true;
    settings.optimizer = optimizer;
    settings.precision_dtype = precision;
    settings.learning_rate = 1e-3;
    settings.epochs = 1000;
    settings.max_steps = kSteps;
    settings.save_every = 3;  // so that most resumes take some steps again
    if (all) ask_for_all(settings);
    const bool scales = settings.precision_dtype != "float32";
    if (scales) move_loss_scale(settings);
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
    if (scales) {
      CHECK(skipped_of(settings.output) >= 1);
      CHECK(skipped_of(settings.output) <= 20);
    }

    for (int64_t k = 1; k <= kSteps; ++k) {
      INFO("killed after step ", k);
      const fs::path killed = folder / fmt::format("killed-{}", k);
      if (k % every == 0) {
        Trainer trainer(settings, data, backend);
        trainer.open(RunFolder::open(killed), true);
        REQUIRE(trainer.position().steps < k);
        REQUIRE(trainer.position().steps >= k - 3);
        trainer.run([] { return 0; });
        check_equal_runs(settings.output, killed);
      } else if (scales && k == kSteps - 1) {  // as it would be without the scaler's state
        forget_scaler(killed / "last.state", settings.loss_scale_start);
        Trainer trainer(settings, data, backend);
        trainer.open(RunFolder::open(killed), true);
        trainer.run([] { return 0; });
        CHECK(testing::timeless_metrics_of(settings.output) !=
              testing::timeless_metrics_of(killed));
      }
      fs::remove_all(killed);
    }
  }
}

TEST_CASE("a device that runs behind the host leaves the same files") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  TrainSettings settings = testing::small_settings(folder);
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
  for (const char* precision : {"float32", "float16"}) {
    CAPTURE(std::string(precision));
    TrainSettings settings = testing::small_settings(folder);
    settings.output = (folder / precision).string();
    settings.augmentation_type = "crop";
    settings.precision_dtype = precision;
    settings.max_steps = 5;
    settings.save_every = 2;
    if (settings.precision_dtype == "float16") {
      move_loss_scale(settings);
      settings.loss_scale_backoff = 0x1p-26;
    }
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
    CHECK(skipped_of(settings.output) == (settings.precision_dtype == "float16"));
  }
  CHECK(watch.fault() == "");
}

TEST_CASE("a bad image ends a run after all steps before it are logged") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  TrainSettings settings = testing::small_settings(folder);
  settings.shuffle = false;
  const TrainData data = resolved_data(settings);
  REQUIRE(data.train.samples.size() >= 12);
  write_file_atomically(data.train.root / data.train.samples[9].path, "nothing");  // in batch 2
  testing::deferred::side_streams_at_once = false;
  Trainer trainer(settings, data, testing::deferred::backend());
  trainer.open(RunFolder::create(settings.output), false);
  CHECK(testing::message_of(Exit::data, [&] { trainer.run([] { return 0; }); }) != "");
  const std::vector<nlohmann::json> lines = testing::timeless_metrics_of(settings.output);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1]["step"] == 1);
}

TEST_CASE("a damaged last state falls back to the one before, and says so") {
  const testing::Temporary folder;
  write_phantoms(folder / "data", 24, 32, 3, 2);
  std::string why;
  const Backend& backend = *open_backend("cpu", &why);
  REQUIRE(bool(backend.device.set_threads(1)));
  TrainSettings settings = testing::small_settings(folder);
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
