#include "apps/common/evaluate.h"

#include <algorithm>
#include <cmath>

#include "apps/common/progress.h"
#include "engine/host_values.h"
#include "engine/metrics/accuracy.h"
#include "kernels/pointwise.h"

namespace pneuma {
namespace {

// One image's logits -> its probabilities, its loss.
double judge_multi_label(const double* logits, const float* labels, const LossWeights& weights,
                         int classes, float* p) {
  const auto weight = [](const std::vector<float>& of, int c) {
    return of.empty() ? 1.0 : double(of[size_t(c)]);
  };
  double loss = 0, gradient;
  for (int c = 0; c < classes; ++c) {
    p[c] = float(pointwise::Sigmoid::forward(logits[c], 0.0, 0.0));
    loss +=
        pointwise::sigmoid_cross_entropy(logits[c], double(labels[c]), weight(weights.positive, c),
                                         weight(weights.negative, c), &gradient);
  }
  return loss / classes;
}

double judge_single_label(const double* logits, int64_t label, int classes, float* p) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0;
  for (int c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
  for (int c = 0; c < classes; ++c) p[c] = float(std::exp(logits[c] - largest) / sum);
  return std::log(sum) + largest - logits[label];
}

}  // namespace

Evaluator::Evaluator(Context& ctx, const ResNet& model, ImageInput& input, bool multi_label,
                     LossWeights weights, int top_k)
    : ctx_(ctx),
      model_(model),
      input_(input),
      multi_label_(multi_label),
      weights_(std::move(weights)),
      top_k_(top_k) {}

void Evaluator::forward(int64_t images) {
  const Tensor logits = model_.forward(ctx_, input_.images(images));
  ctx_.run(&Kernels::convert, {logits.view(), {logits_.rows(images).view()}});
}

const MemoryPlan& Evaluator::plan(int64_t images) {
  const auto found = plans_.find(images);
  if (found != plans_.end()) return found->second;
  input_.reserve(images);
  return plans_[images] = ctx_.record([&] { forward(images); });
}

size_t Evaluator::planned_bytes(int batch_size) {
  if (!logits_)
    logits_ = ctx_.persistent({batch_size, model_.settings().num_classes}, ctx_.precision().master);
  return plan(batch_size).peak;
}

Predictions Evaluator::run(const std::string& what, const Dataset& dataset,
                           const LoaderSettings& settings, int batch_size,
                           const std::function<bool()>& stop) {
  const int classes = model_.settings().num_classes;
  if (!logits_ || logits_.dim(0) < batch_size) {
    logits_ = ctx_.persistent({batch_size, classes}, ctx_.precision().master);
  }
  Predictions result;
  std::map<std::string, int64_t> patients;
  RightAnswers answers;  // of single labels
  const Sampler sampler(int64_t(dataset.samples.size()), batch_size, 0, false, LastBatch::keep);
  Loader loader(dataset, sampler, settings, 0, 0, 1);
  Progress progress(what, sampler.steps());
  const auto next = [&] {
    std::optional<Batch> batch = loader.next();
    while (batch && batch->samples.empty()) batch = loader.next();  // all were bad
    if (batch) input_.stage(batch->pixels, batch->items, {});
    return batch;
  };
  for (std::optional<Batch> batch = next(), following; batch; batch = std::move(following)) {
    if (stop && stop()) fail(Exit::interrupted, "{} was stopped", what);
    const auto images = int64_t(batch->samples.size());
    ctx_.replay(plan(images), [&] { forward(images); });
    following = next();
    const std::vector<double> logits = get_values(ctx_, logits_);
    for (size_t i = 0; i < batch->samples.size(); ++i) {
      const Sample& sample = dataset.samples[size_t(batch->samples[i])];
      const double* z = &logits[i * size_t(classes)];
      std::vector<float> labels = sample.labels, p(static_cast<size_t>(classes));
      if (multi_label_) {
        result.loss += judge_multi_label(z, labels.data(), weights_, classes, p.data());
      } else {
        const auto label = int64_t(sample.labels[0]);
        result.loss += judge_single_label(z, label, classes, p.data());
        answers.count_image({z, size_t(classes)}, label, top_k_);
        labels.assign(size_t(classes), 0);
        labels[size_t(label)] = 1;
      }
      result.samples.push_back(batch->samples[i]);
      result.probabilities.insert(result.probabilities.end(), p.begin(), p.end());
      result.labels.insert(result.labels.end(), labels.begin(), labels.end());
      result.patients.push_back(
          patients.emplace(sample.patient, int64_t(patients.size())).first->second);
    }
    progress.step(images, "");
  }
  if (result.samples.empty())
    fail(Exit::data, "{}: no image can be read; see prepare_cxr verify", what);
  const auto images = double(result.samples.size());
  result.loss /= images;
  result.accuracy = multi_label_ ? accuracy(result.probabilities, result.labels).value_or(0)
                                 : answers.accuracy().value_or(0);
  if (top_k_ > 0) result.top_k_accuracy = answers.top_k_accuracy();
  result.bad = loader.bad_images();
  return result;
}

std::string predictions_csv(const Predictions& p, const Dataset& dataset) {
  const auto quoted = [](const std::string& text) {
    if (text.find_first_of(",\"\n") == std::string::npos) return text;
    std::string q = "\"";
    for (const char c : text) q += c == '"' ? std::string("\"\"") : std::string(1, c);
    return q + "\"";
  };
  std::string csv = "image,patient";
  for (const std::string& f : dataset.findings) csv += ",p_" + f;
  for (const std::string& f : dataset.findings) csv += ",y_" + f;
  csv += "\n";
  const size_t classes = dataset.findings.size();
  for (size_t i = 0; i < p.samples.size(); ++i) {
    const Sample& sample = dataset.samples[size_t(p.samples[i])];
    csv += quoted(sample.path) + "," + quoted(sample.patient);
    for (size_t c = 0; c < classes; ++c)
      csv += fmt::format(",{:.9g}", p.probabilities[i * classes + c]);
    for (size_t c = 0; c < classes; ++c) {
      const float y = p.labels[i * classes + c];
      csv += std::isnan(y) ? "," : fmt::format(",{:g}", y);
    }
    csv += "\n";
  }
  return csv;
}

}  // namespace pneuma
