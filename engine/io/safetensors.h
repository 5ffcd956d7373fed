// Tensors in a file: the safetensors format (https://github.com/huggingface/safetensors). Weights
// of other software come in through it, our own weights and training states go out.
//
//   u64 little-endian N | header: N bytes of JSON, padded with spaces | data
//   header: {"__metadata__": {string: string...}, NAME: {"dtype", "shape", "data_offsets": [b,
//   e]}...}
//
// A file is hostile until proven otherwise: sizes, names, dtypes, shapes and offsets (in sequence,
// no hole, no overlap, to the last byte) are checked before memory is taken for the data.
//
// Our own files prove every bit. Metadata `pneuma.tensor_checksums` holds the XXH3-64 of each
// tensor's bytes, in the order of the data; `pneuma.checksum` the XXH3-128 of N and the header with
// this value blank (32 zeros). Either one without the other is damage; a file without both comes
// from other software and is taken as it is. Reading removes both from the metadata.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/view.h"

namespace pneuma {

using Metadata = std::map<std::string, std::string>;

struct FileTensor {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;        // empty: a scalar
  std::span<const std::byte> bytes;  // row-major; any alignment, so copy instead of casting
};

class SafetensorsFile {
 public:
  // Errors: Error(Exit::data) with the file, the tensor, what was expected and found, a remedy.
  explicit SafetensorsFile(const std::filesystem::path& path);
  // Of a file that is in memory already; `name` is for messages.
  SafetensorsFile(std::string_view bytes, const std::string& name);

  const Metadata& metadata() const { return metadata_; }
  const std::vector<FileTensor>& tensors() const { return tensors_; }  // in the order of the data
  const FileTensor* find(std::string_view name) const;                 // null: not in the file

 private:
  // `read` fills what it is given with the next bytes of `size`.
  void load(const std::string& name, uint64_t size,
            const std::function<void(std::span<std::byte>)>& read);

  Metadata metadata_;
  std::vector<FileTensor> tensors_;
  std::unique_ptr<std::byte[]> data_;
};

// Writes the file atomically (engine/io/atomic_file.h); same tensors and metadata, same bytes.
// Wider dtypes come first, so that every tensor is aligned to its element; within one width the
// given order stays. REQUIRES distinct names in UTF-8, bytes
// that fit dtype and shape, and no metadata of the two names above.
void write_safetensors(const std::filesystem::path& path, std::vector<FileTensor> tensors,
                       const Metadata& metadata);

}  // namespace pneuma
