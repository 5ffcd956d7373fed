// Evaluates a model file: the AUC of each finding on a set of the split it was trained with, or on
// listed images or records.
#include "apps/common/device.h"
#include "apps/common/evaluate.h"
#include "apps/common/train_data.h"
#include "apps/report/report.h"
#include "engine/io/atomic_file.h"

namespace {

using namespace pneuma;

struct Settings {
  std::string model, data, set = "test", lists, images, lst, output, conv_table, device = "auto",
                           precision_dtype = "float32", on_bad_image = "fail";
  int mini_batch_size = 32, threads = 0;
};

// The set of a folder in the NIH's layout, split as the model's file says; another split is an
// error, since test images could have been trained on.
Dataset set_of_split(const Settings& s, const ModelInfo& info) {
  const LabelFile labels = find_labels(s.data);
  if (!labels.note.empty()) fmt::print("{}\n", labels.note);
  const std::vector<LabelRow> rows = read_labels(labels.path);
  if (s.set == "all") {
    std::vector<size_t> all(rows.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    return dataset_of_rows(s.data, rows, all);
  }
  if (info.split_method.empty()) {
    fail(Exit::usage,
         "{} was trained on lists or records, not on a split; use --images, or --set all", s.model);
  }
  const Split split = make_split(rows, split_method(info.split_method), info.split_seed,
                                 s.lists.empty() ? s.data : s.lists);
  if (split.hash != info.split_hash) {
    fail(Exit::data,
         "{}: its label file gives another split (hash {}) than {} was trained with ({}); use the "
         "same "
         "label file, or --set all",
         s.data, split.hash, s.model, info.split_hash);
  }
  for (size_t i = 0; i < 3; ++i) {
    if (s.set == kSetNames[i]) return dataset_of_rows(s.data, rows, split.sets[i]);
  }
  fail(Exit::usage, "--set {}: it is train, validation, test or all", s.set);
}

void evaluate(const Settings& s) {
  if (s.data.empty() == s.images.empty() || (s.images.empty() && !s.lst.empty())) {
    fail(Exit::usage,
         "give either --data DIR (and --set), or --images F.rec, or --images DIR --lst F");
  }
  const ModelInfo info = read_model_info(s.model);
  const int classes = info.network.num_classes;
  Dataset dataset = s.data.empty() ? dataset_of_files(s.images, s.lst, classes, info.multi_label)
                                   : set_of_split(s, info);
  if (dataset.num_classes != classes) {
    fail(Exit::data, "{} has {} outputs, but the images have {} labels", s.model, classes,
         dataset.num_classes);
  }
  if (!s.data.empty() && dataset.findings != info.findings) {
    fail(Exit::data,
         "{}: its outputs are not the NIH's 14 findings in their order; use --images DIR --lst F",
         s.model);
  }
  dataset.findings = info.findings;
  const std::filesystem::path folder = s.output;
  if (std::filesystem::exists(folder / "settings.json")) {
    fail(Exit::usage, "{} is the folder of a training run; give another --output", s.output);
  }

  const Precision& precision = precision_named(s.precision_dtype);
  const Backend& backend = device_named(s.device, s.threads, s.conv_table, s.precision_dtype);
  Context dry(backend, precision,
              true);  // checks every tensor of the file before memory is taken for one
  load_weights(dry, ResNet(dry, info.network).parameters(), s.model);
  Context ctx(backend, precision);
  ResNet model(ctx, info.network);
  load_weights(ctx, model.parameters(), s.model);
  std::error_code error;
  std::filesystem::create_directories(s.output, error);
  if (error)
    fail(Exit::environment, "{}: cannot be made: {}; give another --output", s.output,
         error.message());

  const int threads =
      s.threads ? s.threads : int(std::max(1u, std::thread::hardware_concurrency()));
  ImageInput input(ctx, info.image_format());
  Evaluator evaluator(ctx, model, input, info.multi_label);
  const std::string set = s.data.empty() ? "list" : s.set;
  const Predictions p = evaluator.run(
      set, dataset, evaluation_loader(info, threads, on_bad_image_named(s.on_bad_image)),
      s.mini_batch_size);
  for (const BadImage& b : p.bad) fmt::print("left out: {}\n", b.reason);
  const AucTable table = auc_of(p, size_t(classes));
  write_file_atomically(folder / "predictions.csv", predictions_csv(p, dataset));
  write_file_atomically(folder / "auc.json", auc_json(set, p.samples.size(), table, info.findings));
  write_report(folder);
  fmt::print("{}", auc_text(table, info.findings));
  fmt::print("{} images, loss {:.4f}, accuracy {:.4f}; written to {}\n", p.samples.size(), p.loss,
             p.accuracy, s.output);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Evaluates a trained model: AUC of each finding with 95 % intervals.\n"
      "Research use, not a medical device.",
      "eval_cxr");
  Settings s;
  app.add_option("MODEL", s.model, "A .safetensors file that train_cxr wrote")->required();
  app.add_option("--data", s.data, "Folder in the NIH's layout");
  app.add_option("--set", s.set, "train, validation or test of the model's split, or all")
      ->check(CLI::IsMember({"train", "validation", "test", "all"}));
  app.add_option("--lists", s.lists,
                 "Folder of the NIH's two lists, if the split is official (default: --data)");
  app.add_option("--images", s.images, "Instead of --data: a folder of listed images, or a .rec");
  app.add_option("--lst", s.lst, "Their .lst file; with a .rec only where that lacks labels");
  app.add_option("--output", s.output, "Folder for predictions.csv, auc.json, report.html")
      ->required();
  app.add_option("--mini_batch_size", s.mini_batch_size, "Images a step")
      ->check(cli::in_range(1, 65536));
  app.add_option("--on_bad_image", s.on_bad_image, "fail, or skip it")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--device", s.device, "auto, cpu, reference, cuda or host_cuda");
  app.add_option("--precision_dtype", s.precision_dtype,
                 "float32 whatever it was trained in (default), float16, bfloat16; float64 with "
                 "--device reference");
  app.add_option("--conv_table", s.conv_table, "As train_cxr has it")->check(CLI::ExistingFile);
  app.add_option("--threads", s.threads, "0: as many as the machine has")
      ->check(cli::in_range(0, 1024));
  return cli::run(app, argc, argv, [&] { evaluate(s); });
}
