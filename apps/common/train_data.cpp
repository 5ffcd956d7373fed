#include "apps/common/train_data.h"

#include <algorithm>

#include "data/record/image_records.h"
#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

TrainData load_folder(const TrainSettings& s) {
  const LabelFile labels = find_labels(s.data);
  if (!labels.note.empty()) fmt::print("{}\n", labels.note);
  const std::vector<LabelRow> rows = read_labels(labels.path);
  const Split split = make_split(rows, split_method(s.split), s.seed, s.lists);
  return {.train = dataset_of_rows(s.data, rows, split.train()),
          .validation = dataset_of_rows(s.data, rows, split.validation()),
          .test = dataset_of_rows(s.data, rows, split.test()),
          .split_json = split_json(split, rows),
          .split_method = std::string(name_of(split.method)),
          .split_hash = split.hash};
}

// For split.json, so that a resumed run can tell whether its records are the same.
std::string records_json(const TrainData& data) {
  nlohmann::ordered_json json = {{"method", "records"}};
  const Dataset* sets[] = {&data.train, &data.validation, &data.test};
  for (size_t i = 0; i < 3; ++i)
    if (sets[i]->records)
      json["sets"][kSetNames[i]] = {{"records", sets[i]->samples.size()},
                                    {"bytes", sets[i]->records->file.size()},
                                    {"hash", hash_of_records(*sets[i])}};
  return json.contains("sets") ? json.dump(2) + "\n" : "";
}

TrainData load_lists(const TrainSettings& s) {
  TrainData data;
  data.train = dataset_of_files(s.train, s.train_lst, s.num_classes, s.multi_label);
  const int classes = data.train.num_classes;
  data.validation = dataset_of_files(s.validation, s.validation_lst, classes, s.multi_label);
  if (!s.test.empty()) data.test = dataset_of_files(s.test, s.test_lst, classes, s.multi_label);
  data.split_json = records_json(data);
  return data;
}

}  // namespace

Dataset dataset_of_files(const std::filesystem::path& path, const std::filesystem::path& list,
                         int num_classes, bool multi_label) {
  std::error_code error;
  const bool images = std::filesystem::is_directory(path, error) && !list.empty();
  const auto records = images ? std::nullopt : find_records(path);
  if (!images && !records)
    fail(Exit::usage, "{}: holds no .rec file; give the .lst of its images", path.string());
  return records ? dataset_of_records(*records, list, num_classes, multi_label)
                 : dataset_of_list(path, list, num_classes, multi_label);
}

TrainData load_train_data(const TrainSettings& s) {
  TrainData data = s.data.empty() ? load_lists(s) : load_folder(s);
  if (s.num_classes && s.num_classes != data.train.num_classes) {
    fail(Exit::usage, "--num_classes {} does not go with the data, which has {} labels an image",
         s.num_classes, data.train.num_classes);
  }
  const auto images = int64_t(data.train.samples.size());
  if (s.num_training_samples && s.num_training_samples != images) {
    fmt::print("warning: num_training_samples is {}, and there are {} training images; all count\n",
               s.num_training_samples, images);
  }
  return data;
}

ModelInfo model_info_of(const TrainSettings& s, const TrainData& data) {
  const ImageShape shape = parse_image_shape(s.image_shape);
  ModelInfo info;
  info.network = {.num_layers = s.num_layers,
                  .num_classes = data.train.num_classes,
                  .channels = shape.channels,
                  .base_width = s.base_width,
                  .arch = arch_named(s.arch)};
  info.image_shape = {shape.channels, shape.height, shape.width};
  info.findings = data.train.findings;
  info.multi_label = s.multi_label;
  std::ranges::copy(parse_numbers("--mean", s.mean, 3), info.mean.begin());
  std::ranges::copy(parse_numbers("--std", s.std, 3), info.std.begin());
  info.resize = parse_number<int>(s.resize).value_or(0);
  info.resize_filter = s.resize_filter;
  info.split_method = data.split_method;
  info.split_hash = data.split_hash;
  info.split_seed = s.seed;
  return info;
}

OnBadImage on_bad_image_named(const std::string& name) {
  return name == "skip"      ? OnBadImage::skip
         : name == "replace" ? OnBadImage::replace
                             : OnBadImage::fail;
}

AugmentationSettings augmentation_of(const TrainSettings& s) {
  return {augmentation_type(s.augmentation_type), s.mirror, s.gray_jitter, s.border};
}

LoaderSettings evaluation_loader(const ModelInfo& info, int threads, OnBadImage on_bad_image) {
  return {.height = info.image_shape[1],
          .width = info.image_shape[2],
          .resize = info.resize,
          .filter = info.resize_filter == "linear" ? ResizeFilter::linear : ResizeFilter::antialias,
          .threads = threads,
          .on_bad_image = on_bad_image == OnBadImage::fail ? OnBadImage::fail : OnBadImage::skip};
}

}  // namespace pneuma
