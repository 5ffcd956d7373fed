// MXNet's .params, by itself and as whoever gives weights gives it (also within a .tar.gz).
#include "models/mxnet/params.h"

#include <algorithm>

#include "engine/io/atomic_file.h"
#include "models/weight_source.h"
#include "tests/fuzz/reader.h"

namespace pneuma::fuzz {
namespace {

void read(const std::filesystem::path& path) {
  const WeightFile file(path);  // throws where the file is bad
  last_layer_of(file);
  if (!file.of_raw_pixels()) return;
  const auto same = [](const FileTensor& a, const FileTensor& b) {
    return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape &&
           std::ranges::equal(a.bytes, b.bytes);
  };
  std::vector<FileTensor> tensors = file.tensors();
  std::erase_if(tensors, [](const FileTensor& t) { return t.shape.empty(); });
  const std::string bytes = params_bytes(tensors);
  require(
      std::ranges::equal(read_params(std::as_bytes(std::span(bytes)), "the same"), tensors, same),
      "a file that is written is the file that was read");
}

}  // namespace

// An array without data takes 30 bytes and, with its dims and its name, 300 while it is read.
const Reader params{"params", 48, read};

}  // namespace pneuma::fuzz
