// --arch, the small nets, --freeze_stages and --backbone_lr_factor, as a user gives them.
#include <nlohmann/json.hpp>

#include "data/phantom/phantom.h"
#include "models/weight_files.h"
#include "tests/program.h"
#include "tests/run_files.h"

namespace pneuma::testing {
namespace {

struct Pictures {
  Temporary folder;
  std::string data = (folder / "data").string();
  Pictures() { write_phantoms(data, 24, 32, 7, 1); }
  std::string at(const std::string& name) const { return (folder / name).string(); }
  Ran train(const std::string& name, std::vector<std::string> more) const {
    more.insert(more.begin(), {"--num_layers", "20", "--image_shape", "3,28,28", "--epochs", "2"});
    return run_program("train_cxr", small_job(data, at(name), more));
  }
};

}  // namespace

TEST_CASE("a small v2 net trains on raw levels, and its file says all that eval_cxr needs") {
  const Pictures p;
  const Ran ran = p.train("run", {"--arch", "v2"});
  INFO(ran.out, ran.err);
  REQUIRE(ran.exit == 0);
  const ModelInfo info = read_model_info(p.at("run/best.safetensors"));
  CHECK(info.network.arch == Arch::v2);
  CHECK(info.network.num_layers == 20);
  CHECK(info.mean == std::array<float, 3>{0, 0, 0});
  CHECK(info.std == std::array<float, 3>{1, 1, 1});
  CHECK(SafetensorsFile(p.at("run/best.safetensors")).find("stage3_unit1_sc_weight"));
  const Ran eval =
      run_program("eval_cxr", {p.at("run/best.safetensors"), "--data", p.data, "--output",
                               p.at("again"), "--threads", "1", "--mini_batch_size", "8"});
  INFO(eval.err);
  REQUIRE(eval.exit == 0);
  CHECK(read_file(p.at("run/predictions.csv"), 1 << 20) ==
        read_file(p.at("again/predictions.csv"), 1 << 20));
  // What was normalised for another form stays as given.
  const Ran given = p.train("given", {"--arch", "v2", "--mean", "1,2,3", "--max_steps", "1"});
  REQUIRE(given.exit == 0);
  CHECK(read_model_info(p.at("given/best.safetensors")).mean == std::array<float, 3>{1, 2, 3});
  CHECK(read_model_info(p.at("given/best.safetensors")).std == std::array<float, 3>{1, 1, 1});
}

TEST_CASE("a run that fine-tunes keeps the frozen part of --init, stopped and resumed or not") {
  const Pictures p;
  const std::string start = p.at("start.safetensors");
  const Ran first = p.train("first", {"--save_init", start, "--max_steps", "1"});
  INFO(first.out, first.err);
  REQUIRE(first.exit == 0);
  const std::vector<std::string> tune = {
      "--init", start, "--seed", "2", "--freeze_stages", "2", "--backbone_lr_factor", "0.1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), tune.begin(), tune.end());
    return more;
  };
  REQUIRE(p.train("whole", tune).exit == 0);
  REQUIRE(p.train("parts", with({"--max_steps", "1"})).exit == 0);
  const Ran resumed = run_program("train_cxr", {"--resume", p.at("parts"), "--max_steps", "0"});
  INFO(resumed.out, resumed.err);
  REQUIRE(resumed.exit == 0);
  CHECK(check_equal_tensors(p.at("whole/last.state"), p.at("parts/last.state")) > 0);
  CHECK(check_equal_tensors(start, p.at("whole/best.safetensors"), "conv1.") == 1);
  CHECK(check_equal_tensors(start, p.at("whole/best.safetensors"), "bn1.") == 4);
  CHECK(check_equal_tensors(start, p.at("whole/best.safetensors"), "layer1.") == 30);
  const SafetensorsFile before(start), after(p.at("whole/best.safetensors"));
  for (const char* name : {"layer2.0.conv1.weight", "layer2.0.bn1.running_mean", "fc.weight"})
    CHECK(!std::ranges::equal(before.find(name)->bytes, after.find(name)->bytes));
  CHECK(!SafetensorsFile(p.at("whole/last.state")).find("moment/conv1.weight.moment1"));
  const auto settings = nlohmann::json::parse(read_file(p.at("whole/settings.json"), 1 << 20));
  CHECK(settings["freeze_stages"] == 2);
  CHECK(settings["backbone_lr_factor"] == 0.1);
}

TEST_CASE("what no network is, is said") {
  const Pictures p;
  CHECK(p.train("a", {"--num_layers", "21"}).said(2, "train_cxr", "'21' is not one of 18|34|50|"));
  CHECK(p.train("a", {"--arch", "v3"}).said(2, "train_cxr", "'v3' is not one of v1.5|v2|v1"));
  CHECK(p.train("a", {"--num_layers", "18"})
            .said(2, "train_cxr", "--image_shape 3,28,28: ResNet-18 needs at least 32 pixels"));
  CHECK(p.train("a", {"--image_shape", "3,7,28"})
            .said(2, "train_cxr", "--image_shape 3,7,28: ResNet-20 needs at least 8 pixels"));
  CHECK(p.train("a", {"--freeze_stages", "5"})
            .said(2, "train_cxr", "--freeze_stages 5: ResNet-20 has a stem and 3 stages"));
  const Ran large = p.train("b", {"--image_shape", "3,96,96", "--dry_run"});
  CHECK(large.exit == 0);
  CHECK((large.out + large.err).find("--num_layers 20 is for images of about 32x32") !=
        std::string::npos);
}

}  // namespace pneuma::testing
