// train_cxr and eval_cxr as a user runs them: a whole small job, stopping and going on, and what is
// said of bad input.
#include <signal.h>

#include <nlohmann/json.hpp>
#include <set>

#include "data/phantom/phantom.h"
#include "engine/host_values.h"
#include "kernels/open_backend.h"
#include "models/weight_files.h"
#include "tests/program.h"
#include "tests/run_files.h"

namespace pneuma::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// One small set of pictures and one run of two epochs on it, made once.
struct Job {
  Temporary folder;
  std::string data = (folder / "data").string(), run = (folder / "run").string();
  Ran ran;

  Job() {
    write_phantoms(data, 24, 32, 7, 1);
    ran = run_program("train_cxr", flags(run, {"--epochs", "2", "--augmentation_type", "crop"}));
  }
  std::vector<std::string> flags(const std::string& output,
                                 const std::vector<std::string>& more) const {
    return small_job(data, output, more);
  }
  static const Job& get() {
    static const Job job;
    return job;
  }
};

}  // namespace

TEST_CASE(
    "a whole job leaves the files of a run, and eval_cxr gives the same answers from the model "
    "alone") {
  const Job& job = Job::get();
  INFO(job.ran.out, job.ran.err);
  REQUIRE(job.ran.exit == 0);
  const fs::path run = job.run;
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(run)) names.insert(entry.path().filename());
  CHECK(names == std::set<std::string>{"auc.json", "best.safetensors", "checkpoints", "last.state",
                                       "metrics.jsonl", "predictions.csv", "previous.state",
                                       "report.html", "settings.json", "split.json"});
  CHECK(fs::exists(run / "checkpoints" / "epoch-0000.safetensors"));
  CHECK(fs::exists(run / "checkpoints" / "epoch-0001.safetensors"));

  int64_t steps = 0, epochs = 0;
  for (const Json& line : timeless_metrics_of(run)) {
    if (line["event"] == "step") {
      CHECK(line["step"] == steps++);
      for (const char* key : {"epoch", "loss", "lr", "loss_scale", "skipped"})
        CHECK(line.contains(key));
    } else if (line["event"] == "epoch") {
      CHECK(line["epoch"] == epochs++);
      for (const char* key :
           {"train_loss", "validation_loss", "validation_auc", "validation_accuracy"}) {
        CHECK(line.contains(key));
      }
    }
  }
  CHECK(epochs == 2);
  CHECK(steps > 2);

  const fs::path output = job.folder / "evaluation";
  const Ran eval = run_program(
      "eval_cxr", {(run / "best.safetensors").string(), "--data", job.data, "--set", "test",
                   "--output", output.string(), "--threads", "1", "--mini_batch_size", "8"});
  INFO(eval.err);
  REQUIRE(eval.exit == 0);
  Temporary files;
  CHECK(files.read(run / "predictions.csv") == files.read(output / "predictions.csv"));
  CHECK(files.read(run / "auc.json") == files.read(output / "auc.json"));
  CHECK(files.read(run / "report.html").find("not a medical device") != std::string::npos);
}

TEST_CASE("eval_cxr refuses another split than the model's") {
  const Job& job = Job::get();
  const fs::path other = job.folder / "other";
  write_phantoms(other, 24, 32, 8, 1);
  const Ran eval = run_program("eval_cxr", {job.run + "/best.safetensors", "--data", other.string(),
                                            "--output", (job.folder / "refused").string()});
  CHECK(eval.said(3, "eval_cxr", "gives another split"));
  CHECK(!fs::exists(job.folder / "refused"));
}

TEST_CASE(
    "SIGTERM and SIGINT finish the step, save, and a resumed run ends like one that was not "
    "stopped") {
  const Job& job = Job::get();
  for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
    INFO("signal ", signal);
    const fs::path run = job.folder / fmt::format("stopped-{}", signal);
    const pid_t child = start_program(
        "train_cxr",
        job.flags(run, {"--epochs", "2", "--augmentation_type", "crop", "--save_every", "1"}));
    wait_for_lines(run / "metrics.jsonl", 2);
    kill(child, signal);
    CHECK(exit_of(child) == 128 + signal);
    CHECK(!fs::exists(run / "auc.json"));
    const Ran resumed = run_program("train_cxr", {"--resume", run.string()});
    INFO(resumed.err);
    REQUIRE(resumed.exit == 0);
    CHECK(timeless_metrics_of(run) == timeless_metrics_of(job.run));
    Temporary files;
    CHECK(files.read(run / "best.safetensors") ==
          files.read(fs::path(job.run) / "best.safetensors"));
    CHECK(files.read(run / "predictions.csv") == files.read(fs::path(job.run) / "predictions.csv"));
    fs::remove_all(run);
  }
}

TEST_CASE("what cannot be done is one sentence and an exit code, and leaves nothing") {
  const Job& job = Job::get();
  const fs::path output = job.folder / "bad";
  struct Bad {
    int exit;
    std::string part;
    std::vector<std::string> flags;
  };
  Temporary files;
  files.write("not.safetensors", "hello");
  files.write("empty.lst", "");
  files.write("labels.lst", "0\t1\t0\ta.png\n1\t1\tb.png\n");
  files.write("escape.lst", "0\t1\t0\t../../etc/passwd\n");
  const std::string f = files.path.string();
  const auto listed = [&](const std::string& lst) {
    return std::vector<std::string>{"--train",          f,
                                    "--train_lst",      f + "/" + lst,
                                    "--validation",     f,
                                    "--validation_lst", f + "/" + lst,
                                    "--output",         output.string()};
  };
  const std::vector<Bad> table = {
      {2, "the nearest is --epochs", job.flags(output, {"--epoch", "3"})},
      {2, "--learning_rate", job.flags(output, {"--learning_rate", "7"})},
      {2, "'1.5' is not a whole number from 1", job.flags(output, {"--epochs", "1.5"})},
      {2, "not one of sgd|nag|adam|rmsprop", job.flags(output, {"--optimizer", "lamb"})},
      {2, "--mini_batch_size", job.flags(output, {"--mini_batch_size", "0"})},
      {2, "--num_layers", job.flags(output, {"--num_layers", "19"})},
      {2, "--image_shape", job.flags(output, {"--image_shape", "3,32"})},
      {2, "--image_shape", job.flags(output, {"--image_shape", "2,32,32"})},
      {2, "--resize 16 is smaller", job.flags(output, {"--resize", "16"})},
      {2, "--std", job.flags(output, {"--std", "0,1,1"})},
      {2, "--seed", job.flags(output, {"--seed", "-1"})},
      {2, "--device", job.flags(output, {"--device", "tpu"})},
      {4, "cuda", job.flags(output, {"--device", "cuda"})},
      {2, "--conv_table", job.flags(output, {"--conv_table", f + "/missing"})},
      {2, "this device takes no table", job.flags(output, {"--conv_table", f + "/labels.lst"})},
      {2, "--shuffle", job.flags(output, {"--shuffle=maybe"})},
      {2, "--output is missing", {"--data", job.data}},
      {2, "either --data DIR", {"--output", output.string()}},
      {2, "is not empty", job.flags(job.run, {})},
      {4, "cannot be made", job.flags("/proc/nowhere", {})},
      {2, "do not fill one batch", job.flags(output, {"--mini_batch_size", "4096"})},
      {3, "smaller than the crop", job.flags(output, {"--image_shape", "3,64,64"})},
      {3, "not.safetensors", job.flags(output, {"--init", f + "/not.safetensors"})},
      {3, "missing.safetensors", job.flags(output, {"--init", f + "/missing.safetensors"})},
      {3, "last.state", job.flags(output, {"--init", job.run + "/last.state"})},
      {3, "nowhere", {"--data", f + "/nowhere", "--output", output.string()}},
      {3, "train_val_list.txt", job.flags(output, {"--split", "official"})},
      {3, "empty.lst", listed("empty.lst")},
      {3, "labels.lst:2", listed("labels.lst")},
      {3, "escape.lst:1", listed("escape.lst")},
      {2, "is no run", {"--resume", f}},
      {2, "cannot change in a resumed run", {"--resume", job.run, "--learning_rate", "0.1"}},
  };
  for (const Bad& bad : table) {
    const Ran ran = run_program("train_cxr", bad.flags);
    INFO(bad.part, " | exit ", ran.exit, " | ", ran.err);
    const std::string sentence =
        ran.err.substr(std::min(ran.err.size(), ran.err.find("train_cxr: ")));
    CHECK(Ran{ran.exit, "", sentence}.said(bad.exit, "train_cxr", bad.part));
    if (fs::exists(output)) CHECK(fs::is_empty(output / "checkpoints"));
    fs::remove_all(output);
  }
}

TEST_CASE("--dry_run says steps and memory, and makes nothing") {
  const Job& job = Job::get();
  const fs::path output = job.folder / "dry";
  const Ran ran = run_program("train_cxr", job.flags(output, {"--dry_run", "--epochs", "5"}));
  CHECK(ran.exit == 0);
  CHECK(ran.out.find("memory:") != std::string::npos);
  CHECK(!fs::exists(output));
}

TEST_CASE("--dry_run prints the choice for each convolution, in the form that --conv_table reads") {
  if (!fs::exists(PNEUMA_BIN_DIR "/libpneuma_host_cuda.so")) return;
  const Job& job = Job::get();
  Temporary files;
  const auto dry = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--dry_run", "--device", "host_cuda"});
    return run_program("train_cxr", job.flags(job.folder / "dry", more));
  };
  const Ran chosen = dry({});
  INFO(chosen.err);
  REQUIRE(chosen.exit == 0);
  const std::string head = "convolutions, as --conv_table reads them\n";
  REQUIRE(chosen.out.find(head) != std::string::npos);
  std::string table = chosen.out.substr(chosen.out.find(head) + head.size());
  const size_t at = table.find("algorithm 1 "), last = table.find("forward f32 x 8,32,32,3 ");
  REQUIRE(at != std::string::npos);
  CHECK(last != std::string::npos);
  table.replace(table.find("algorithm 1 ", last), 12, "algorithm 0 ");
  files.write("table", table);
  const Ran forced = dry({"--conv_table", (files.path / "table").string()});
  INFO(forced.err);
  CHECK(forced.exit == 0);
  CHECK(forced.out != chosen.out);
  files.write("table", table + "forward\n");
  const Ran refused = dry({"--conv_table", (files.path / "table").string()});
  CHECK(refused.said(2, "train_cxr", "of the conv table: it must read: PASS DTYPE"));
}

TEST_CASE("a bad image fails, is skipped or is replaced, and is named") {
  const Job& job = Job::get();
  const fs::path data = job.folder / "damaged";
  fs::copy(job.data, data, fs::copy_options::recursive);
  const fs::path victim = fs::directory_iterator(data / "images")->path();
  fs::resize_file(victim, fs::file_size(victim) / 2);
  const auto run = [&](const std::string& policy) {
    const std::string output = (job.folder / ("bad-" + policy)).string();
    std::vector<std::string> flags =
        job.flags(output, {"--on_bad_image", policy, "--epochs", "1", "--last_batch", "keep"});
    flags[1] = data.string();
    return run_program("train_cxr", flags);
  };
  const std::string name = victim.filename();
  const Ran failed = run("fail");
  CHECK(failed.exit == 3);
  CHECK(failed.err.find(name) != std::string::npos);
  for (const char* policy : {"skip", "replace"}) {
    const Ran ran = run(policy);
    INFO(ran.err);
    CHECK(ran.exit == 0);
    Temporary files;
    CHECK(files.read(job.folder / (std::string("bad-") + policy) / "metrics.jsonl").find(name) !=
          std::string::npos);
  }
}

TEST_CASE("--save_init writes the start, and --init takes it") {
  const Job& job = Job::get();
  const fs::path start = job.folder / "start.safetensors", a = job.folder / "a",
                 b = job.folder / "b";
  const Ran first =
      run_program("train_cxr", job.flags(a, {"--max_steps", "2", "--save_init", start.string()}));
  REQUIRE(first.exit == 0);
  const Ran second =
      run_program("train_cxr", job.flags(b, {"--max_steps", "2", "--init", start.string()}));
  REQUIRE(second.exit == 0);
  CHECK(timeless_metrics_of(a) == timeless_metrics_of(b));
}

TEST_CASE("lists alone say how many classes there are") {
  const Job& job = Job::get();
  const std::string lst = (job.folder / "all.lst").string();
  REQUIRE(run_program("prepare_cxr",
                      {"list", "--csv", job.data + "/Data_Entry_2017.csv", "--output", lst})
              .exit == 0);
  const Ran ran = run_program("train_cxr", {"--train",           job.data,
                                            "--train_lst",       lst,
                                            "--validation",      job.data,
                                            "--validation_lst",  lst,
                                            "--output",          (job.folder / "lists").string(),
                                            "--image_shape",     "3,32,32",
                                            "--mini_batch_size", "8",
                                            "--threads",         "1",
                                            "--max_steps",       "1",
                                            "--device",          "cpu"});
  INFO(ran.err);
  CHECK(ran.exit == 0);
}

TEST_CASE("a metrics file that lost its end is not padded") {
  const Job& job = Job::get();
  const fs::path run = job.folder / "shortened";
  fs::copy(job.run, run, fs::copy_options::recursive);
  fs::resize_file(run / "metrics.jsonl", 10);
  CHECK(run_program("train_cxr", {"--resume", run.string()})
            .said(3, "train_cxr", "shorter than the saved state"));
  CHECK(fs::file_size(run / "metrics.jsonl") == 10);
}

TEST_CASE("a resumed run wants the data that it began with") {
  const Job& job = Job::get();
  const fs::path run = job.folder / "relabelled";
  fs::copy(job.run, run, fs::copy_options::recursive);
  std::ofstream(run / "split.json", std::ios::app) << " ";
  CHECK(run_program("train_cxr", {"--resume", run.string()})
            .said(3, "train_cxr", "another split than this run"));
}

TEST_CASE("settings of a run that an older program began are completed; damaged ones are refused") {
  const Job& job = Job::get();
  const fs::path run = job.folder / "older", file = run / "settings.json";
  fs::copy(job.run, run, fs::copy_options::recursive);
  Temporary files;
  Json settings = Json::parse(files.read(file));
  REQUIRE(settings.erase("conv_table") == 1);
  std::ofstream(file) << settings;
  const Ran ran = run_program("train_cxr", {"--resume", run.string()});
  INFO(ran.err);
  CHECK(ran.exit == 0);
  CHECK(Json::parse(files.read(file))["conv_table"] == "");
  for (const char* damaged : {"[]", R"({"epochs": "many"})", "{"}) {
    std::ofstream(file) << damaged;
    CHECK(run_program("train_cxr", {"--resume", run.string()}).said(3, "train_cxr", "is damaged"));
  }
}

TEST_CASE("eval_cxr leaves a run's own answers alone") {
  const Job& job = Job::get();
  CHECK(run_program("eval_cxr",
                    {job.run + "/best.safetensors", "--data", job.data, "--output", job.run})
            .said(2, "eval_cxr", "is the folder of a training run"));
}

TEST_CASE("eval_cxr skips a bad image even where it is a batch of its own") {
  const Job& job = Job::get();
  const fs::path data = job.folder / "damaged-eval";
  fs::copy(job.data, data, fs::copy_options::recursive);
  const fs::path victim = fs::directory_iterator(data / "images")->path();
  fs::resize_file(victim, fs::file_size(victim) / 2);
  const Ran ran = run_program(
      "eval_cxr", {job.run + "/best.safetensors", "--data", data.string(), "--set", "all",
                   "--output", (job.folder / "skipped").string(), "--mini_batch_size", "1",
                   "--on_bad_image", "skip", "--threads", "1"});
  INFO(ran.err);
  CHECK(ran.exit == 0);
  CHECK(ran.out.find("left out: ") != std::string::npos);
  CHECK(ran.out.find(victim.filename()) != std::string::npos);
}

TEST_CASE(
    "gradients that stay inf or nan end the run with their tensor's name, and the state can be "
    "read") {
  const Job& job = Job::get();
  const fs::path start = job.folder / "huge.safetensors", run = job.folder / "numeric";
  {
    std::string why;
    Context ctx(*open_backend("reference", &why));
    ResNet model(ctx, {.num_layers = 18});
    model.initialize(ctx, 1);
    for (const Parameter& p : model.parameters().parameters) {
      if (p.name == "fc.weight")
        set_values(ctx, p.value, std::vector<float>(size_t(p.value.shape().count()), 3e38f));
    }
    save_weights(ctx, model.parameters(), start);
  }
  const Ran ran =
      run_program("train_cxr", job.flags(run, {"--init", start.string(), "--epochs", "100"}));
  INFO(ran.err);
  CHECK(ran.exit == 5);
  CHECK(ran.err.find("50 steps in a row") != std::string::npos);
  const Ran resumed = run_program("train_cxr", {"--resume", run.string()});
  INFO(resumed.err);
  CHECK(resumed.exit == 5);
}

}  // namespace pneuma::testing
