// A model as the published training job leaves it for MXNet:
//   image-classification-symbol.json, image-classification-NNNN.params, model-shapes.json
// Like the models of that job it takes raw pixels, 0..255, RGB.
#pragma once

#include "models/mxnet/archive.h"
#include "models/weight_files.h"

namespace pneuma {

// The three files of a model file of ours, in NNNN the number of its epoch; model-shapes.json names
// `batch` images. The mean and std by which we prepare images go into the statistics of bn_data, or
// of symbol.h's `normalize`. Gammas that MXNet wants and holds at 1 are written as ones. `backend`
// lends its name and runs nothing.
std::vector<ArchivedFile> mxnet_files(const Backend& backend, const std::filesystem::path& model,
                                      int epoch, int batch);

}  // namespace pneuma
