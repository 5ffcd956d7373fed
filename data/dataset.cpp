#include "data/dataset.h"

#include <algorithm>
#include <unordered_map>

#include "data/lst.h"
#include "data/record/image_records.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxClasses = 10'000;  // as models/ has it

// Image name -> path below root, for every file of the NIH's image folders.
std::unordered_map<std::string, std::string> find_images(const fs::path& root) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "images") folders.push_back(name);
    if (name.starts_with("images_")) folders.push_back(name + "/images");
  }
  if (error) fail(Exit::data, "{}: cannot be read as a folder; check --data", root.string());
  std::sort(folders.begin(), folders.end());
  std::unordered_map<std::string, std::string> images;
  for (const std::string& folder : folders)
    for (const fs::directory_entry& entry : fs::directory_iterator(root / folder, error)) {
      const std::string name = entry.path().filename().string();
      images.emplace(name, folder + "/" + name);
    }
  return images;
}

class Missing {  // counts images that are not there and keeps the first names
 public:
  void add(const std::string& name) {
    if (count_++ < 3) names_ += (names_.empty() ? "" : ", ") + printable(name);
  }
  void check(const fs::path& root, size_t total) const {
    if (count_)
      fail(Exit::data,
           "{}: {} of {} images are missing ({}{}); complete the folder or leave them out of the "
           "labels",
           root.string(), count_, total, names_, count_ > 3 ? ", ..." : "");
  }

 private:
  size_t count_ = 0;
  std::string names_;
};

}  // namespace

Image read_image(const Dataset& dataset, size_t i) {
  const std::string& path = dataset.samples[i].path;
  return dataset.records ? dataset.records->image(i, (dataset.root / path).string())
                         : read_image(dataset.root, path);
}

void check_labels(const std::vector<float>& labels, int num_classes, bool multi_label,
                  const std::string& where) {
  if (labels.size() > kMaxClasses)
    fail(Exit::data, "{}: {} labels; a network has at most {} outputs", where, labels.size(),
         kMaxClasses);
  for (const float label : labels) {
    const bool good = multi_label
                          ? label == 0 || label == 1
                          : label >= 0 && label < float(num_classes) && label == float(int(label));
    if (!good)
      fail(Exit::data, "{}: label {} is not {}; correct it{}", where, label,
           multi_label ? std::string("0 or 1")
                       : fmt::format("a class from 0 to {}", num_classes - 1),
           multi_label && labels.size() == 1 ? ", or give --multi_label 0 and --num_classes" : "");
  }
}

void name_classes(Dataset& dataset, int num_classes) {
  dataset.num_classes = num_classes;
  if (num_classes == int(kFindingCount))
    dataset.findings.assign(kFindings.begin(), kFindings.end());
  else
    for (int i = 0; i < num_classes; ++i) dataset.findings.push_back(fmt::format("class_{}", i));
}

Dataset dataset_of_rows(const fs::path& root, const std::vector<LabelRow>& rows,
                        const std::vector<size_t>& chosen) {
  Dataset dataset{.root = root,
                  .num_classes = int(kFindingCount),
                  .findings = {kFindings.begin(), kFindings.end()}};
  const auto images = find_images(root);
  Missing missing;
  for (const size_t index : chosen) {
    const LabelRow& row = rows.at(index);
    const auto image = images.find(row.image);
    if (image == images.end()) {
      missing.add(row.image);
      continue;
    }
    Sample sample{.path = image->second, .patient = patient_name(row)};
    for (size_t i = 0; i < kFindingCount; ++i) sample.labels.push_back(row.labels[i]);
    dataset.samples.push_back(std::move(sample));
  }
  missing.check(root, chosen.size());
  return dataset;
}

Dataset dataset_of_list(const fs::path& root, const fs::path& list, int num_classes,
                        bool multi_label) {
  std::vector<ListEntry> entries = read_list(list, multi_label ? size_t(num_classes) : 1);
  if (multi_label) num_classes = int(entries[0].labels.size());
  Dataset dataset{.root = root};
  name_classes(dataset, num_classes);
  Missing missing;
  std::error_code error;
  for (ListEntry& entry : entries) {
    check_labels(entry.labels, num_classes, multi_label,
                 fmt::format("{}: image {} ({})", list.string(), dataset.samples.size() + 1,
                             printable(entry.path)));
    if (!fs::is_regular_file(root / entry.path, error)) missing.add(entry.path);
    const std::optional<int64_t> patient = patient_of_name(entry.path);
    dataset.samples.push_back({.path = entry.path,
                               .labels = std::move(entry.labels),
                               .patient = patient ? std::to_string(*patient) : entry.path});
  }
  missing.check(root, dataset.samples.size());
  return dataset;
}

std::vector<int64_t> positives(const Dataset& dataset) {
  std::vector<int64_t> counts(size_t(dataset.num_classes), 0);
  for (const Sample& sample : dataset.samples) {
    if (sample.labels.size() == 1 && dataset.num_classes > 1) {
      ++counts.at(size_t(sample.labels[0]));
      continue;
    }
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += sample.labels.at(i) > 0.5f;
  }
  return counts;
}

std::vector<float> class_weights(const Dataset& dataset) {
  std::vector<float> weights;
  for (const int64_t count : positives(dataset))
    weights.push_back(count ? float(double(dataset.samples.size()) / double(count)) : 1.0f);
  return weights;
}

}  // namespace pneuma
