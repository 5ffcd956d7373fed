// A training run: epochs of steps, a validation after each, checkpoints, and a state from which it
// goes on bit for bit. Everything random is a function of (seed, epoch, sample), so a position is
// (epoch, step).
#pragma once

#include "apps/common/early_stopping.h"
#include "apps/common/evaluate.h"
#include "apps/common/progress.h"
#include "apps/common/run_folder.h"
#include "apps/common/train_data.h"
#include "engine/metrics/accuracy.h"
#include "engine/optim/step_results.h"

namespace pneuma {

// Where a run stands: all of it that is not a tensor. Travels in last.state.
struct TrainPosition {
  int64_t epoch = 0, step = 0;  // of the next step; step counts within the epoch
  int64_t steps = 0;            // taken in all
  double loss_sum = 0;          // of this epoch's steps
  int64_t losses = 0;
  RightAnswers answers;  // to this epoch's images, each as its step saw it
  int64_t epochs_without_improvement = 0;
  bool has_best = false;
  double best_score = 0;  // larger is better
  int64_t best_epoch = -1;
  int64_t metrics_bytes = 0;  // of metrics.jsonl
};

// How long an epoch's steps took, of those that this process took, and how much of that it stood
// still for pictures.
struct EpochTime {
  double seconds = 0, data = 0;
  int64_t images = 0;
};

// What an epoch came to.
struct EpochResult {
  int64_t epoch = 0;
  double seconds = 0;  // of its steps, of those that this process took
  std::optional<double> train_accuracy, train_top_k;
  double validation_accuracy = 0;
  std::optional<double> macro_auc;
  bool best = false;
  int64_t best_epoch = 0;
  std::string selected_by;  // accuracy, macro_auc or loss
  double score = 0;         // its value
};

class Trainer {
 public:
  // The network at its start: drawn from the seed, or from --init. A dry one plans and does nothing
  // else.
  Trainer(const TrainSettings&, const TrainData&, const Backend&, bool dry = false);

  void save_start(const std::filesystem::path& file);  // the weights as they stand

  // Ties the run to its folder; with `resume` the run stands where the folder's last state does.
  void open(const RunFolder&, bool resume);

  // REQUIRES open(). Trains to the end. `stop`, asked after each step and in validation, returns 0
  // or the exit code to leave with: then everything is saved and Error(that code) thrown.
  void run(const std::function<int()>& stop);

  // Loads the best checkpoint, writes predictions.csv and auc.json of the test set, and prints the
  // AUCs.
  void test(const std::function<int()>& stop);

  const TrainPosition& position() const { return at_; }

  // Steps and memory of a run, in words.
  std::string plan_text();

  // For those who look into steps: one at a time, outside of any run. `watch` is given the tape of
  // each before anything is on it.
  StepResult step(const Batch&);
  Loader batches() const { return {data_.train, sampler_, loader_, 0, 0, INT64_MAX}; }
  const MemoryPlan& plan(int64_t images);
  Context& context() { return ctx_; }
  const Parameters& parameters() const { return model_.parameters(); }
  const Optimizer& optimizer() const { return *optimizer_; }
  std::function<void(Tape&)> watch;
  std::function<void(const EpochResult&)> on_epoch;  // after its checkpoints are written

 private:
  Trainer(const TrainSettings&, const TrainData&, const Backend&, const RunFolder* folder,
          bool resume, bool dry);

  void step_on_device(int64_t images);
  Tensor loss_of(Context&, const Tensor& logits, const Tensor& labels, int64_t images);
  Batch next_batch(Loader&, Progress&);
  void ask_for(const Batch&);
  void start_step(const Batch&);
  void finish_steps(size_t running, Progress&);
  void check_numbers(const StepState&);
  void count_answers(const std::vector<double>& logits, const std::vector<float>& labels);
  Predictions evaluate(const std::string& set, const Dataset&, const std::function<int()>& stop,
                       bool save_if_stopped);
  void end_epoch(const std::function<int()>& stop);
  bool ends_early() const {
    return at_.epoch < settings_.epochs &&
           early_stopping_.ends(at_.epoch, at_.epochs_without_improvement);
  }
  void save(bool must);
  void log_bad_images(const std::string& set, const Dataset&, const std::vector<BadImage>&);
  [[noreturn]] void stopped(int code) const;

  const TrainSettings settings_;
  const TrainData& data_;
  const ModelInfo info_;
  const LossWeights weights_;
  const EarlyStopping early_stopping_;
  Context ctx_;
  ResNet model_;
  std::unique_ptr<Optimizer> optimizer_;
  ImageInput input_;
  Evaluator evaluator_;
  Sampler sampler_;
  const Schedule schedule_;
  LoaderSettings loader_;
  std::optional<RunFolder> folder_;
  std::unique_ptr<MetricsLog> log_;
  Tensor positive_weight_, negative_weight_;
  std::map<int64_t, MemoryPlan> plans_;
  TrainPosition at_;
  struct Running {
    std::vector<int64_t> samples;
    std::vector<float> labels;
  };
  std::deque<Running> running_;  // the steps whose results were not read
  std::string saved_;            // the position in the last saved state, as text
  std::unique_ptr<StepResults> results_;
  EpochTime time_;
};

}  // namespace pneuma
