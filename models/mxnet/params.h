// MXNet's .params: a list of named arrays, as NDArray::Save writes it, little-endian.
//
//   u64 0x112 | u64 0 | u64 count | array * count | u64 count | (u64 length, name) * count
//   array of 1.x: u32 0xF993FAC9 | i32 storage, 0 dense | shape | context | i32 dtype | data
//     shape: i32 ndim, ndim * i64; ndim 0: the array is none and ends here
//     context: i32 1 (cpu), i32 0
//
// Read are also 0xF993FACA (np-shape: ndim 0 is a scalar, -1 none), 0xF993FAC8 (no storage type)
// and the form before it, whose first u32 is ndim itself, with dims of u32; the model zoo's ResNets
// have that one. Names of weights begin with "arg:", those of running statistics with "aux:", and
// in Gluon's files with neither. Data are row-major: convolutions [O,C,R,S], linear layers [O,I].
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"

namespace pneuma {

// How such a file begins.
bool is_params(std::span<const std::byte> bytes);

// The arrays, with views into `bytes`; those that are none are left out. The bytes are hostile:
// counts, dims, lengths and names are checked against what is there before anything is allocated
// for them. Damage, sparse and int8 arrays are an Error(Exit::data) that begins with `file`.
std::vector<FileTensor> read_params(std::span<const std::byte> bytes, const std::string& file);

// The whole file, of 1.x's form. REQUIRES distinct names and no scalars (that form has none).
std::string params_bytes(std::span<const FileTensor> tensors);

}  // namespace pneuma
