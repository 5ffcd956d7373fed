#include "apps/common/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/host_values.h"
#include "engine/io/atomic_file.h"
#include "engine/io/training_state.h"

namespace pneuma {

// What an older state does not know of has its default.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(RightAnswers, counted, right, right_in_top_k)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(TrainPosition, epoch, step, steps, loss_sum, losses,
                                                answers, epochs_without_improvement, has_best,
                                                best_score, best_epoch, metrics_bytes)

namespace {

constexpr int64_t kMostSkips = 50;  // in a row, then the run stops

using Json = nlohmann::ordered_json;

Json number(const std::optional<double>& v) {
  return v && std::isfinite(*v) ? Json(*v) : Json(nullptr);
}

// Of what is finite.
std::string range_of(const std::vector<double>& values) {
  double low = INFINITY, high = -INFINITY;
  for (const double v : values)
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  return low > high ? "none" : fmt::format("[{:.3g}, {:.3g}]", low, high);
}

LossWeights loss_weights(const TrainSettings& s, const Dataset& train) {
  if (!s.use_weighted_loss) return {};
  const std::vector<float> weights = class_weights(train);
  return {weights, s.weighted_loss_mode == "class" ? weights : std::vector<float>()};
}

}  // namespace

Trainer::Trainer(const TrainSettings& settings, const TrainData& data, const Backend& backend,
                 bool dry)
    : settings_(settings),
      data_(data),
      info_(model_info_of(settings, data)),
      weights_(loss_weights(settings, data.train)),
      early_stopping_{settings.early_stopping, settings.early_stopping_min_epochs,
                      settings.early_stopping_patience, settings.early_stopping_tolerance},
      ctx_(backend, precision_named(settings.precision_dtype), dry),
      model_(ctx_, info_.network),
      input_(ctx_, info_.image_format()),
      evaluator_(ctx_, model_, input_, settings.multi_label, weights_, settings.top_k),
      sampler_(int64_t(data.train.samples.size()), settings.mini_batch_size, settings.seed,
               settings.shuffle, settings.last_batch == "keep" ? LastBatch::keep : LastBatch::drop),
      schedule_(schedule_of(settings, sampler_.steps())),
      loader_(evaluation_loader(info_, settings.threads, OnBadImage::fail)) {
  loader_.seed = settings.seed;
  loader_.synthetic = settings.synthetic;
  loader_.on_bad_image = on_bad_image_named(settings.on_bad_image);
  loader_.cache_bytes = size_t(settings.cache_mb) << 20;
  loader_.augmentation = augmentation_of(settings);
  if (!dry) model_.initialize(ctx_, settings.seed);
  if (!settings.init.empty()) {  // a dry run checks the file
    fmt::print("{}\n",
               load_pretrained(ctx_, model_, WeightFile(settings.init), info_.image_format()).text);
  }
  model_.fine_tune(settings.freeze_stages, settings.backbone_lr_factor);
  model_.parameters().make_gradients(ctx_, settings.accumulate_steps > 1);
  optimizer_ =
      std::make_unique<Optimizer>(ctx_, model_.parameters(),
                                  OptimizerSettings{.kind = optimizer_named(settings.optimizer),
                                                    .learning_rate = settings.learning_rate,
                                                    .momentum = settings.momentum,
                                                    .weight_decay = settings.weight_decay,
                                                    .beta_1 = settings.beta_1,
                                                    .beta_2 = settings.beta_2,
                                                    .gamma = settings.gamma,
                                                    .eps = settings.eps,
                                                    .clip_norm = settings.clip_gradient_norm},
                                  scaler_of(settings));
  results_ = std::make_unique<StepResults>(
      ctx_, *optimizer_, int64_t{settings.mini_batch_size} * info_.network.num_classes);
  for (const auto& [weight, values] : {std::pair(&positive_weight_, &weights_.positive),
                                       {&negative_weight_, &weights_.negative}}) {
    if (values->empty()) continue;
    *weight = ctx_.persistent({int64_t(values->size())}, ctx_.precision().master);
    set_values(ctx_, *weight, *values);
  }
}

void Trainer::open(const RunFolder& folder, bool resume) {
  folder_ = folder;
  if (resume) {
    std::string note;
    saved_ = load_training_state(ctx_, model_.parameters(), *optimizer_, folder.path(), &note);
    try {
      at_ = nlohmann::json::parse(saved_).get<TrainPosition>();
    } catch (const nlohmann::json::exception& error) {
      fail(Exit::data, "{}: its position cannot be read: {}", folder.file("last.state").string(),
           error.what());
    }
    if (!note.empty()) fmt::print("{}\n", note);
  }
  log_ = std::make_unique<MetricsLog>(folder.file("metrics.jsonl"), at_.metrics_bytes);
}

void Trainer::save_start(const std::filesystem::path& file) {
  save_weights(ctx_, model_.parameters(), file, info_.to_metadata());
}

Tensor Trainer::loss_of(Context& ctx, const Tensor& logits, const Tensor& labels, int64_t images) {
  const StepState* state = optimizer_->device_state();
  return settings_.multi_label ? ops::sigmoid_cross_entropy(ctx, logits, labels, positive_weight_,
                                                            negative_weight_, state, images)
                               : ops::softmax_cross_entropy(ctx, logits, labels, state, images);
}

// The last batch of an epoch may be smaller (--last_batch keep), and its last part, too.
void Trainer::step_on_device(int64_t images) {
  const int64_t most = settings_.mini_batch_size / settings_.accumulate_steps;
  const int64_t parts = (images + most - 1) / most;
  // A copy, since a tensor is aligned.
  const auto part_of = [&](Context& ctx, const Tensor& batch, int64_t part) {
    if (parts == 1) return batch;
    Shape shape = batch.shape();
    shape.dims[0] = std::min(most, images - part * most);
    const Tensor t = ctx.tensor(shape, batch.dtype(), "part");
    const size_t at = size_t(part * most) * t.bytes() / size_t(shape[0]);
    if (!ctx.dry()) ctx.copy(t.data<void>(), batch.data<std::byte>() + at, t.bytes());
    return t;
  };
  train_step(ctx_, model_.parameters(), *optimizer_, learning_rate_at(schedule_, at_.steps), parts,
             [&](Context& ctx, int64_t part) {
               if (watch && !ctx.dry()) watch(*ctx.tape);
               const Tensor logits = model_.forward(ctx, part_of(ctx, input_.images(images), part));
               results_->add_logits(logits);
               const Tensor labels = part_of(ctx, input_.labels(images), part);
               const Tensor loss = loss_of(ctx, logits, labels, images);
               ctx.run(&Kernels::convert, {loss.view(), {results_->loss().view(), part > 0}});
               return loss;
             });
}

const MemoryPlan& Trainer::plan(int64_t images) {
  if (!plans_.contains(images)) {
    input_.reserve(images);
    plans_[images] = ctx_.record([&] { step_on_device(images); });
    if (plans_.size() > 1) fmt::print(stderr, "a batch of {} images is planned for, too\n", images);
  }
  return plans_[images];
}

// After a step with inf or nan in a gradient: nothing was changed. Too many in a row end the run.
// The gradients that stand are those of the last step, which may be the one after.
void Trainer::check_numbers(const StepState& state) {
  if (state.good || state.skipped_in_a_row < kMostSkips) return;
  const Parameter& bad = *model_.parameters().learning()[size_t(state.first_bad)];
  const std::vector<double> values = get_values(ctx_, bad.gradient);
  const auto broken = std::ranges::count_if(values, [](double v) { return !std::isfinite(v); });
  std::string images;
  for (const int64_t i : running_.back().samples)
    images += " " + data_.train.samples[size_t(i)].path;
  fail(Exit::numeric,
       "{} steps in a row had inf or nan in a gradient, the first in {} (in the last batch {} of "
       "{} values, the finite ones: {}; loss scale {:g}; its weights: {}); the last saved state is "
       "whole; lower --learning_rate{}; images of that batch:{}",
       state.skipped_in_a_row, bad.name, broken, values.size(), range_of(values),
       state.gradient_scale, range_of(get_values(ctx_, bad.value)),
       state.gradient_scale > 1 ? " or the loss scale" : "", images);
}

void Trainer::run(const std::function<int()>& stop) {
  const int64_t steps = sampler_.steps();
  const int64_t most = settings_.max_steps ? settings_.max_steps : steps * settings_.epochs;
  if (saved_.empty()) save(true);
  std::optional<Loader> loader;
  while (at_.epoch < settings_.epochs && at_.steps < most && !ends_early()) {
    if (!loader)
      loader.emplace(data_.train, sampler_, loader_, at_.epoch, at_.step, settings_.epochs);
    Progress progress(fmt::format("epoch {}", at_.epoch), steps, at_.step);
    const auto start = std::chrono::steady_clock::now();
    const double waited = loader->seconds_waited();
    time_ = {};
    while (at_.step < steps && at_.steps < most) {
      start_step(next_batch(*loader, progress));
      const int code = stop();
      const bool saves = settings_.save_every && at_.steps % settings_.save_every == 0;
      finish_steps(code || saves ? 0 : 1, progress);
      if (code) {
        log_bad_images("train", data_.train, loader->bad_images());
        save(true);
        stopped(code);
      }
      if (saves) save(false);
    }
    finish_steps(0, progress);
    log_bad_images("train", data_.train, loader->bad_images());
    time_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    time_.data = loader->seconds_waited() - waited;
    if (at_.step < steps) break;
    end_epoch(stop);
    ++at_.epoch;
    at_.step = at_.losses = 0;
    at_.loss_sum = 0;
    at_.answers = {};
    if (ends_early()) {
      log_->write({{"event", "early_stop"},
                   {"epoch", at_.epoch - 1},
                   {"epochs_without_improvement", at_.epochs_without_improvement},
                   {"best_epoch", at_.best_epoch}});
    }
    save(at_.epoch == settings_.epochs || ends_early());
  }
  if (ends_early()) {
    fmt::print(
        "early stopping after {} epochs: {} has not improved for {} epochs; the best was epoch "
        "{}\n",
        at_.epoch, settings_.select_by, at_.epochs_without_improvement, at_.best_epoch);
  }
  if (at_.step > 0) {  // max_steps ended it within an epoch: the state is that of the last step,
                       // the rest is on top
    save(true);
    end_epoch(stop);
  }
}

// Where there is none, the steps under way are logged before the run ends.
Batch Trainer::next_batch(Loader& loader, Progress& progress) {
  try {
    Batch batch = *loader.next();
    if (batch.samples.empty()) {
      fail(Exit::data,
           "epoch {}, step {}: no image of this batch can be read; see prepare_cxr verify",
           batch.epoch, batch.step);
    }
    return batch;
  } catch (const Error&) {
    finish_steps(0, progress);
    throw;
  }
}

// Asks the device for a step and waits for nothing.
void Trainer::ask_for(const Batch& batch) {
  const auto images = int64_t(batch.samples.size());
  input_.stage(batch.pixels, batch.items, batch.labels);
  ctx_.replay(plan(images), [&] { step_on_device(images); });
  results_->send();
}

StepResult Trainer::step(const Batch& batch) {
  ask_for(batch);
  return results_->receive();
}

void Trainer::start_step(const Batch& batch) {
  ask_for(batch);
  time_.images += int64_t(batch.samples.size());
  running_.push_back({batch.samples, batch.labels});
  ++at_.step;
  ++at_.steps;
}

// Reads what the steps before the last `running` have left.
void Trainer::finish_steps(size_t running, Progress& progress) {
  for (; running_.size() > running; running_.pop_front()) {
    const auto [loss, state, logits] = results_->receive();
    count_answers(logits, running_.front().labels);
    const int64_t step = at_.steps - int64_t(running_.size());
    if (std::isfinite(loss)) at_.loss_sum += loss, ++at_.losses;
    progress.step(int64_t(running_.front().samples.size()), fmt::format("loss {:.4f}", loss));
    log_->write({{"event", "step"},
                 {"epoch", at_.epoch},
                 {"step", step},
                 {"loss", number(loss)},
                 {"lr", learning_rate_at(schedule_, step)},
                 {"gradient_norm", state.good ? number(state.gradient_norm) : Json(nullptr)},
                 {"loss_scale", state.loss_scale},
                 {"skipped", state.skipped},
                 {"images_per_second", std::round(progress.images_per_second() * 10) / 10}});
    check_numbers(state);
  }
}

void Trainer::count_answers(const std::vector<double>& logits, const std::vector<float>& labels) {
  if (settings_.multi_label) return at_.answers.count_elements(logits, labels);
  const size_t classes = logits.size() / labels.size();
  for (size_t i = 0; i < labels.size(); ++i) {
    at_.answers.count_image(std::span(logits).subspan(i * classes, classes), int64_t(labels[i]),
                            settings_.top_k);
  }
}

Predictions Trainer::evaluate(const std::string& set, const Dataset& dataset,
                              const std::function<int()>& stop, bool save_if_stopped) {
  int code = 0;
  try {
    const Predictions p = evaluator_.run(
        set, dataset, evaluation_loader(info_, settings_.threads, loader_.on_bad_image),
        settings_.mini_batch_size, [&] { return (code = stop()) != 0; });
    log_bad_images(set, dataset, p.bad);
    return p;
  } catch (const Error& error) {
    if (error.exit() != Exit::interrupted) throw;
    if (save_if_stopped) save(true);
    stopped(code);
  }
}

void Trainer::end_epoch(const std::function<int()>& stop) {
  const bool whole = at_.step == sampler_.steps();
  const Predictions p = evaluate("validation", data_.validation, stop, whole);
  const AucTable table = auc_of(p, info_.findings.size());
  const double train_loss =
      at_.loss_sum / double(at_.losses);  // NaN where no step had a finite one
  std::string selected_by = settings_.select_by;
  std::optional<double> score = selected_by == "accuracy" ? p.accuracy : -p.loss;
  if (selected_by == "macro_auc") {
    score = table.macro_auc;
    if (!score) {
      fmt::print(
          "epoch {}: no finding has positives and negatives in the validation set, so there is no "
          "AUC; the "
          "validation loss decides which checkpoint is best\n",
          at_.epoch);
      score = -p.loss;
      selected_by = "loss";
    }
  }
  Json line = {{"event", "epoch"},
               {"epoch", at_.epoch},
               {"train_loss", number(train_loss)},
               {"train_accuracy", number(at_.answers.accuracy())},
               {"validation_loss", number(p.loss)},
               {"validation_auc", number(table.macro_auc)},
               {"validation_accuracy", number(p.accuracy)},
               {"time",
                {{"seconds", time_.seconds},
                 {"data", time_.data},
                 {"communication", 0},
                 {"images_per_second", number(double(time_.images) / time_.seconds)}}}};
  if (settings_.top_k > 0) {
    line["train_top_k_accuracy"] = number(at_.answers.top_k_accuracy());
    line["validation_top_k_accuracy"] = number(p.top_k_accuracy);
  }
  log_->write(line);
  const int every = settings_.checkpoint_frequency;
  if (every > 0 && (at_.epoch + 1) % every == 0)
    save_weights(ctx_, model_.parameters(), folder_->checkpoint(at_.epoch), info_.to_metadata());
  if (!std::isfinite(*score)) score = std::numeric_limits<double>::lowest();
  // What max_steps cut short counts only where nothing else does: the run may yet go on, as if
  // never cut.
  const bool better = !at_.has_best || (whole && *score > at_.best_score);
  const bool improved = !at_.has_best || early_stopping_.is_improvement(*score, at_.best_score);
  if (whole) at_.epochs_without_improvement = improved ? 0 : at_.epochs_without_improvement + 1;
  if (better) {
    save_weights(ctx_, model_.parameters(), folder_->best(), info_.to_metadata());
    at_.has_best = true;
    at_.best_score = *score;
    at_.best_epoch = at_.epoch;
  }
  fmt::print(
      "epoch {}: train loss {:.4f}, validation loss {:.4f}, macro AUC {}, accuracy {:.4f}{}\n",
      at_.epoch, train_loss, p.loss,
      table.macro_auc ? fmt::format("{:.4f}", *table.macro_auc) : "n/a", p.accuracy,
      better ? "  (best so far)" : "");
  if (on_epoch) {
    on_epoch({.epoch = at_.epoch,
              .seconds = time_.seconds,
              .train_accuracy = at_.answers.accuracy(),
              .train_top_k =
                  settings_.top_k > 0 ? at_.answers.top_k_accuracy() : std::optional<double>(),
              .validation_accuracy = p.accuracy,
              .macro_auc = table.macro_auc,
              .best = better,
              .best_epoch = at_.best_epoch,
              .selected_by = selected_by,
              .score = selected_by == "loss" ? p.loss : *score});
  }
  std::fflush(stdout);
}

// A full disk in the middle of a run is a warning, since the state before still stands; where
// `must`, an error.
void Trainer::save(bool must) {
  log_->sync();
  at_.metrics_bytes = log_->bytes();
  const std::string progress = nlohmann::json(at_).dump();
  if (progress == saved_) return;  // nothing has moved since
  try {
    save_training_state(ctx_, model_.parameters(), *optimizer_, progress, folder_->path());
    saved_ = progress;
  } catch (const Error& error) {
    if (must || saved_.empty()) throw;
    fmt::print(stderr, "warning: the state was not saved, the one before stands: {}\n",
               error.what());
  }
}

void Trainer::stopped(int code) const {
  fail(Exit(code), "stopped after step {}; everything is saved; go on with: train_cxr --resume {}",
       at_.steps - 1, folder_->path().string());
}

void Trainer::log_bad_images(const std::string& set, const Dataset& dataset,
                             const std::vector<BadImage>& bad) {
  if (bad.empty()) return;
  Json images = Json::array();
  for (const BadImage& b : bad)
    images.push_back({{"image", dataset.samples[size_t(b.sample)].path}, {"reason", b.reason}});
  log_->write({{"event", "bad_images"},
               {"set", set},
               {"epoch", at_.epoch},
               {"count", bad.size()},
               {"images", images}});
  fmt::print("{}: {} bad images so far ({}); they are listed in metrics.jsonl\n", set, bad.size(),
             settings_.on_bad_image);
}

void Trainer::test(const std::function<int()>& stop) {
  load_weights(ctx_, model_.parameters(), folder_->best());
  const Predictions p = evaluate("test", data_.test, stop, false);  // the weights are not the run's
  const AucTable table = auc_of(p, info_.findings.size());
  write_file_atomically(folder_->file("predictions.csv"), predictions_csv(p, data_.test));
  write_file_atomically(folder_->file("auc.json"),
                        auc_json("test", p.samples.size(), table, info_.findings));
  fmt::print("test set, checkpoint of epoch {}\n{}", at_.best_epoch,
             auc_text(table, info_.findings));
}

std::string Trainer::plan_text() {
  const size_t training = plan(settings_.mini_batch_size).peak,
               evaluation = evaluator_.planned_bytes(settings_.mini_batch_size);
  const auto mb = [](size_t bytes) { return double(bytes) * 1e-6; };
  return fmt::format(
      "steps: {} an epoch, {} in all, {} images left out an epoch, {} part(s) a step\n"
      "memory: {:.0f} MB stay (weights, gradients, moments, two batches of images), {:.0f} MB for "
      "a training step, {:.0f} MB for an evaluation step, pictures apart\n",
      sampler_.steps(), sampler_.steps() * settings_.epochs, sampler_.left_out(),
      settings_.accumulate_steps, mb(ctx_.persistent_bytes()), mb(training), mb(evaluation));
}

}  // namespace pneuma
