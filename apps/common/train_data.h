// The data sets of a run, from a folder in the NIH's layout or from lists.
#pragma once

#include "apps/common/train_settings.h"
#include "data/loader.h"
#include "data/split.h"
#include "models/weight_files.h"

namespace pneuma {

struct TrainData {
  Dataset train, validation, test;  // test may be empty (lists)
  std::string split_json;           // for split.json; "" with lists
  std::string split_method, split_hash;
};

// Reads labels or lists; every image is known to be there. Throws Exit::data.
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
