#include "apps/inspect/precision.h"

#include <algorithm>
#include <cmath>

#include "apps/common/device.h"
#include "apps/common/trainer.h"
#include "apps/inspect/explain.h"
#include "engine/host_values.h"
#include "engine/io/atomic_file.h"
#include "kernels/open_backend.h"

namespace pneuma::inspect {
namespace {

namespace fs = std::filesystem;
using Values = std::vector<double>;
using Key = std::pair<Kind, size_t>;  // of a tensor: its layer, or the parameter that it belongs to

// One step. `see` gets every tensor of it, gradients without the loss scale. Returns the loss.
double take_step(Trainer& trainer, StepWatch& layers, const Batch& batch, int64_t number,
                 std::vector<Attempt>& path, const std::function<void(Key, const Values&)>& see) {
  Context& ctx = trainer.context();
  const auto& parameters = trainer.parameters().parameters;
  const double scale = trainer.optimizer().state(ctx).loss_scale;
  const auto unscaled = [&](const Tensor& t) {
    Values v = get_values(ctx, t);
    for (double& x : v) x /= scale;
    return v;
  };
  std::vector<Values> before;
  for (const Parameter& p : parameters) {
    see({Kind::weight, before.size()}, get_values(ctx, p.read()));
    before.push_back(get_values(ctx, p.value));
  }
  trainer.watch = [&](Tape& tape) {
    layers.watch(tape, trainer.parameters(), [&](Kind kind, size_t layer, const Tensor& t) {
      see({kind, layer}, kind == Kind::gradient ? unscaled(t) : get_values(ctx, t));
    });
  };
  const StepResult result = trainer.step(batch);
  path.push_back({number, scale, !result.state.good});
  for (size_t k = 0; k < parameters.size(); ++k) {
    see({Kind::weight_gradient, k}, unscaled(parameters[k].gradient));
    Values update = get_values(ctx, parameters[k].value);
    for (size_t i = 0; i < update.size(); ++i) update[i] -= before[k][i];
    see({Kind::update, k}, update);
  }
  return result.loss;
}

std::map<std::string, size_t> plan_bytes(TrainSettings s, const std::string& shape,
                                         const TrainData& data, const Backend& backend) {
  const std::vector<float> n = parse_numbers("--plan_shape", shape, 4);
  if (!(n[0] >= 1 && n[0] <= 65536 && n[0] == std::floor(n[0])))
    fail(Exit::usage, "--plan_shape {}: it begins with 1 to 65536 images", shape);
  s.mini_batch_size = int(n[0]);
  s.image_shape = shape.substr(shape.find(',') + 1);
  s.resize = "none";
  s.last_batch = "keep";  // there may be fewer images
  s.init.clear();
  std::vector<std::string> notes;
  resolve(s, &notes);
  Trainer trainer(s, data, backend, /*dry=*/true);
  const MemoryPlan& plan = trainer.plan(s.mini_batch_size);
  std::map<std::string, size_t> bytes{{"peak", plan.peak}};
  for (const Parameter& p : trainer.parameters().parameters) {
    bytes["masters"] += p.value.bytes();
    bytes["copies"] += p.working.bytes();
    bytes["gradients"] += p.gradient.bytes();
  }
  for (const Buffer& b : trainer.optimizer().moments()) bytes["moments"] += b.value.bytes();
  bytes["saved"] = bytes_alive_at(plan, "cross_entropy");
  return bytes;
}

}  // namespace

PrecisionSettings::PrecisionSettings() {
  train.image_shape = "3,64,64";
  train.resize = "72";
  train.mini_batch_size = 4;
  train.max_steps = 5;
  train.loss_scale_interval = 1;  // so that the scale is seen to move
  train.device = "reference";
}

CLI::App* add_precision_command(CLI::App& app, PrecisionSettings& s) {
  CLI::App* c = app.add_subcommand(
      "precision", "Train a few steps in f64 and in fewer bits: a page of what each tensor loses");
  add_train_flags(*c, s.train);
  for (const char* name : {"--init", "--epochs", "--max_steps", "--precision_dtype", "--last_batch",
                           "--select_by", "--save_every"})
    c->remove_option(c->get_option(name));
  c->get_option("--output")->description("Folder for precision.html and precision.json");
  c->get_option("--device")->description("Of the policies; f64 runs on reference");
  c->add_option("--model", s.train.init, "Weights to start from (.safetensors); else drawn")
      ->check(CLI::ExistingFile)
      ->group("Network");
  c->add_option("--precision_dtype", s.policies, "Policies beside f64, with commas")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Training");
  c->add_option("--max_steps", s.train.max_steps, "Steps (5)")->check(cli::in_range(1, 1000));
  c->add_flag("--explain", s.explain,
              "Instead, print one step on drawn pictures: every kernel, its dtypes and bytes (in "
              "float16, or in the one --precision_dtype)");
  c->add_option("--plan_shape", s.plan_shape,
                "images,channels,height,width that memory is planned for (default: of the run)");
  return c;
}

PrecisionFigures measure_precision(PrecisionSettings p) {
  TrainSettings& s = p.train;
  if (!s.init.empty() && SafetensorsFile(s.init).metadata().contains("network")) {
    const ModelInfo info = read_model_info(s.init);  // a model of ours says what it is
    s.arch = name_of(info.network.arch);
    s.num_layers = info.network.num_layers;
    s.base_width = info.network.base_width;
    s.mean = fmt::format("{}", fmt::join(info.mean, ","));
    s.std = fmt::format("{}", fmt::join(info.std, ","));
  }
  p.policies.insert(p.policies.begin(), "float64");
  std::vector<TrainSettings> each(p.policies.size(), s);
  each[0].device = "reference";
  each[0].loss_scale = "1";
  std::vector<std::string> notes;
  for (size_t i = 0; i < each.size(); ++i) {
    each[i].precision_dtype = p.policies[i];
    if (std::ranges::count(p.policies, p.policies[i]) > 1)
      fail(Exit::usage, "--precision_dtype: {} is there already", p.policies[i]);
    resolve(each[i], &notes);
  }
  s = each[0];
  s.device = each.back().device;
  if (p.plan_shape.empty()) p.plan_shape = fmt::format("{},{}", s.mini_batch_size, s.image_shape);

  const TrainData data = load_train_data(s);
  const Backend& device = device_named(s.device, s.threads, s.conv_table);
  std::string why;
  PrecisionFigures figures{.settings = p};
  std::vector<std::unique_ptr<Trainer>> runs;
  StepWatch layers;
  for (const TrainSettings& one : each) {
    const Backend& backend = runs.empty() ? *open_backend("reference", &why) : device;
    figures.policies.push_back(
        {one.precision_dtype, {}, {}, plan_bytes(one, p.plan_shape, data, backend)});
    runs.push_back(std::make_unique<Trainer>(one, data, backend));
  }

  std::map<Key, TensorFigures> tensors;
  Loader loader = runs[0]->batches();
  const auto steps = size_t(s.max_steps);
  Progress progress("steps", int64_t(steps * runs.size()));
  for (size_t step = 0; step < steps; ++step) {
    const Batch batch = *loader.next();
    if (batch.samples.empty())
      fail(Exit::data, "step {}: no image of its batch can be read; see prepare_cxr verify", step);
    std::map<Key, Values> exact;
    for (size_t i = 0; i < runs.size(); ++i) {
      PolicyFigures& policy = figures.policies[i];
      double loss = 0;
      for (int tries = 0; tries == 0 || policy.path.back().skipped; ++tries) {
        if (tries && (each[i].loss_scale != "dynamic" ||
                      policy.path.back().loss_scale <= s.loss_scale_floor))
          fail(Exit::numeric,
               "step {} in {}: inf or nan in a gradient at loss scale {}; lower --learning_rate or "
               "--loss_scale, or let it be dynamic",
               step, policy.name, policy.path.back().loss_scale);
        loss = take_step(
            *runs[i], layers, batch, int64_t(step), policy.path, [&](Key key, const Values& v) {
              TensorFigures& t = tensors[key];
              if (i == 0) {
                if (!std::ranges::all_of(v, [](double x) { return std::isfinite(x); }))
                  fail(Exit::numeric, "step {}: inf or nan in f64; lower --learning_rate", step);
                t.tally.add(v);
                exact[key] = v;
              }
              t.errors.resize(runs.size(), Values(steps));
              t.errors[i][step] = relative_error(v, exact[key]);
            });
      }
      policy.losses.push_back(loss);
      progress.step(int64_t(batch.samples.size()), fmt::format("step {}, {}", step, policy.name));
    }
    for (auto& [key, t] : tensors)
      if (key.first == Kind::update) t.lost.add(exact[{Kind::weight, key.second}], exact[key]);
  }

  const auto take = [&](Key key, const std::string& layer, const std::string& name,
                        const std::string& shape, bool sixteen) {
    TensorFigures& t = tensors[key];
    t.layer = layer, t.name = name, t.shape = shape, t.kind = key.first, t.sixteen = sixteen;
    if (sixteen && is_gradient(t.kind)) figures.gradients.add(t.tally);
    figures.lost.add(t.lost);
    figures.tensors.push_back(t);
  };
  const auto& parameters = runs[0]->parameters().parameters;
  for (size_t i = 0; const auto& [layer, shape] : layers.layers()) {
    for (const Kind kind : {Kind::activation, Kind::gradient})
      take({kind, i}, layer, layer, shape.text(), true);
    for (size_t k = 0; k < parameters.size(); ++k)
      for (const Kind kind : {Kind::weight, Kind::weight_gradient, Kind::update})
        if (const Parameter& w = parameters[k]; layer_of(w) == layer)
          take({kind, k}, layer, w.name, w.value.shape().text(),
               w.role == Role::weight && kind != Kind::update);
    ++i;
  }
  return figures;
}

double PrecisionFigures::median_error(Kind kind, size_t policy, size_t step) const {
  Values errors;
  for (const TensorFigures& t : tensors)
    if (t.kind == kind && (t.sixteen || kind == Kind::update))
      errors.push_back(t.errors[policy][step]);
  std::ranges::sort(errors);
  return errors[errors.size() / 2];
}

nlohmann::json json_of(const PrecisionFigures& f) {
  nlohmann::json j{{"settings", f.settings.train},
                   {"plan_shape", f.settings.plan_shape},
                   {"policies", f.policies},
                   {"summary", summary_of(f)},
                   {"gradients", json_of(f.gradients, kScales)},
                   {"lost_updates", f.lost}};
  for (const TensorFigures& t : f.tensors) {
    nlohmann::json& of =
        j["tensors"].emplace_back(json_of(t.tally, is_gradient(t.kind) ? kScales : 1));
    of["layer"] = t.layer;
    of["name"] = t.name;
    of["kind"] = name_of(t.kind);
    of["shape"] = t.shape;
    of["stored_in_16_bits"] = t.sixteen;
    of["errors"] = t.errors;
    if (t.kind == Kind::update) of["lost_updates"] = t.lost;
  }
  return j;
}

void inspect_precision(const PrecisionSettings& settings) {
  const TrainSettings& s = settings.train;
  if (settings.explain) {
    ExplainSettings e;
    e.arch = s.arch, e.num_layers = s.num_layers;
    if (s.num_classes) e.num_classes = s.num_classes;
    e.mini_batch_size = s.mini_batch_size, e.image_shape = s.image_shape;
    e.device = s.device, e.threads = s.threads, e.seed = s.seed;
    if (settings.policies.size() == 1) e.precision_dtype = settings.policies[0];
    return explain(e);
  }
  const fs::path folder = s.output;
  std::error_code error;
  if (!folder.empty()) fs::create_directories(folder, error);
  if (error)
    fail(Exit::environment, "{}: cannot be made: {}; give another --output", folder.string(),
         error.message());
  const PrecisionFigures figures = measure_precision(settings);
  write_file_atomically(folder / "precision.json", json_of(figures).dump() + "\n");
  write_file_atomically(folder / "precision.html", page_of(figures));
  for (const std::string& sentence : summary_of(figures)) fmt::print("{}\n", sentence);
  fmt::print("page: {}\n", (folder / "precision.html").string());
}

}  // namespace pneuma::inspect
