// What the loop of a run does with its settings: rates, parts, counts of right answers, kept
// checkpoints, the early end.
#include <cmath>
#include <ranges>

#include "apps/common/trainer.h"
#include "data/phantom/phantom.h"
#include "engine/host_values.h"
#include "engine/io/atomic_file.h"
#include "kernels/reference/table.h"
#include "tests/run_files.h"
#include "tests/small_run.h"
#include "tests/temporary.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::metrics_of;
using testing::timeless_metrics_of;

constexpr int kClasses = 4;

struct Fixture {
  testing::Temporary folder;
  TrainSettings settings;
  std::vector<std::string> notes;

  Fixture() {
    write_phantoms(folder / "data", 24, 32, 3, 2);
    settings = testing::small_settings(folder);
    settings.learning_rate = 1e-3;
  }

  // The same pictures, one class each.
  void one_class_an_image() {
    std::string list;
    int i = 0;
    for (const auto& file : fs::directory_iterator(folder / "data" / "images")) {
      if (i == 18) break;
      list += fmt::format("{}\t{}\t{}\n", i, i % kClasses, file.path().filename().string());
      ++i;
    }
    REQUIRE(i == 18);
    write_file_atomically(folder / "all.lst", list);
    settings.train = settings.validation = (folder / "data" / "images").string();
    settings.train_lst = settings.validation_lst = (folder / "all.lst").string();
    settings.data.clear();
    settings.multi_label = false;
    settings.num_classes = kClasses;
  }

  TrainData resolved() {
    notes.clear();
    resolve(settings, &notes);
    return load_train_data(settings);
  }

  // A whole run; `after` is called after each step.
  void run(const TrainData& data, const std::function<void(const Trainer&)>& after = {}) {
    Trainer trainer(settings, data, reference_backend());
    const RunFolder out = RunFolder::create(settings.output);
    write_file_atomically(out.file("settings.json"), Json(settings).dump());
    trainer.open(out, false);
    trainer.run([&] {
      if (after) after(trainer);
      return 0;
    });
  }

  std::vector<Json> lines(const std::string& event) {
    std::vector<Json> all = metrics_of(settings.output);
    std::erase_if(all, [&](const Json& line) { return line["event"] != event; });
    return all;
  }

  bool noted(const std::string& part) {
    return std::ranges::any_of(
        notes, [&](const std::string& note) { return note.find(part) != note.npos; });
  }
};

}  // namespace

TEST_CASE("an improvement is more than a tie, and by the tolerance of the best") {
  const EarlyStopping plain{true, 3, 2, 0}, tenth{true, 1, 1, 0.1};
  CHECK(plain.is_improvement(0.51, 0.5));
  CHECK_FALSE(plain.is_improvement(0.5, 0.5));
  CHECK_FALSE(plain.is_improvement(0.4, 0.5));
  CHECK(tenth.is_improvement(0.5625, 0.5));
  CHECK_FALSE(tenth.is_improvement(0.53, 0.5));
  CHECK(tenth.is_improvement(-0.4, -0.5));  // a loss, its sign turned
  CHECK_FALSE(tenth.is_improvement(-0.46, -0.5));
  CHECK(tenth.is_improvement(0.001, 0));
  CHECK_FALSE(tenth.is_improvement(0, 0));
  CHECK_FALSE(plain.ends(2, 2));  // too early
  CHECK_FALSE(plain.ends(9, 1));
  CHECK(plain.ends(3, 2));
  CHECK_FALSE(EarlyStopping{}.ends(1000, 1000));  // not asked for
}

TEST_CASE_FIXTURE(Fixture, "a run without improvement ends early, killed and resumed or not") {
  settings.early_stopping = true;
  settings.early_stopping_min_epochs = 2;
  settings.early_stopping_patience = 3;
  settings.early_stopping_tolerance = 1;  // an accuracy above a half cannot double
  settings.select_by = "accuracy";
  settings.epochs = 9;
  settings.save_every = 2;
  const TrainData data = resolved();
  std::vector<fs::path> killed;
  run(data, [&](const Trainer& trainer) {
    if (trainer.position().epoch == 0) return;
    killed.push_back(folder / fmt::format("killed-{}", killed.size()));
    fs::copy(settings.output, killed.back(), fs::copy_options::recursive);
  });
  const std::vector<Json> epochs = lines("epoch"), ends = lines("early_stop");
  REQUIRE(epochs.size() == 4);
  for (const Json& line : epochs) CHECK(line["validation_accuracy"] > 0.5);
  REQUIRE(ends.size() == 1);
  CHECK(ends[0]["epoch"] == 3);
  CHECK(ends[0]["epochs_without_improvement"] == 3);

  killed.push_back(settings.output);  // one that is over stays over
  const std::vector<Json> all = timeless_metrics_of(settings.output);
  for (const fs::path& path : killed) {
    CAPTURE(path.string());
    Trainer trainer(settings, data, reference_backend());
    trainer.open(RunFolder::open(path), true);
    trainer.run([] { return 0; });
    CHECK(trainer.position().epoch == 4);
    CHECK(timeless_metrics_of(path) == all);
    testing::check_equal_tensors(path / "last.state", fs::path(settings.output) / "last.state");
  }
}

TEST_CASE_FIXTURE(Fixture, "early stopping follows the measure that selects") {
  settings.early_stopping = true;
  settings.early_stopping_min_epochs = settings.early_stopping_patience = 1;
  settings.select_by = "loss";
  settings.epochs = 30;
  settings.learning_rate = 0;  // running statistics alone move
  run(resolved());
  const std::vector<Json> epochs = lines("epoch");
  for (size_t i = 1; i < epochs.size(); ++i)
    CHECK((epochs[i]["validation_loss"] < epochs[i - 1]["validation_loss"]) ==
          (i + 1 < epochs.size()));
  CHECK(lines("early_stop").size() == size_t(epochs.size() < 30));
}

TEST_CASE_FIXTURE(Fixture, "kept checkpoints: every epoch, every second, the best alone") {
  settings.epochs = 3;
  const TrainData data = resolved();
  for (const auto& [frequency, kept] : {std::pair(1, 3), {2, 1}, {0, 0}}) {
    CAPTURE(frequency);
    settings.checkpoint_frequency = frequency;
    settings.output = (folder / fmt::format("run-{}", frequency)).string();
    run(data);
    const RunFolder out = RunFolder::open(settings.output);
    int found = 0;
    for (int epoch = 0; epoch < 3; ++epoch) found += fs::exists(out.checkpoint(epoch));
    CHECK(found == kept);
    if (frequency == 2) CHECK(fs::exists(out.checkpoint(1)));
    CHECK(fs::exists(out.best()));
  }
}

TEST_CASE("right answers: ties go to the class before, NaN is never right") {
  RightAnswers one;
  one.count_image(std::vector<double>{1, 3, 3, 2}, 1, 2);
  CHECK(one.right == 1);
  one.count_image(std::vector<double>{1, 3, 3, 2}, 2, 2);
  CHECK(one.right == 1);
  CHECK(one.right_in_top_k == 2);
  one.count_image(std::vector<double>{1, 3, 3, 2}, 3, 2);
  CHECK(one.right_in_top_k == 2);
  one.count_image(std::vector<double>{NAN, NAN, NAN, NAN}, 0, 4);
  CHECK(one.right == 1);
  CHECK(one.right_in_top_k == 2);
  CHECK(one.accuracy() == 0.25);
  CHECK(one.top_k_accuracy() == 0.5);
  RightAnswers several;
  CHECK_FALSE(several.accuracy());
  several.count_elements(std::vector<double>{1, -1, 0, 5, -2, NAN},
                         std::vector<float>{1, 1, 0, NAN, 0, 0});
  CHECK(several.counted == 5);
  CHECK(several.right == 4);  // what is NaN says no
}

TEST_CASE_FIXTURE(Fixture, "each step's logits are its own, and make the accuracy of the epoch") {
  for (const bool multi_label : {true, false}) {
    CAPTURE(multi_label);
    if (!multi_label) one_class_an_image();
    settings.output = (folder / fmt::format("run-{}", multi_label)).string();
    settings.top_k = multi_label ? 0 : 2;
    settings.accumulate_steps = 2;
    settings.epochs = 1;
    settings.mini_batch_size = 10;
    settings.last_batch = "keep";
    const TrainData data = resolved();
    REQUIRE(data.train.samples.size() % 10 % 5 != 0);  // the last part is smaller than the others
    run(data);

    Trainer trainer(settings, data, reference_backend());
    Loader batches = trainer.batches();
    double right = 0, in_top = 0, counted = 0;
    for (const Json& line : lines("step")) {
      const Batch batch = *batches.next();
      const StepResult result = trainer.step(batch);
      const size_t images = batch.samples.size(), classes = size_t(data.train.num_classes);
      REQUIRE(result.logits.size() == images * classes);
      double loss = 0;
      for (size_t i = 0; i < images; ++i) {
        const std::span<const double> z = std::span(result.logits).subspan(i * classes, classes);
        if (multi_label) {
          for (size_t c = 0; c < classes; ++c, ++counted) {
            const double y = batch.labels[i * classes + c], p = 1 / (1 + std::exp(-z[c]));
            loss -= (y * std::log(p) + (1 - y) * std::log(1 - p)) / double(classes);
            right += (p > 0.5) == (y == 1);
          }
          continue;
        }
        double sum = 0;
        std::vector<size_t> order;
        for (size_t c = 0; c < classes; ++c) sum += std::exp(z[c]), order.push_back(c);
        std::ranges::stable_sort(order, [&](size_t a, size_t b) { return z[a] > z[b]; });
        const auto label = size_t(batch.labels[i]);
        loss -= std::log(std::exp(z[label]) / sum);
        ++counted;
        right += order[0] == label;
        in_top += order[0] == label || order[1] == label;
      }
      CHECK(result.loss == doctest::Approx(loss / double(images)).epsilon(1e-5));  // float32
      CHECK(line["loss"] == doctest::Approx(result.loss).epsilon(1e-12));
    }
    const Json epoch = lines("epoch").at(0);
    CHECK(epoch["train_accuracy"] == right / counted);
    CHECK(epoch.contains("train_top_k_accuracy") == !multi_label);
    if (!multi_label) CHECK(epoch["train_top_k_accuracy"] == in_top / counted);
  }
}

TEST_CASE_FIXTURE(Fixture, "the accuracies of an evaluation are exact, its loss has the weights") {
  const auto evaluate = [&](const Dataset& dataset, bool multi_label, const LossWeights& weights) {
    Context ctx(reference_backend(), float32());
    ResNet net(ctx, {.num_layers = 10, .num_classes = dataset.num_classes, .base_width = 4});
    net.initialize(ctx, 5);
    ImageInput input(
        ctx, {{3, 32, 32}, {120, 120, 120}, {60, 60, 60}, dataset.num_classes, multi_label});
    Evaluator evaluator(ctx, net, input, multi_label, weights, multi_label ? 0 : 3);
    return evaluator.run("a set", dataset, {.height = 32, .width = 32}, 4);
  };
  const TrainData several = resolved();
  const auto classes = size_t(several.train.num_classes);
  LossWeights weights;
  for (size_t c = 0; c < classes; ++c) {
    weights.positive.push_back(1.5f + float(c));
    weights.negative.push_back(0.5f + float(c % 3));
  }
  Predictions p = evaluate(several.train, true, weights);
  CHECK_FALSE(p.top_k_accuracy);
  double loss = 0;
  for (size_t i = 0; i < p.labels.size(); ++i) {
    const double q = p.probabilities[i], w = weights.positive[i % classes],
                 v = weights.negative[i % classes];
    loss -= p.labels[i] == 1 ? w * std::log(q) : v * std::log(1 - q);
  }
  CHECK(p.loss == doctest::Approx(loss / double(p.labels.size())).epsilon(1e-5));  // float32

  one_class_an_image();
  const TrainData one = resolved();
  REQUIRE(one.validation.samples.size() % 4 != 0);  // no image counts twice
  p = evaluate(one.validation, false, {});
  int right = 0;
  for (size_t i = 0; i < p.samples.size(); ++i) {
    const auto label = size_t(one.validation.samples[size_t(p.samples[i])].labels[0]);
    const auto row = std::span(p.probabilities).subspan(i * kClasses, kClasses);
    right += std::ranges::count_if(row, [&](float q) { return q > row[label]; }) < 3;
  }
  CHECK(p.samples.size() == 18);
  CHECK(p.top_k_accuracy == right / 18.0);
}

TEST_CASE_FIXTURE(Fixture, "a batch in four parts needs less memory, and says so") {
  settings.mini_batch_size = 8;
  settings.image_shape = "3,128,128";
  const TrainData data = resolved();
  size_t peaks[2];
  for (const bool parts : {false, true}) {
    settings.accumulate_steps = parts ? 4 : 1;
    Trainer dry(settings, data, reference_backend(), true);
    peaks[parts] = dry.plan(8).peak;
    CHECK(dry.plan_text().find(parts ? "4 part(s)" : "1 part(s)") != std::string::npos);
  }
  MESSAGE("one part " << peaks[0] << " bytes, four " << peaks[1]);
  // Not a quarter: the copy of a part's images, and what the weights' gradients need.
  CHECK(double(peaks[1]) < 0.5 * double(peaks[0]));
}

TEST_CASE_FIXTURE(Fixture, "step lines have the rate and the norm; clipping shortens the step") {
  settings.lr_scheduler_step = "1";
  settings.lr_scheduler_factor = 0.25;
  settings.warmup_steps = 2;
  settings.epochs = 2;
  settings.optimizer = "sgd";
  settings.weight_decay = 0;
  const TrainData data = resolved();
  run(data);
  const std::vector<Json> steps = lines("step");
  const auto epoch = size_t(steps.size() / 2);
  REQUIRE(epoch > 2);
  CHECK(steps[0]["lr"] == 0.5e-3);
  CHECK(steps[1]["lr"] == 1e-3);
  CHECK(steps[epoch - 1]["lr"] == 1e-3);
  CHECK(steps[epoch]["lr"] == 0.25e-3);
  for (const Json& step : steps) CHECK(step["gradient_norm"] > 0);

  // A rate and a norm that small: nothing moves but by what was clipped.
  settings.output = (folder / "clipped").string();
  settings.clip_gradient_norm = 1e-6;
  run(data);
  const std::vector<Json> clipped = lines("step");
  CHECK(clipped[0]["gradient_norm"] == steps[0]["gradient_norm"]);  // as it was
  const auto values = [](Trainer& trainer) {
    std::vector<double> all;
    for (const Parameter& p : trainer.parameters().parameters)
      for (const double v : get_values(trainer.context(), p.value)) all.push_back(v);
    return all;
  };
  const auto moved = [&](const fs::path& run) {
    Trainer trainer(settings, data, reference_backend());
    const std::vector<double> before = values(trainer);
    trainer.open(RunFolder::open(run), true);
    double squares = 0;
    for (size_t i = 0; const double v : values(trainer)) squares += std::pow(v - before[i++], 2);
    return std::sqrt(squares);
  };
  CHECK(moved(folder / "clipped") < 1e-3 * moved(folder / "run"));
}

TEST_CASE_FIXTURE(Fixture, "eight images are learnt by heart, in parts, with cosine and clipping") {
  TrainData data = resolved();
  data.train.samples.resize(8);
  settings.mini_batch_size = 8;
  settings.accumulate_steps = 2;
  settings.lr_scheduler = "cosine";
  settings.warmup_epochs = 5;
  settings.clip_gradient_norm = 5;
  settings.learning_rate = 0.02;
  settings.epochs = 60;
  settings.checkpoint_frequency = 0;
  run(data);
  const std::vector<Json> epochs = lines("epoch"), steps = lines("step");
  CHECK(epochs.front()["train_loss"] > 0.5);
  CHECK(epochs.back()["train_loss"] < 0.02);
  CHECK(epochs.back()["train_accuracy"] == 1);
  CHECK(steps[0]["lr"] == doctest::Approx(0.004));
  CHECK(steps[4]["lr"] == 0.02);
  CHECK(steps.back()["lr"] < 1e-4);
}

TEST_CASE_FIXTURE(Fixture, "settings that do nothing are noted, those that cannot be are refused") {
  const TrainSettings usual = settings;
  const auto after = [&](const std::function<void(TrainSettings&)>& change) -> Fixture& {
    settings = usual;
    change(settings);
    notes.clear();
    resolve(settings, &notes);
    return *this;
  };
  using S = TrainSettings;
  CHECK(after([](S&) {}).notes.empty());
  CHECK(settings.lr_scheduler == "constant");
  CHECK(after([](S& s) { s.lr_scheduler_factor = 0.5; }).noted("--lr_scheduler_factor has no"));
  CHECK(after([](S& s) { s.lr_scheduler_step = "3,5"; }).notes.empty());
  CHECK(settings.lr_scheduler == "step");
  CHECK(after([](S& s) { s.lr_scheduler_step = "3,30"; }).noted("beyond the 30 epochs"));
  CHECK(after([](S& s) {
          s.lr_scheduler = "cosine", s.lr_scheduler_step = "3";
        }).noted("--lr_scheduler_step has no effect: --lr_scheduler is cosine"));
  CHECK(after([](S& s) { s.lr_scheduler = "cosine", s.max_steps = 3; }).noted("--max_steps"));
  CHECK(after([](S& s) { s.early_stopping_patience = 3; }).noted("--early_stopping_patience has"));
  CHECK(after([](S& s) { s.weighted_loss_mode = "class"; }).noted("--weighted_loss_mode has no"));
  CHECK(after([](S& s) { s.top_k = 3; }).noted("--top_k has no effect: --multi_label is 1"));
  CHECK(settings.top_k == 0);

  const auto refused = [&](const std::string& part, const std::function<void(TrainSettings&)>& c) {
    const std::string said = testing::message_of(Exit::usage, [&] { after(c); });
    CHECK_MESSAGE(said.find(part) != said.npos, said);
  };
  for (const char* text : {"", "0", "5,5", "7,3", "a", "3,,5", "99999999999"})
    refused("--lr_scheduler_step '",
            [&](S& s) { s.lr_scheduler = "step", s.lr_scheduler_step = text; });
  refused("give one", [](S& s) { s.warmup_epochs = 1, s.warmup_steps = 3; });
  refused("3 equal parts", [](S& s) { s.accumulate_steps = 3; });
  for (const int k : {1, kClasses + 1})
    refused("--top_k " + std::to_string(k), [&](S& s) {
      s.multi_label = false, s.num_classes = kClasses, s.top_k = k;
      s.train = s.validation = s.data, s.train_lst = s.validation_lst = "a.lst";
      s.data.clear();
    });
}

}  // namespace pneuma
