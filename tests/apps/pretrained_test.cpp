// Starting from weights as a user does it: --pretrained, conflicts with other flags, training on
// from a model channel, and export_model.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/phantom/phantom.h"
#include "kernels/reference/table.h"
#include "models/mxnet/params.h"
#include "models/weight_files.h"
#include "tests/program.h"
#include "tests/run_files.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;

// Pictures, and ImageNet-like weights of 1000 classes in torchvision's and MXNet's form.
struct Job {
  Temporary folder;
  std::string data = (folder / "data").string(), torchvision = (folder / "t.bin").string(),
              zoo = (folder / "resnet-20-0000.params").string();
  int runs = 0;

  Job() {
    write_phantoms(data, 24, 32, 7, 1);
    save({.num_layers = 18, .num_classes = 1000, .base_width = 8}, torchvision);
    save({.num_layers = 20, .num_classes = 1000, .arch = Arch::v2}, (folder / "zoo").string());
    const WeightFile file(folder / "zoo");
    std::vector<FileTensor> all = file.tensors();
    for (FileTensor& t : all) t.name = "arg:" + t.name;
    write_file_atomically(zoo, params_bytes(all));
  }
  static void save(const ResNetSettings& settings, const std::string& file) {
    Context ctx(reference_backend());
    ResNet net(ctx, settings);
    net.initialize(ctx, 5);
    save_weights(ctx, net.parameters(), file);
  }
  static Job& get() {
    static Job job;
    return job;
  }
  std::string output() { return (folder / ("run" + std::to_string(++runs))).string(); }
  Ran train(const std::string& output, std::vector<std::string> more) {
    return run_program("train_cxr", small_job(data, output, more));
  }
  // One step; what training started from is in `start`.
  Ran start(std::vector<std::string> more, const std::string& start = "") {
    more.insert(more.end(), {"--max_steps", "1"});
    if (!start.empty()) more.insert(more.end(), {"--save_init", start});
    return train(output(), more);
  }
};

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("the file decides arch and depth, its last layer is replaced, the rest are its weights") {
  Job& job = Job::get();
  const struct {
    const std::string& file;
    const char *network, *last, *loaded;
  } cases[] = {{job.torchvision, "a ResNet-18 v1.5", "fc.weight", "100 of 102"},
               {job.zoo, "a ResNet-20 v2", "fc1_weight", "101 of 103"}};
  for (const auto& c : cases) {
    const std::string start = (job.folder / "start").string();
    const Ran ran = job.start({"--use_pretrained_model", "1", "--pretrained", c.file}, start);
    INFO(ran.out << ran.err);
    REQUIRE(ran.exit == 0);
    CHECK(holds(ran.out, std::string("note: the network is ") + c.network) ==
          (c.file == job.zoo));  // 18 and v1.5 are the defaults
    CHECK(holds(ran.out, c.loaded + std::string(" tensors loaded from ") + c.file));
    CHECK(
        holds(ran.out, "the last layer has 1000 outputs there, so here it keeps its fresh start"));
    const WeightFile file(c.file), started(start);
    int equal = 0;
    for (const FileTensor& t : started.tensors()) {
      const FileTensor* u = file.find(t.name);
      REQUIRE(u);
      if (t.shape == u->shape && !t.name.starts_with("bn_data_moving"))
        equal += std::ranges::equal(t.bytes, u->bytes);
    }
    CHECK(size_t(equal) == started.tensors().size() - 2 - (c.file == job.zoo ? 2 : 0));
    CHECK(started.find(c.last)->shape[0] == 14);
  }
}

TEST_CASE(
    "--init, --pretrained and $PNEUMA_PRETRAINED are one; without any it is said how to get one") {
  Job& job = Job::get();
  const std::string a = (job.folder / "a").string(), b = (job.folder / "b").string(),
                    c = (job.folder / "c").string();
  REQUIRE(job.start({"--init", job.torchvision}, a).exit == 0);
  REQUIRE(job.start({"--pretrained", job.torchvision}, b).exit == 0);
  setenv("PNEUMA_PRETRAINED", job.torchvision.c_str(), 1);
  REQUIRE(job.start({"--use_pretrained_model", "1"}, c).exit == 0);
  unsetenv("PNEUMA_PRETRAINED");
  check_equal_tensors(a, b);
  check_equal_tensors(a, c);
  CHECK(job.start({"--use_pretrained_model", "1"}).said(2, "train_cxr", "convert_weights.py"));
  CHECK(job.start({"--init", a, "--pretrained", b}).said(2, "train_cxr", "give one"));
  const Ran off = job.start({"--use_pretrained_model", "0", "--pretrained", b});
  CHECK(holds(off.out, "note: --pretrained has no effect: --use_pretrained_model 0"));
  CHECK(!holds(off.out, "tensors loaded"));
}

TEST_CASE("a dry run checks the weights, and variants of ResNet are refused") {
  Job& job = Job::get();
  const WeightFile file(job.torchvision);
  std::vector<FileTensor> all = file.tensors();
  const std::string wide = (job.folder / "wide").string();
  for (FileTensor& t : all)
    if (t.name == "layer2.0.conv1.weight") t.shape = {t.shape[0] * 2, t.shape[1] / 2, 3, 3};
  write_safetensors(wide, all, {});
  CHECK(job.start({"--pretrained", wide, "--dry_run"})
            .said(3, "train_cxr", "layer2.0.conv1.weight is [32,4,3,3] and the network's is"));
  const Ran dry = job.start({"--pretrained", job.torchvision, "--dry_run"});
  CHECK(dry.exit == 0);
  CHECK(holds(dry.out, "100 of 102 tensors loaded"));
}

TEST_CASE("a conflict with --arch or --num_layers names both") {
  Job& job = Job::get();
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"--num_layers", "50"},
                                                {"--arch", "v2"},
                                                {"--arch", "v1", "--num_layers", "18"}}) {
    std::vector<std::string> all{"--pretrained", job.torchvision};
    all.insert(all.end(), flags.begin(), flags.end());
    const Ran ran = job.start(all);
    CHECK(ran.said(2, "train_cxr",
                   " was asked for, and " + job.torchvision + " holds a ResNet-18 v1.5"));
    CHECK(holds(ran.err, flags[1] == "50" ? "ResNet-50 v1.5 was" : "ResNet-18 v"));
  }
  CHECK(job.start({"--pretrained", job.torchvision, "--arch", "v1.5", "--num_layers", "18"}).exit ==
        0);
  job.folder.write("resnet18.pth", std::string("PK\3\4\0\0\10\10\0\0", 10));
  CHECK(job.start({"--pretrained", (job.folder / "resnet18.pth").string()})
            .said(3, "train_cxr", "python3 apps/launch/convert_weights.py"));
}

TEST_CASE("training on from a model channel: a file, a folder, an archive; what differs is said") {
  Job& job = Job::get();
  const std::string first = job.output();
  REQUIRE(job.train(first, {"--arch", "v2", "--num_layers", "20", "--epochs", "1"}).exit == 0);
  const std::string best = first + "/best.safetensors",
                    archive = (job.folder / "channel/model.tar.gz").string();
  fs::create_directories(job.folder / "channel");
  REQUIRE(
      run_program("export_model", {best, "--format", "mxnet", "--output", archive, "--epoch", "1"})
          .exit == 0);
  for (const std::string& channel : {best, first, archive, (job.folder / "channel").string()}) {
    const std::string start = (job.folder / "start").string();
    const Ran ran = job.start({"--model_channel", channel, "--use_pretrained_model", "1"}, start);
    INFO(ran.out << ran.err);
    REQUIRE(ran.exit == 0);
    CHECK(holds(ran.out,
                "note: --use_pretrained_model has no effect: --model_channel has the weights"));
    CHECK(holds(ran.out, "note: the network is a ResNet-20 v2"));
    CHECK(holds(ran.out, "103 of 103 tensors loaded"));
    for (const char* prefix : {"conv0", "stage", "fc1", "bn1", "bn_data_beta"})
      CHECK(check_equal_tensors(start, best, prefix) > 0);
  }
  for (const std::string& channel : {best, archive}) {
    const std::vector<std::string> start{"--model_channel", channel};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), start.begin(), start.end());
      return job.start(more);
    };
    CHECK(with({"--num_layers", "32"})
              .said(2, "train_cxr", "ResNet-32 v1.5 was asked for, and " + channel));
    CHECK(with({"--image_shape", "3,32,40"})
              .said(2, "train_cxr", "--image_shape 3,32,40 was asked for, and "));
    CHECK(with({"--image_shape", "3,32,40"}).said(2, "train_cxr", " has 3,32,32; incremental"));
  }
  Job::save({.num_layers = 20, .num_classes = 7, .arch = Arch::v2},
            (job.folder / "seven").string());
  CHECK(job.start({"--model_channel", (job.folder / "seven").string()})
            .said(2, "train_cxr", "this run has 14 classes, and "));
  fs::create_directories(job.folder / "empty");
  CHECK(job.start({"--model_channel", (job.folder / "empty").string()})
            .said(3, "train_cxr", "no model is in this folder"));
}

TEST_CASE("a run that started from --pretrained resumes without the file") {
  Job& job = Job::get();
  const std::string copy = (job.folder / "gone.params").string(), run = job.output();
  fs::copy_file(job.zoo, copy);
  REQUIRE(job.train(run, {"--pretrained", copy, "--max_steps", "1"}).exit == 0);
  fs::remove(copy);
  const Ran ran = run_program("train_cxr", {"--resume", run, "--max_steps", "2"});
  INFO(ran.err);
  CHECK(ran.exit == 0);
  CHECK(metrics_of(run).back().contains("event"));
}

TEST_CASE("export_model: torchvision's names with its counters; no network of the wrong kind") {
  Job& job = Job::get();
  const std::string run = job.output(), out = (job.folder / "out").string();
  REQUIRE(job.train(run, {"--init", job.torchvision, "--epochs", "1"}).exit == 0);
  const std::string best = run + "/best.safetensors";
  const Ran ran = run_program("export_model", {best, "--format", "torchvision", "--output", out});
  INFO(ran.err);
  REQUIRE(ran.exit == 0);
  CHECK(holds(ran.out, "ResNet-18 v1.5, 14 classes; its images are (RGB - [123.675"));
  const WeightFile model(best), exported(out);
  CHECK(!exported.metadata().contains("network"));
  CHECK(exported.tensors().size() == model.tensors().size() + 20);
  for (const FileTensor& t : model.tensors())
    CHECK(std::ranges::equal(t.bytes, exported.find(t.name)->bytes));
  CHECK(exported.find("layer4.0.downsample.1.num_batches_tracked")->shape.empty());

  CHECK(run_program("export_model", {out, "--format", "mxnet", "--output", out + "2"})
            .said(3, "export_model", "has no 'network' in its metadata"));
  CHECK(run_program("export_model", {best, "--format", "onnx", "--output", out}).exit == 2);
  const std::string small = job.output();
  REQUIRE(job.train(small, {"--arch", "v2", "--num_layers", "20", "--epochs", "1"}).exit == 0);
  CHECK(run_program("export_model",
                    {small + "/best.safetensors", "--format", "torchvision", "--output", out + "2"})
            .said(2, "export_model", "ResNet-20 v2 is no network of torchvision's"));
  CHECK(run_program("export_model",
                    {best, "--format", "mxnet", "--output", (job.folder / "no/such").string()})
            .said(4, "export_model", "cannot create"));
  CHECK(!fs::exists(out + "2"));
}

}  // namespace pneuma::testing
