// A network's answers for a data set, and what follows from them.
#pragma once

#include <functional>
#include <map>

#include "data/loader.h"
#include "engine/image_input.h"
#include "engine/metrics/auc_report.h"
#include "models/weight_files.h"

namespace pneuma {

struct Predictions {
  std::vector<int64_t> samples;      // indices of the dataset, ascending; bad images are left out
  std::vector<float> probabilities;  // [samples, classes]
  std::vector<float> labels;         // [samples, classes] of 0, 1 or NaN
  std::vector<int64_t> patients;     // [samples], numbered by name
  double loss = 0;                   // mean over samples and classes (single-label: over samples)
  double accuracy = 0;               // element-wise at 0.5 (single-label: of the largest)
  std::optional<double> top_k_accuracy;  // single-label, where it was asked for
  std::vector<BadImage> bad;
};

// Factors of the weighted sigmoid cross-entropy's two terms, [classes] each; empty: 1.
struct LossWeights {
  std::vector<float> positive, negative;
};

// Runs a network over data sets, always the centre crop, with a memory plan for each batch size.
class Evaluator {
 public:
  // The three outlive it. top_k: 0 for none.
  Evaluator(Context&, const ResNet&, ImageInput&, bool multi_label, LossWeights = {},
            int top_k = 0);

  // `stop`, asked before each batch, ends it early with Error(Exit::interrupted).
  Predictions run(const std::string& what, const Dataset&, const LoaderSettings&, int batch_size,
                  const std::function<bool()>& stop = {});
  // Bytes of a step at this batch size, from shapes alone.
  size_t planned_bytes(int batch_size);

 private:
  const MemoryPlan& plan(int64_t images);
  void forward(int64_t images);

  Context& ctx_;
  const ResNet& model_;
  ImageInput& input_;
  bool multi_label_;
  LossWeights weights_;
  int top_k_;
  Tensor logits_;  // [largest batch, classes], persistent
  std::map<int64_t, MemoryPlan> plans_;
};

inline AucTable auc_of(const Predictions& p, size_t classes) {
  return auc_table(p.probabilities, p.labels, p.patients, classes);
}

// The text of predictions.csv (design: files of a run).
std::string predictions_csv(const Predictions&, const Dataset&);

}  // namespace pneuma
