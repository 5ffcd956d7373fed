// Safetensors: tensors, and what a model file says of itself.
#include "engine/io/safetensors.h"

#include "models/weight_files.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

void read(const std::filesystem::path& path) {
  const SafetensorsFile file(path);  // throws where the file is bad
  size_t bytes = 0;
  for (const FileTensor& tensor : file.tensors()) {
    require(file.find(tensor.name) == &tensor, "a tensor is found by its name");
    for (const std::byte byte : tensor.bytes) bytes += byte != std::byte{0};
  }
  require(bytes <= std::filesystem::file_size(path), "tensors are within the file");
  read_model_info(path);
}

}  // namespace

// An entry takes 50 bytes and, with its names, 400 while it is read.
const Reader safetensors{"safetensors", 48, read};

}  // namespace pneuma::fuzz
