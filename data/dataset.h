// What is trained or evaluated on: images, labels and patients, every image known to be there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/nih_labels.h"

namespace pneuma {

struct ImageRecords;  // data/record/image_records.h

struct Sample {
  std::string path;           // below the root; of a record what it is called
  std::vector<float> labels;  // [num_classes] of 0 or 1, or one class id where multi_label is off
  std::string patient;        // clusters images: never shared by strangers, never on two sides
};

struct Dataset {
  std::filesystem::path root;
  std::vector<Sample> samples;
  int num_classes = 0;
  std::vector<std::string> findings;            // [num_classes] names
  std::shared_ptr<const ImageRecords> records;  // where the images are; null: in files of their own
};

// Reads and decodes sample i. Throws Exit::data.
Image read_image(const Dataset& dataset, size_t i);

// The chosen rows (indices) of a folder in the NIH's layout: images/, or images_001/images and so
// on, as its tar files unpack. Throws Exit::data with count and first names where images are
// missing.
Dataset dataset_of_rows(const std::filesystem::path& root, const std::vector<LabelRow>& rows,
                        const std::vector<size_t>& chosen);

// The images of a .lst below `root`. With multi_label each line has num_classes labels of 0 or 1
// (0: as many as the first line), else one class id below num_classes. The patient is the prefix of
// an NIH file name, else the image stands alone. Throws Exit::data as above and as read_list does.
Dataset dataset_of_list(const std::filesystem::path& root, const std::filesystem::path& list,
                        int num_classes, bool multi_label = true);

// Throws Exit::data, naming `where`, unless each label is 0 or 1 or, where multi_label is off, a
// class, and they are no more than a network can have.
void check_labels(const std::vector<float>& labels, int num_classes, bool multi_label,
                  const std::string& where);

// Sets num_classes and the names: the NIH's findings where there are 14, else class_0 and so on.
void name_classes(Dataset& dataset, int num_classes);

std::vector<int64_t> positives(const Dataset& dataset);  // N_l of each class

// The recipe's weights N / N_l of each class; 1 where N_l is 0, so that nothing becomes infinite.
std::vector<float> class_weights(const Dataset& dataset);

}  // namespace pneuma
