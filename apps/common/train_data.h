// The data sets of a run, from a folder in the NIH's layout, from lists or from records.
#pragma once

#include "apps/common/train_settings.h"
#include "data/loader.h"
#include "data/split.h"
#include "models/weight_files.h"

namespace pneuma {

struct TrainData {
  Dataset train, validation, test;  // test may be empty (lists, records)
  std::string split_json;           // for split.json; of records sizes and hashes; "" with lists
  std::string split_method, split_hash;
};

// The listed images of a folder, or records: a .rec, or a folder that holds exactly one; their list
// may be empty. Throws Exit::usage where a folder has neither, else as the two do.
Dataset dataset_of_files(const std::filesystem::path& path, const std::filesystem::path& list,
                         int num_classes, bool multi_label);

// Reads labels, lists or records; every image is known to be there. Throws Exit::data.
TrainData load_train_data(const TrainSettings&);

// The model's own account of itself, as a file carries it.
ModelInfo model_info_of(const TrainSettings&, const TrainData&);

// fail | skip | replace
OnBadImage on_bad_image_named(const std::string&);

// Of the training pictures.
AugmentationSettings augmentation_of(const TrainSettings&);

// How pictures are read to evaluate a model: centre crop, no mirror. No answer can be given for
// another picture, so `replace` means skip here.
LoaderSettings evaluation_loader(const ModelInfo&, int threads, OnBadImage);

}  // namespace pneuma
