// inspect_cxr precision: what it counts, against counts through the conversions themselves, and a
// whole run on drawn pictures.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "apps/common/trainer.h"
#include "apps/inspect/precision.h"
#include "data/phantom/phantom.h"
#include "engine/random.h"
#include "kernels/half.h"
#include "kernels/reference/table.h"
#include "tests/program.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;
using inspect::measure_precision;
using inspect::PrecisionFigures;
using inspect::PrecisionSettings;
using Json = nlohmann::json;

constexpr const char* kProgram = "inspect_cxr";

template <class Sixteen>
Losses count_by_rounding(const std::vector<double>& values, int scale_log2, float least_normal) {
  Losses l;
  for (const double v : values) {
    const float rounded = std::fabs(float(Sixteen(float(std::ldexp(v, scale_log2)))));
    if (v == 0) continue;
    l.zero += rounded == 0;
    l.subnormal += rounded > 0 && rounded < least_normal;
    l.overflow += std::isinf(rounded);
  }
  return l;
}

void same(const Losses& a, const Losses& b) {
  CHECK(a.zero == b.zero);
  CHECK(a.subnormal == b.subnormal);
  CHECK(a.overflow == b.overflow);
}

// A small network's settings and pictures, and what was measured of it, once.
struct Small {
  Temporary folder;
  PrecisionSettings settings;
  PrecisionFigures figures;

  Small() {
    write_phantoms(folder / "data", 16, 40, 7, 1);
    TrainSettings& s = settings.train;
    s.data = (folder / "data").string();
    s.output = (folder / "out").string();
    s.num_layers = 10;
    s.base_width = 4;
    s.image_shape = "3,32,32";
    s.resize = "none";
    s.mini_batch_size = 4;
    s.max_steps = 2;
    s.threads = 1;
    s.loss_scale_start = 0x1p30;  // which overflows: the run has skips
    settings.plan_shape = "5,1,64,96";
    figures = measure_precision(settings);
  }
  static const Small& get() {
    static const Small small;
    return small;
  }
};

int64_t sum(const Json& list) {
  int64_t n = 0;
  for (const Json& j : list) n += j.get<int64_t>();
  return n;
}

}  // namespace

TEST_CASE("what each scale loses is what the conversions to 16 bits lose") {
  std::vector<double> values = {0, -0.0};
  for (const double border : {0x1p-25, 0x1p-24, 0x1p-14 - 0x1p-25, 0x1p-14, 65504.0, 65520.0,
                              0x1p-134, 0x1p-126 - 0x1p-134, 0x1p-126, 0x1.ffp127})
    for (const float towards : {0.f, 1e38f, std::numeric_limits<float>::infinity()}) {
      values.push_back(border);
      values.push_back(-std::nextafter(float(border), towards));
    }
  Random random(1, Purpose::test);
  for (int i = 0; i < 4000; ++i)
    values.push_back(float(random.normal() * std::exp2(random.uniform(-60, 30))));
  Tally tally;
  tally.add(std::span(values).first(100));
  tally.add(std::span(values).subspan(100));
  CHECK(tally.count == int64_t(values.size()));
  CHECK(tally.zeros == 2);
  for (int scale = 0; scale < kScales; ++scale) {
    CAPTURE(scale);
    same(tally.losses(0, scale), count_by_rounding<Half>(values, scale, 0x1p-14f));
    same(tally.losses(1, scale), count_by_rounding<Bfloat16>(values, scale, 0x1p-126f));
  }
  Tally twice = tally;
  twice.add(tally);
  CHECK(twice.losses(0, 3).subnormal == 2 * tally.losses(0, 3).subnormal);
  const Json j = json_of(tally, 1);
  CHECK(sum(j["log2"]) == tally.nonzero());
}

TEST_CASE("the best scale is the lowest that loses least without overflow") {
  const auto best = [](std::vector<double> values) {
    Tally tally;
    tally.add(values);
    return best_scale(tally, 0);
  };
  CHECK(best({0x1p-20}) == 6);           // normal from 2^-14 on
  CHECK(best({0x1p-30, 8}) == 6);        // subnormal from 2^-24 on; 8 overflows at 2^13
  CHECK(best({0x1p-30, 0x1p-1}) == 16);  // normal at last, and 2^15 does not overflow
  CHECK(best({0x1p-30, 0x1p13}) == 0);   // 2^13 overflows before the other is saved
  CHECK(best({1.0}) == 0);
  CHECK(best({0.0}) == 0);
}

TEST_CASE("an update is lost when the rounded weight stays, ties and zero included") {
  const double f16 = 0x1p-11, bf16 = 0x1p-8;  // half of the step above 1
  struct Case {
    double weight, update;
    bool lost[2];
  };
  for (const Case& c :
       std::vector<Case>{{1, f16, {true, true}},  // a tie goes to the even 1
                         {1, f16 * 1.01, {false, true}},
                         {1, -f16 / 2, {true, true}},  // steps below 1 are half as wide
                         {1, -f16 / 2 * 1.01, {false, true}},
                         {1, bf16, {false, true}},
                         {1, bf16 * 1.01, {false, false}},
                         {0, 0x1p-26, {true, false}},
                         {1.0001, 0.0004, {true, true}}}) {  // 1.0001 is stored as 1
    LostUpdates l;
    l.add(std::vector{c.weight}, std::vector{c.update});
    CAPTURE(c.weight);
    CAPTURE(c.update);
    CHECK(l.moved == 1);
    CHECK(l.lost[0] == c.lost[0]);
    CHECK(l.lost[1] == c.lost[1]);
  }
  LostUpdates none;
  none.add(std::vector<double>{1}, std::vector<double>{0});
  CHECK(none.moved == 0);
}

TEST_CASE("a run: every tensor is there, and errors go by the width of the format") {
  const PrecisionFigures& f = Small::get().figures;
  const Json j = json_of(f);
  // 10 layers: 12 convolutions, 12 norms, pool, average pool, linear; 2 tensors each. 38
  // parameters.
  CHECK(j["tensors"].size() == 27 * 2 + 38 * 3);
  Tally all;
  for (const inspect::TensorFigures& t : f.tensors)
    if (t.sixteen && is_gradient(t.kind)) all.add(t.tally);
  for (int scale = 0; scale < kScales; ++scale)
    same(all.losses(0, scale), f.gradients.losses(0, scale));
  for (const Json& t : j["tensors"]) {
    CAPTURE(t["name"].get<std::string>());
    CHECK(sum(t["log2"]) == t["values"].get<int64_t>() - t["zeros"].get<int64_t>());
    CHECK(t["errors"].size() == 4);
    const size_t scales = is_gradient(f.tensors[size_t(&t - &j["tensors"][0])].kind) ? 25 : 1;
    CHECK(t["float16"]["zero"].size() == scales);
  }
  REQUIRE(f.policies.size() == 4);
  for (const Kind kind : kKinds) {
    CAPTURE(std::string(name_of(kind)));
    CHECK(f.median_error(kind, 0, 0) == 0);
    CHECK(f.median_error(kind, 1, 0) <= f.median_error(kind, 2, 0) / 16);
    if (kind == Kind::activation || kind == Kind::weight)  // gradients: also by the flips of ReLUs
      CHECK(f.median_error(kind, 2, 0) < f.median_error(kind, 3, 0) / 4);
  }
  for (const inspect::TensorFigures& t : f.tensors) {
    if (t.name != "fc.weight") continue;
    const double first = t.errors[2][0];
    if (t.kind == Kind::weight) CHECK(first < Half::eps / 2);  // a rounding of each
    if (t.kind == Kind::weight_gradient) CHECK(first < 0.05);  // without the loss scale
    CHECK((t.kind == Kind::weight ? first : 1) > 0);
  }
}

TEST_CASE("a run: a skipped step is taken again at the lower scale, until it is good") {
  const PrecisionFigures& f = Small::get().figures;
  const auto& path = f.policies[2].path;  // float16
  REQUIRE(path.size() > 2);
  CHECK(path[0].skipped);
  int64_t good = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    good += !path[i].skipped;
    if (i + 1 == path.size()) break;
    CHECK(path[i + 1].loss_scale == path[i].loss_scale * (path[i].skipped ? 0.5 : 2));
    CHECK(path[i + 1].step == path[i].step + !path[i].skipped);
  }
  CHECK(path[0].loss_scale == 0x1p30);
  CHECK(good == 2);
  CHECK(f.policies[2].losses.size() == 2);
  CHECK(f.policies[1].path.size() == 2);  // float32 has nothing to skip
  CHECK(std::fabs(f.policies[2].losses[0] - f.policies[0].losses[0]) < 0.01);
}

TEST_CASE("a run: bytes are those of the plan at the shape that was asked for") {
  for (const inspect::PolicyFigures& p : Small::get().figures.policies) {
    CAPTURE(p.name);
    Context ctx(reference_backend(), precision_named(p.name), /*dry=*/true);
    ResNet net(ctx, {.num_layers = 10, .num_classes = 14, .channels = 1, .base_width = 4});
    net.parameters().make_gradients(ctx);
    Optimizer adam(ctx, net.parameters(), {});
    const Tensor x = ctx.persistent({5, 64, 96, 1}, ctx.precision().activation());
    const Tensor labels = ctx.persistent({5, 14}, Dtype::f32);
    const MemoryPlan plan = ctx.record([&] {
      train_step(ctx, net.parameters(), adam, 1e-3, [&](Context& c) {
        return ops::sigmoid_cross_entropy(c, net.forward(c, x), labels);
      });
    });
    int64_t loss = -1;
    for (const MemoryUse& use : plan.uses)
      if (loss < 0 && std::string(use.what) == "sigmoid_cross_entropy") loss = use.first;
    size_t saved = 0;
    for (const MemoryUse& use : plan.uses)
      saved += use.first <= loss && loss < use.last ? use.bytes : 0;
    const auto count = size_t(net.parameters().count());
    const size_t full = p.name == "float64" ? 8 : 4;
    CHECK(p.bytes.at("peak") == plan.peak);
    CHECK(p.bytes.at("masters") == full * count);
    CHECK(p.bytes.at("moments") == 2 * full * count);
    CHECK(p.bytes.at("gradients") + p.bytes.at("copies") == full * count);  // halves of the weights
    CHECK(p.bytes.at("saved") == saved);
  }
}

TEST_CASE("the page is whole by itself, names every tensor, and stays small") {
  const PrecisionFigures& f = Small::get().figures;
  const std::string page = page_of(f);
  for (const char* never : {"http:", "https:", "src=", "@import", "url("})
    CHECK_MESSAGE(page.find(never) == page.npos, never);
  for (const inspect::TensorFigures& t : f.tensors) CHECK(page.find(t.name) != page.npos);
  for (const std::string& policy : Small::get().settings.policies)
    CHECK(page.find(policy) != page.npos);
  CHECK(page.size() < 400'000);
  CHECK(page.find("NaN") == page.npos);
  CHECK(page.find("{}") == page.npos);
}

TEST_CASE("a model of ours brings its own depth and width") {
  const Small& small = Small::get();
  TrainSettings s = small.settings.train;
  std::vector<std::string> notes;
  resolve(s, &notes);
  const TrainData data = load_train_data(s);
  Trainer(s, data, reference_backend()).save_start(small.folder / "model.safetensors");
  PrecisionSettings p = small.settings;
  p.train.num_layers = 18, p.train.base_width = 64;
  p.train.init = (small.folder / "model.safetensors").string();
  p.train.max_steps = 1;
  p.policies = {"bfloat16"};
  const PrecisionFigures f = measure_precision(p);
  CHECK(f.tensors.size() == small.figures.tensors.size());
  CHECK(f.policies[0].losses[0] == small.figures.policies[0].losses[0]);  // the same weights
}

TEST_CASE("the program writes two files beside others, and says what is wrong with bad input") {
  const Small& small = Small::get();
  const std::string out = (small.folder / "run").string(), data = small.settings.train.data;
  const auto ran = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"precision", "--max_steps", "1",    "--image_shape",
                                    "3,32,32",   "--resize",    "none", "--mini_batch_size",
                                    "2",         "--threads",   "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(kProgram, all);
  };
  fs::create_directory(out);
  small.folder.write("run/mine.txt", "kept");
  const Ran good = ran({"--data", data, "--output", out, "--precision_dtype", "float16"});
  REQUIRE_MESSAGE(good.exit == 0, good.err);
  CHECK(good.out.find("Without a loss scale") != good.out.npos);
  CHECK(small.folder.read("run/mine.txt") == "kept");
  CHECK(small.folder.read("run/precision.html").find("<h2>Memory</h2>") != std::string::npos);
  const Json j = Json::parse(small.folder.read("run/precision.json"));
  CHECK(j["policies"].size() == 2);
  CHECK(j["summary"].size() >= 6);

  const Ran walk = ran({"--explain", "--num_classes", "5"});
  CHECK(walk.out.find("linear f16 [2,5]") != walk.out.npos);

  CHECK(ran({"--data", data}).said(2, kProgram, "--output is missing"));
  CHECK(ran({"--output", out}).said(2, kProgram, "give either --data DIR"));
  CHECK(ran({"--data", out, "--output", out}).said(3, kProgram, ""));
  const auto bad = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--data", data, "--output", out});
    return ran(more);
  };
  CHECK(bad({"--precision_dtype", "float8"}).said(2, kProgram, "float8 is not known"));
  CHECK(
      bad({"--precision_dtype", "float16,float16"}).said(2, kProgram, "float16 is there already"));
  CHECK(bad({"--plan_shape", "4,3,64"}).said(2, kProgram, "--plan_shape 4,3,64"));
  CHECK(bad({"--plan_shape", "0,3,64,64"}).said(2, kProgram, "1 to 65536 images"));
  CHECK(bad({"--mini_batch_size", "4000"}).said(2, kProgram, "4000"));
  CHECK(bad({"--epochs", "3"}).said(2, kProgram, "unknown flag '--epochs'"));
  CHECK(bad({"--precision_dtype", "float16", "--loss_scale", "1e9"})
            .said(5, kProgram, "loss scale 1000000000;"));
  CHECK(ran({"--data", data, "--output", data + "/Data_Entry_2017.csv"})
            .said(4, kProgram, "cannot be made"));
}

}  // namespace pneuma::testing
