// What is learnt in 16 bits is what is learnt in float32: the macro AUC of phantoms' test patients.
// A long stage at a usual rate, then a short one at a tenth of it from where that ended: at a
// constant rate the last steps alone move the AUC by more than is asked here, in float32 too.
#include <nlohmann/json.hpp>

#include "apps/common/trainer.h"
#include "data/phantom/phantom.h"
#include "engine/io/atomic_file.h"
#include "kernels/open_backend.h"
#include "tests/temporary.h"

namespace pneuma {
namespace {

struct Job {
  int64_t patients;
  int pixels, num_layers, base_width, epochs, last_epochs;
  double learning_rate;
};

double macro_auc(const Job& job, const testing::Temporary& folder, uint64_t seed,
                 const std::string& precision) {
  std::string why;
  TrainSettings settings;
  settings.data = (folder / "data").string();
  settings.image_shape = fmt::format("3,{0},{0}", job.pixels);
  settings.num_layers = job.num_layers;
  settings.base_width = job.base_width;
  settings.augmentation_type = "crop";
  settings.precision_dtype = precision;
  settings.seed = seed;
  for (const bool last : {false, true}) {
    const std::filesystem::path output =
        folder / fmt::format("{}-{}-{}", precision, seed, last ? "last" : "first");
    settings.output = output.string();
    settings.epochs = last ? job.last_epochs : job.epochs;
    settings.learning_rate = last ? job.learning_rate / 10 : job.learning_rate;
    std::vector<std::string> notes;
    resolve(settings, &notes);
    const TrainData data = load_train_data(settings);
    settings.num_classes = data.train.num_classes;
    Trainer trainer(settings, data, *open_backend("cpu", &why));
    const RunFolder run = RunFolder::create(output);
    trainer.open(run, false);
    trainer.run([] { return 0; });
    settings.init = run.checkpoint(settings.epochs - 1).string();
    if (!last) continue;
    trainer.test([] { return 0; });
    return nlohmann::json::parse(read_file(run.file("auc.json"), 1 << 20))["macro_auc"];
  }
  return 0;
}

}  // namespace

TEST_CASE("explore") {
  const auto env = [](const char* n, double d) {
    const char* v = std::getenv(n);
    return v ? atof(v) : d;
  };
  const Job job{int64_t(env("P", 1000)), int(env("PX", 32)), int(env("L", 10)), int(env("W", 16)),
                int(env("E", 8)),        int(env("E2", 2)),  env("LR", 1e-3)};
  for (uint64_t seed = 1; seed <= uint64_t(env("S", 3)); ++seed) {
    const testing::Temporary folder;
    write_phantoms(folder / "data", job.patients, job.pixels + job.pixels / 8, seed, 2);
    for (const char* p : {"float32", "bfloat16", "float16"}) {
      const auto t = std::chrono::steady_clock::now();
      const double auc = macro_auc(job, folder, seed, p);
      fmt::print(stderr, "AUC seed {} {} {:.4f} {:.1f} s\n", seed, p, auc,
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count());
    }
  }
}

}  // namespace pneuma
