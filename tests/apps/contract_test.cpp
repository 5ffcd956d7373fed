// The training container's folder as a platform lays it out: a job starts without flags, leaves its
// model, goes on after a stop, and says why it cannot.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <set>

#include "data/phantom/phantom.h"
#include "models/mxnet/params.h"
#include "models/weight_source.h"
#include "tests/program.h"
#include "tests/run_files.h"
#include "tests/shared_data.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Small pictures and lists of them, three classes; drawn once.
struct Pictures {
  Temporary folder;
  std::vector<std::string> names;

  Pictures() {
    write_phantoms(folder / "data", 40, 32, 7, 1);
    for (const auto& entry : fs::directory_iterator(folder / "data/images"))
      names.push_back(entry.path().filename());
    std::ranges::sort(names);
    REQUIRE(names.size() >= 40);
    for (const bool several : {false, true}) {
      const std::string end = several ? "-several.lst" : "-one.lst";
      folder.write("train" + end, list(0, 24, several));
      folder.write("validation" + end, list(24, 40, several));
    }
  }
  std::string list(size_t from, size_t to, bool several) const {
    std::string text;
    for (size_t i = from; i < to; ++i)
      text += several ? fmt::format("{}\t{}\t{}\t{}\t{}\n", i, i % 2, i / 2 % 2, int(i % 3 == 0),
                                    names[i])
                      : fmt::format("{}\t{}\t{}\n", i, i % 3, names[i]);
    return text;
  }
  static const Pictures& get() {
    static const Pictures pictures;
    return pictures;
  }
};

// A container's folder. A small net on 32x32 keeps it quick.
struct Root : Temporary {
  Json hyperparameters = {{"num_classes", "3"},      {"num_training_samples", "24"},
                          {"num_layers", "20"},      {"image_shape", "3,32,32"},
                          {"mini_batch_size", "8"},  {"epochs", "2"},
                          {"learning_rate", "0.05"}, {"augmentation_type", "crop"},
                          {"threads", "1"},          {"device", "cpu"}};
  Json channels = Json::object();

  // Image mode.
  static void add_images(Root& root, bool several = false) {
    const Pictures& pictures = Pictures::get();
    for (const std::string set : {"train", "validation"}) {
      const fs::path lists = root / ("input/data/" + set + "_lst");
      fs::create_directories(lists);
      fs::create_directory_symlink(pictures.folder / "data/images", root / ("input/data/" + set));
      fs::copy_file(pictures.folder / (set + (several ? "-several.lst" : "-one.lst")),
                    lists / (set + ".lst"));
      for (const std::string& name : {set, set + "_lst"})
        root.channels[name] = {{"ContentType", "application/x-image"},
                               {"TrainingInputMode", "File"},
                               {"S3DistributionType", "FullyReplicated"},
                               {"RecordWrapperType", "None"}};
    }
  }
  void write_config() const {
    write("input/config/hyperparameters.json", hyperparameters.dump());
    write("input/config/inputdataconfig.json", channels.dump());
    write("input/config/resourceconfig.json",
          R"({"current_host":"algo-1","hosts":["algo-1"],"network_interface_name":"eth0"})");
  }
  std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"train", "--sagemaker_root", path.string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Ran start(const std::vector<std::string>& more = {}) const {
    write_config();
    return run_program("train_cxr", arguments(more));
  }
  std::set<std::string> files(const std::string& folder) const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path / folder))
      names.insert(entry.path().filename());
    return names;
  }
};

// The parts stand in the text in this order.
void check_order(const std::string& text, const std::vector<std::string>& parts) {
  size_t at = 0;
  for (const std::string& part : parts) {
    INFO(part);
    const size_t found = text.find(part, at);
    REQUIRE(found != text.npos);
    at = found + part.size();
  }
}

double number_after(const std::string& text, const std::string& part) {
  const size_t at = text.find(part);
  REQUIRE(at != text.npos);
  return std::stod(text.substr(at + part.size()));
}

}  // namespace

TEST_CASE("Image mode, one class an image: no flags; log, model and results as the contract has") {
  Root root;
  Root::add_images(root);
  root.hyperparameters["top_k"] = "2";
  root.hyperparameters["early_stopping"] = "True";
  root.hyperparameters["num_training_samples"] = "80000";
  const Ran ran = root.start();
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  check_order(ran.out, {"Reading default configuration: {",
                        R"("learning_rate":"0.1")",
                        "Merging with provided configuration from ",
                        R"("num_layers":"20")",
                        "Final configuration: {",
                        R"("early_stopping":"1")",
                        "num_layers: 20",
                        "data type: float32",
                        "epochs: 2",
                        "optimizer: sgd",
                        "momentum: 0.9",
                        "weight_decay: 0.0001",
                        "learning_rate: 0.05",
                        "num_training_samples: 80000",
                        "mini_batch_size: 8",
                        "image_shape: 3,32,32",
                        "num_classes: 3",
                        "augmentation_type: crop",
                        "kv_store: device",
                        "top_k: 2",
                        "checkpoint_frequency not set",
                        "Epoch[0] Train-accuracy=",
                        "Epoch[0] Train-top_k_accuracy_2=",
                        "Epoch[0] Time cost=",
                        "Epoch[0] Validation-accuracy=",
                        "Storing the best model with validation accuracy: ",
                        "Saved checkpoint to \"" + (root / "model").string() +
                            "/image-classification-0001.params\"",
                        "Epoch[1] Train-accuracy=",
                        "Epoch[1] Validation-accuracy="});
  CHECK(ran.out.find("num_training_samples is 80000, and there are 24 training images") !=
        std::string::npos);

  // The log's numbers are the run's.
  std::vector<Json> epochs;
  for (const Json& line : metrics_of(root / "checkpoints"))
    if (line["event"] == "epoch") epochs.push_back(line);
  REQUIRE(epochs.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const std::string epoch = fmt::format("Epoch[{}] ", i);
    const auto same = [&](const char* said, const char* key) {
      CHECK(number_after(ran.out, epoch + said) ==
            doctest::Approx(epochs[i][key].get<double>()).epsilon(2e-6));
    };
    same("Train-accuracy=", "train_accuracy");
    same("Train-top_k_accuracy_2=", "train_top_k_accuracy");
    same("Validation-accuracy=", "validation_accuracy");
  }

  // The best by accuracy; a tie saves nothing.
  const double first = epochs[0]["validation_accuracy"], second = epochs[1]["validation_accuracy"];
  const int best = second > first;
  const std::string params = fmt::format("image-classification-{:04}.params", best + 1);
  CHECK(root.files("model") == std::set<std::string>{"image-classification-symbol.json", params,
                                                     "model-shapes.json", "model.safetensors"});
  CHECK(Json::parse(root.read("model/model-shapes.json")) ==
        Json::parse(R"([{"name":"data","shape":[8,3,32,32]}])"));
  CHECK(root.read("model/model.safetensors") == root.read("checkpoints/best.safetensors"));
  const WeightFile ours(root / "model/model.safetensors"), theirs(root / ("model/" + params));
  CHECK(network_of(theirs).num_layers == 20);
  for (const FileTensor& t : ours.tensors()) {
    INFO(t.name);
    const FileTensor* u = theirs.find(t.name);
    if (t.name.starts_with("bn_data")) continue;  // its statistics are of pixels as they are
    REQUIRE(u != nullptr);
    CHECK(std::ranges::equal(t.bytes, u->bytes));
  }
  CHECK(root.files("output/data") ==
        std::set<std::string>{"report.html", "metrics.jsonl", "settings.json"});
  CHECK(!fs::exists(root / "output/failure"));
}

TEST_CASE("several findings: macro AUC selects, and why is said; kept checkpoints; a test set") {
  Root root;
  Root::add_images(root, true);
  fs::copy(root / "input/data/validation_lst", root / "input/data/test_lst");
  fs::create_directory_symlink(Pictures::get().folder / "data/images", root / "input/data/test");
  root.hyperparameters.update({{"multi_label", "1"},
                               {"use_weighted_loss", "1"},
                               {"checkpoint_frequency", "1"},
                               {"kv_store", "dist_sync"}});
  // Started as a container starts it: under the name train. What an earlier start left of its
  // failure goes.
  fs::create_symlink(fs::path(PNEUMA_BIN_DIR) / "train_cxr", root / "train");
  root.write("output/failure", "of before");
  root.write_config();
  const Ran ran = run_program(root / "train", {"--sagemaker_root", root.path.string()});
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  check_order(ran.out, {"note: --kv_store has no effect: there is a single host",
                        "Epoch[0] Validation-macro_auc=",
                        "Storing the best model with validation macro_auc: ",
                        "image-classification-0001.params", "image-classification-0002.params"});
  CHECK(ran.out.find("largest validation macro AUC, not accuracy") != std::string::npos);
  CHECK(ran.out.find("num_training_samples is") == std::string::npos);
  CHECK(root.files("model").contains("image-classification-0001.params"));
  CHECK(root.files("model").contains("image-classification-0002.params"));
  CHECK(root.files("output/data").contains("auc.json"));
  CHECK(root.files("output/data").contains("predictions.csv"));
  CHECK(!fs::exists(root / "output/failure"));

  // A second start finds the job done: the same model again. With other settings it is refused.
  const std::string model = root.read("model/image-classification-0002.params");
  fs::remove_all(root / "model");
  REQUIRE(root.start().exit == 0);
  CHECK(root.read("model/image-classification-0002.params") == model);
  root.hyperparameters["learning_rate"] = "0.01";
  const Ran other = root.start();
  CHECK(other.said(2, "train_cxr", "holds a run with learning_rate 0.05, and this job has 0.01"));
  CHECK("train_cxr: " + root.read("output/failure") == other.err);
  root.write("checkpoints/settings.json", "{");
  CHECK(root.start().said(3, "train_cxr", "checkpoints/settings.json: is damaged"));
}

TEST_CASE("RecordIO mode, of records that prepare_cxr packed; a trained model goes on") {
  const Pictures& pictures = Pictures::get();
  Root root;
  for (const std::string set : {"train", "validation"}) {
    fs::create_directories(root / ("input/data/" + set));
    const Ran packed = run_program(
        "prepare_cxr", {"record", pictures.folder / (set + "-one.lst"),
                        pictures.folder / "data/images", root / ("input/data/" + set + "/s.rec")});
    INFO(packed.err);
    REQUIRE(packed.exit == 0);
    root.channels[set] = {{"ContentType", "application/x-recordio"},
                          {"TrainingInputMode", "FastFile"}};
  }
  const Ran ran = root.start();
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(ran.out.find("images: 24 to train, 16 to validate") != std::string::npos);
  CHECK(root.files("model").size() == 4);

  // The same pictures as files give the same model.
  Root listed;
  Root::add_images(listed);
  REQUIRE(listed.start().exit == 0);
  CHECK(check_equal_tensors(root / "model/model.safetensors", listed / "model/model.safetensors") >
        20);

  // Incremental training: the channel model has the weights, also as MXNet's files alone.
  fs::create_directories(root / "input/data/model");
  for (const std::string& name : root.files("model"))
    if (name != "model.safetensors")
      fs::copy_file(root / ("model/" + name), root / ("input/data/model/" + name));
  fs::remove_all(root / "checkpoints");
  root.hyperparameters["use_pretrained_model"] = "1";
  root.hyperparameters["learning_rate"] = "0";
  const Ran on = root.start();
  INFO(on.out, on.err);
  CHECK(on.exit == 0);
  CHECK(on.out.find("--use_pretrained_model has no effect: --model_channel has the weights") !=
        std::string::npos);
  root.hyperparameters["num_classes"] = "4";
  fs::remove_all(root / "checkpoints");
  CHECK(root.start().said(2, "train_cxr", "4 classes"));
}

TEST_CASE("SIGTERM saves; the next start of the job ends like one that was not stopped") {
  Root whole, stopped;
  for (Root* root : {&whole, &stopped}) {
    Root::add_images(*root, true);
    root->hyperparameters.update({{"multi_label", "1"}, {"epochs", "4"}});
    root->write_config();
  }
  REQUIRE(whole.start().exit == 0);
  const pid_t child = start_program("train_cxr", stopped.arguments());
  wait_for_lines(stopped / "checkpoints/metrics.jsonl", 5);
  kill(child, SIGTERM);
  REQUIRE(exit_of(child) == 143);
  CHECK(!fs::exists(stopped / "output/failure"));
  CHECK(!fs::exists(stopped / "checkpoints/report.html"));
  // A new machine has checkpoints/ alone, and what its platform keeps beside.
  fs::remove_all(stopped / "model");
  stopped.write("checkpoints/last.state.sagemaker-uploaded", "");
  const Ran ran = stopped.start();
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(ran.out.find("Epoch[0] ") == std::string::npos);
  REQUIRE(stopped.files("model") == whole.files("model"));
  for (const std::string& name : whole.files("model")) {
    INFO(name);
    CHECK(whole.read("model/" + name) == stopped.read("model/" + name));
  }
}

TEST_CASE("what a job cannot do is one sentence, in output/failure too") {
  const auto refused = [](int code, const std::string& part, const std::function<void(Root&)>& f,
                          const std::vector<std::string>& flags = {}) {
    INFO(part);
    Root root;
    Root::add_images(root);
    f(root);
    fs::create_directories(root / "output");
    const bool interrupted = fs::exists(root / "checkpoints");
    const bool configured = fs::exists(root / "input/config");
    const Ran ran =
        configured ? run_program("train_cxr", root.arguments(flags)) : root.start(flags);
    INFO(ran.err);
    CHECK(ran.said(code, "train_cxr", part));
    CHECK("train_cxr: " + root.read("output/failure") == ran.err);
    CHECK(fs::exists(root / "checkpoints") == interrupted);
    CHECK(!fs::exists(root / "model"));
  };
  const auto set = [](const char* name, const char* value) {
    return [=](Root& root) { root.hyperparameters[name] = value; };
  };
  const auto without = [](const char* name) {
    return [=](Root& root) { root.hyperparameters.erase(name); };
  };
  refused(2, "num_classes is missing", without("num_classes"));
  refused(2, "num_training_samples is missing", without("num_training_samples"));
  refused(2, "unknown hyperparameter 'epoch' (the nearest is epochs)", set("epoch", "3"));
  refused(2, "learning_rate '2' is not a number from 0 to 1", set("learning_rate", "2"));
  refused(2, "checkpoint_frequency '3' is not a whole number from 1 to epochs, 2",
          set("checkpoint_frequency", "3"));
  refused(2, "mini_batch_size", set("mini_batch_size", "25"));
  refused(3, "label 2 is not a class", set("num_classes", "2"));
  refused(3, ".lst:1", set("multi_label", "1"));  // one label, and three classes
  refused(2, "convert_weights.py", set("use_pretrained_model", "1"));
  refused(2, "unknown flag '--epoch'", [](Root&) {}, {"--epoch", "1"});
  refused(2, "the job has 2 hosts", [](Root& root) {
    root.write_config();
    root.write("input/config/resourceconfig.json",
               R"({"current_host":"algo-1","hosts":["algo-1","algo-2"]})");
  });
  refused(3, "resourceconfig.json: is no JSON object", [](Root& root) {
    root.write_config();
    root.write("input/config/resourceconfig.json", "[");
  });
  refused(3, "hyperparameters.json", [](Root& root) {
    root.write_config();
    fs::remove(root / "input/config/hyperparameters.json");
  });
  refused(2, "channel train: Pipe mode is not read; give the job TrainingInputMode File",
          [](Root& root) { root.channels["train"]["TrainingInputMode"] = "Pipe"; });
  refused(2, "channel validation: augmented manifests are not read; give .rec files",
          [](Root& root) {
            root.channels["validation"]["AttributeNames"] = {"source-ref", "class"};
          });
  refused(2, "content type 'application/x-parquet' is not read",
          [](Root& root) { root.channels["train"]["ContentType"] = "application/x-parquet"; });
  refused(2, "content types differ",
          [](Root& root) { root.channels["train"]["ContentType"] = "application/x-recordio"; });
  refused(3, "the job needs the channel validation",
          [](Root& root) { fs::remove(root / "input/data/validation"); });
  refused(3, "holds 2 .lst files; channel train_lst needs one",
          [](Root& root) { root.write("input/data/train_lst/second.lst", ""); });
  refused(3, "holds 0 .lst files",
          [](Root& root) { fs::remove_all(root / "input/data/validation_lst"); });
}

TEST_CASE("a channel that is not known is said; --hyperparameters alone takes data by flags") {
  const Pictures& pictures = Pictures::get();
  Root root;
  Root::add_images(root);
  root.channels["trai"] = Json::object();
  const Ran ran = root.start({"--dry_run", "--epochs", "9"});
  INFO(ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(ran.out.find("channel trai is not known and is ignored; the nearest is train") !=
        std::string::npos);
  CHECK(ran.out.find("epochs: 9") != std::string::npos);
  CHECK(!fs::exists(root / "checkpoints"));

  const std::string images = pictures.folder / "data/images";
  const Ran file =
      run_program("train_cxr", {"--hyperparameters", root / "input/config/hyperparameters.json",
                                "--train", images, "--train_lst", pictures.folder / "train-one.lst",
                                "--validation", images, "--validation_lst",
                                pictures.folder / "validation-one.lst", "--output", root / "run"});
  INFO(file.err);
  REQUIRE(file.exit == 0);
  check_order(file.out, {"Final configuration", "Epoch[1] Validation-accuracy="});
  CHECK(fs::exists(root / "run/best.safetensors"));
  const Json settings = Json::parse(root.read("run/settings.json"));
  CHECK(settings["arch"] == "v2");
  CHECK(settings["mean"] == "0,0,0");
  CHECK(settings["optimizer"] == "sgd");
}

TEST_CASE("an epoch that is as good as the best is not saved again") {
  Root root;
  Root::add_images(root);
  std::string list;  // of one class, so that every epoch is all right
  for (const std::string& name : Pictures::get().names)
    list += fmt::format("{}\t0\t{}\n", list.size(), name);
  for (const char* set : {"train", "validation"})
    root.write(fmt::format("input/data/{0}_lst/{0}.lst", set), list);
  root.hyperparameters["num_classes"] = "1";
  const Ran ran = root.start();
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(number_after(ran.out, "Epoch[1] Validation-accuracy=") == 1);
  CHECK(ran.out.find("Storing the best") == ran.out.rfind("Storing the best"));
  CHECK(ran.out.find("Saved checkpoint") == ran.out.rfind("Saved checkpoint"));
  CHECK(root.files("model").contains("image-classification-0001.params"));
}

// Of the published recipe, unchanged.
TEST_CASE("the published hyperparameters pass --dry_run, which says the memory they need") {
  const struct {
    int size;
    Json hyperparameters;
    const char* steps;
  } sets[] = {{256,
               {{"num_layers", "50"},
                {"use_pretrained_model", "1"},
                {"image_shape", "3,224,224"},
                {"num_classes", "14"},
                {"mini_batch_size", "256"},
                {"resize", "256"},
                {"epochs", "100"},
                {"learning_rate", "0.0005"},
                {"optimizer", "adam"},
                {"num_training_samples", "80000"},
                {"use_weighted_loss", "1"},
                {"augmentation_type", "crop_color_transform"},
                {"precision_dtype", "float32"},
                {"multi_label", "1"}},
               "steps: 1 an epoch, 100 in all"},
              {1024,
               {{"num_layers", "50"},
                {"use_pretrained_model", "1"},
                {"image_shape", "3,896,896"},
                {"num_classes", "14"},
                {"mini_batch_size", "64"},
                {"epochs", "100"},
                {"learning_rate", "0.00025"},
                {"optimizer", "adam"},
                {"num_training_samples", "80000"},
                {"use_weighted_loss", "1"},
                {"augmentation_type", "crop_color_transform"},
                {"precision_dtype", "float32"},
                {"multi_label", "1"}},
               "steps: 4 an epoch, 400 in all"}};
  Root root;
  for (const auto& [size, hyperparameters, steps] : sets) {
    INFO(size);
    // One picture, listed often: a dry run counts images and opens none.
    const std::string picture =
        fs::directory_iterator(Pictures::get().folder / "data/images")->path().filename();
    std::string list;
    for (int i = 0; i < 260; ++i) {
      list += std::to_string(i);
      for (int c = 0; c < 14; ++c) list += (i + c) % 3 ? "\t0" : "\t1";
      list += "\t" + picture + "\n";
    }
    if (size == 256) Root::add_images(root);
    for (const char* set : {"train", "validation"})
      root.write(fmt::format("input/data/{0}_lst/{0}.lst", set), list);
    root.hyperparameters = hyperparameters;
    if (size == 256) {  // weights as MXNet has them come from the same program
      Json small = hyperparameters;
      small.update({{"use_pretrained_model", "0"},
                    {"image_shape", "3,32,32"},
                    {"resize", "32"},
                    {"mini_batch_size", "2"},
                    {"max_steps", "1"}});
      Root start;
      Root::add_images(start, true);
      small["num_classes"] = "3";
      start.hyperparameters = small;
      fs::create_directories(root / "input/data/pretrained");
      const std::string file = root / "input/data/pretrained/start.safetensors";
      const Ran made = start.start({"--save_init", file, "--threads", "2"});
      INFO(made.err);
      REQUIRE(made.exit == 0);
    }
    const Ran ran = root.start({"--dry_run"});
    INFO(ran.out, ran.err);
    REQUIRE(ran.exit == 0);
    CHECK(ran.out.find(steps) != std::string::npos);
    CHECK(ran.out.find("num_training_samples is 80000, and there are 260 training images") !=
          std::string::npos);
    // Activations alone of a ResNet-50 at batch 256 and 224 take some 20 GB in float32, and as many
    // pixels more at 896 and 64 make it four times that.
    const double mb =
        number_after(ran.out.substr(ran.out.find("batches of images), ")), "batches of images), ");
    CHECK(mb > (size == 256 ? 15e3 : 60e3));
    CHECK(mb < (size == 256 ? 60e3 : 240e3));
  }
}

}  // namespace pneuma::testing
