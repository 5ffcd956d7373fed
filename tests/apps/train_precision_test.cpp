// train_cxr and eval_cxr with --precision_dtype and --loss_scale as a user runs them.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/phantom/phantom.h"
#include "engine/io/atomic_file.h"
#include "kernels/step_state.h"
#include "tests/program.h"
#include "tests/run_files.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Data {
  Temporary folder;
  std::string data = (folder / "data").string();
  Data() { write_phantoms(data, 24, 32, 7, 1); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  Ran train(const std::string& run, const std::vector<std::string>& more) const {
    return run_program("train_cxr", small_job(data, path(run), more));
  }
  static const Data& get() {
    static const Data data;
    return data;
  }
};

std::vector<Json> steps_of(const fs::path& run) {
  std::vector<Json> steps = metrics_of(run);
  std::erase_if(steps, [](const Json& j) { return j["event"] != "step"; });
  return steps;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The p_ columns of a predictions.csv.
std::vector<double> probabilities_of(const fs::path& folder) {
  std::vector<double> p;
  std::istringstream text(read_file(folder / "predictions.csv", 1 << 20));
  std::string line;
  std::getline(text, line);
  while (std::getline(text, line)) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 16 && std::getline(fields, field, ','); ++i)
      if (i >= 2) p.push_back(std::stod(field));
  }
  return p;
}

// The same numbers, all of them f32.
void check_equal_masters(const fs::path& a, const fs::path& b, const std::string& prefix = "") {
  const SafetensorsFile file(a);
  for (const FileTensor& t : file.tensors())
    if (t.name.starts_with(prefix)) CHECK(t.dtype == Dtype::f32);
  CHECK(check_equal_tensors(a, b, prefix) > 50);
}

}  // namespace

TEST_CASE(
    "a whole job in 16 bits, its words at the start, and its evaluation in either precision") {
  const Data& d = Data::get();
  for (const std::string precision : {"float16", "bfloat16"}) {
    CAPTURE(precision);
    const Ran ran = d.train(
        precision, {"--epochs", "2", "--precision_dtype", precision, "--loss_scale_interval", "2"});
    INFO(ran.err);
    REQUIRE(ran.exit == 0);
    CHECK(holds(ran.out, "precision " + precision + ": master weights"));
    CHECK(holds(ran.out,
                "loss scale: 65536 at first, x 2 after 2 clean steps, x 0.5 at inf or nan, "
                "at least 1\n"));
    // bfloat16 is slow only where the processor lacks it, and its line says so.
    CHECK(holds(ran.out, "note: " + precision + " on this cpu") ==
          (precision == "float16" || holds(ran.out, "bf16 by emulation")));
    const std::vector<Json> steps = steps_of(d.path(precision));
    REQUIRE(steps.size() >= 4);
    CHECK(steps[0]["loss_scale"] == 65536);
    CHECK(steps[1]["loss_scale"] == 131072);
    CHECK(steps[1]["skipped"] == 0);
    check_equal_masters(d.folder / precision / "best.safetensors",  // all of them f32
                        d.folder / precision / "best.safetensors");

    const fs::path model = d.folder / precision / "best.safetensors";
    const auto evaluate = [&](const std::string& name, std::vector<std::string> more) {
      more.insert(more.begin(), {model.string(), "--data", d.data, "--output", d.path(name),
                                 "--threads", "1", "--mini_batch_size", "8", "--device", "cpu"});
      const Ran eval = run_program("eval_cxr", more);
      INFO(eval.err);
      CHECK(eval.exit == 0);
      return probabilities_of(d.path(name));
    };
    const std::vector<double> own = probabilities_of(d.path(precision));
    CHECK(own == evaluate(precision + "-own", {"--precision_dtype", precision}));
    const std::vector<double> single = evaluate(precision + "-single", {});
    REQUIRE(own.size() == single.size());
    REQUIRE(own.size() > 14);
    CHECK(own != single);
    double furthest = 0;
    for (size_t i = 0; i < own.size(); ++i)
      furthest = std::max(furthest, std::fabs(own[i] - single[i]));
    MESSAGE(precision << ": a probability moves by at most " << furthest << " in float32");
    // 20 layers in a row, each of whose roundings, of half a unit, moves a probability, whose
    // slope in the logit is at most 1/4, by at most that unit for logits up to 4.
    CHECK(furthest < (precision == "float16" ? 0x1p-11 : 0x1p-8) * 20);
  }
}

TEST_CASE("weights go from float32 to 16 bits and back bit for bit, as --init") {
  const Data& d = Data::get();
  REQUIRE(d.train("single", {"--epochs", "1"}).exit == 0);
  for (const std::string precision : {"float16", "bfloat16"}) {
    CAPTURE(precision);
    const std::string there = precision + "-there", back = precision + "-back";
    const fs::path single = d.folder / "single" / "best.safetensors",
                   start = d.folder / (there + ".safetensors"),
                   returned = d.folder / (back + ".safetensors");
    const Ran first = d.train(there, {"--epochs", "1", "--precision_dtype", precision, "--init",
                                      single.string(), "--save_init", start.string()});
    INFO(first.err);
    REQUIRE(first.exit == 0);
    check_equal_masters(single, start);
    const fs::path trained = d.folder / there / "best.safetensors";
    const Ran second = d.train(
        back, {"--max_steps", "1", "--init", trained.string(), "--save_init", returned.string()});
    REQUIRE(second.exit == 0);
    check_equal_masters(trained, returned);

    CHECK(run_program("train_cxr", {"--resume", d.path("single"), "--precision_dtype", precision})
              .said(2, "train_cxr", "--precision_dtype cannot change in a resumed run"));
  }
}

TEST_CASE("flags of precision and loss scale out of range are refused in one sentence") {
  const Data& d = Data::get();
  const std::vector<std::vector<std::string>> table = {
      {"--precision_dtype half is not known", "--precision_dtype", "half"},
      {"float64 works with --device reference alone", "--precision_dtype", "float64"},
      {"--loss_scale x: dynamic, or a number", "--loss_scale", "x"},
      {"--loss_scale 0: dynamic, or a number", "--loss_scale", "0"},
      {"--loss_scale -8: dynamic, or a number", "--loss_scale", "-8"},
      {"--loss_scale nan: dynamic, or a number", "--loss_scale", "nan"},
      {"--loss_scale inf: dynamic, or a number", "--loss_scale", "inf"},
      {"--loss_scale 1e13: dynamic, or a number", "--loss_scale", "1e13"},
      {"--loss_scale_start", "--loss_scale_start", "0.5"},
      {"--loss_scale_start", "--loss_scale_start", "1e13"},
      {"--loss_scale_growth", "--loss_scale_growth", "0.9"},
      {"--loss_scale_growth", "--loss_scale_growth", "1025"},
      {"--loss_scale_interval", "--loss_scale_interval", "0"},
      {"--loss_scale_interval", "--loss_scale_interval", "1.5"},
      {"--loss_scale_backoff", "--loss_scale_backoff", "1.5"},
      {"--loss_scale_backoff", "--loss_scale_backoff", "-1"},
      {"--loss_scale_floor", "--loss_scale_floor", "0"},
      {"--loss_scale_floor", "--loss_scale_floor", "nan"},
      {"--loss_scale_start 8 is below --loss_scale_floor 16", "--loss_scale_start", "8",
       "--loss_scale_floor", "16"},
  };
  for (const auto& line : table) {
    std::vector<std::string> flags(line.begin() + 1, line.end());
    if (line[1] != "--precision_dtype") flags.insert(flags.end(), {"--precision_dtype", "float16"});
    const Ran ran = d.train("refused", flags);
    INFO(line[0], " | exit ", ran.exit, " | ", ran.err);
    CHECK(ran.said(2, "train_cxr", line[0]));
    CHECK(!fs::exists(d.path("refused")));
  }
  CHECK(run_program("eval_cxr", {"no.safetensors", "--data", d.data, "--output", d.path("refused"),
                                 "--precision_dtype", "half"})
            .exit != 0);
}

TEST_CASE("what has no effect on a loss scale that stays is said") {
  const Data& d = Data::get();
  const Ran fixed = d.train("dry", {"--dry_run", "--precision_dtype", "float16", "--loss_scale",
                                    "1024", "--loss_scale_start", "2048"});
  CHECK(fixed.exit == 0);
  CHECK(holds(fixed.out, "note: --loss_scale_start has no effect: --loss_scale 1024\n"));
  CHECK(holds(fixed.out, "loss scale: 1024, which stays\n"));
  const Ran single = d.train("dry", {"--dry_run", "--loss_scale_backoff", "0.25"});
  CHECK(holds(single.out, "note: --loss_scale_backoff has no effect: --loss_scale 1\n"));
  const Ran usual = d.train("dry", {"--dry_run", "--loss_scale_start", "65536"});
  CHECK(!holds(usual.out, "note:"));
  const Ran dynamic =
      d.train("dry", {"--dry_run", "--loss_scale", "dynamic", "--loss_scale_backoff", "0.25"});
  CHECK(!holds(dynamic.out, "note:"));
  CHECK(holds(dynamic.out, "x 0.25 at inf or nan"));
}

// A scale that grows out of float16's range after 4 clean steps and never comes back.
TEST_CASE("50 skipped steps in a row end a float16 run; what was good stays, byte for byte") {
  const Data& d = Data::get();
  const std::vector<std::string> flags = {
      "--precision_dtype",   "float16", "--loss_scale_interval", "4",
      "--loss_scale_growth", "1024",    "--loss_scale_backoff",  "1",
      "--save_every",        "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), flags.begin(), flags.end());
    return more;
  };
  REQUIRE(d.train("good", with({"--max_steps", "4"})).exit == 0);
  const Ran ran = d.train("broken", with({"--epochs", "100"}));
  INFO(ran.err);
  CHECK(ran.exit == 5);
  const fs::path good = d.folder / "good", broken = d.folder / "broken";

  const std::vector<Json> steps = steps_of(broken);
  REQUIRE(steps.size() >= 54);
  REQUIRE(steps.size() <= 55);  // one was under way
  const Json last = steps[53];
  CHECK(last["skipped"] == 50);
  CHECK(last["loss_scale"] == 65536 * 1024);
  for (size_t i = 0; i < 54; ++i) CHECK(steps[i]["skipped"] == std::max<int>(0, int(i) - 3));

  check_equal_masters(good / "last.state", broken / "last.state", "parameter/");
  check_equal_masters(good / "last.state", broken / "last.state", "moment/");
  const SafetensorsFile state(broken / "last.state");
  StepState s;
  std::memcpy(static_cast<void*>(&s), state.find("step_state")->bytes.data(), sizeof s);
  CHECK(s.step == 4);
  CHECK(s.skipped >= 49);

  const std::string said = ran.err.substr(ran.err.find("train_cxr: 50 steps in a row"));
  CHECK(holds(said,
              "of 9408 values, the finite ones: none; loss scale 6.71089e+07; its weights: [-"));
  CHECK(holds(said, "or the loss scale; images of that batch: "));
  const std::string name =
      said.substr(said.find("the first in ") + 13,
                  said.find(" (in the last batch") - said.find("the first in ") - 13);
  CHECK(SafetensorsFile(good / "best.safetensors").find(name) != nullptr);
  std::istringstream images(said.substr(said.find("of that batch:") + 14));
  int count = 0;
  for (std::string image; images >> image; ++count)
    CHECK(fs::exists(fs::path(d.data) / "images" / fs::path(image).filename()));
  CHECK(count == 8);
  MESSAGE(said);
}

}  // namespace pneuma::testing
