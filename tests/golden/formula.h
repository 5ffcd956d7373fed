// The C++ half of formula.py: numbers that both languages compute, and the sketches that a golden
// file keeps in place of whole tensors. Indices are row-major in PyTorch's layout (images NCHW,
// convolutions OIHW); tensors here are NHWC and OHWI.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/host_values.h"
#include "engine/nn/parameters.h"

namespace pneuma::golden {

using Json = nlohmann::json;

inline Json read(const std::string& name) {
  std::ifstream file(std::string(PNEUMA_SOURCE_DIR "/tests/golden/") + name);
  const Json json = Json::parse(file);
  REQUIRE(json.at("magic") == "pneuma golden");
  REQUIRE(json.at("version") == 1);
  return json;
}

inline uint64_t fnv1a(const std::string& text) {
  uint64_t h = 0xCBF29CE484222325u;
  for (const char c : text) h = (h ^ uint8_t(c)) * 0x100000001B3u;
  return h;
}

// Element `i` of the splitmix64 stream of a name.
inline uint64_t bits(uint64_t name_hash, uint64_t i) {
  uint64_t z = name_hash + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
inline double uniform(uint64_t name_hash, uint64_t i) {
  return double(bits(name_hash, i) >> 40) * 0x1p-23 - 1.0;
}

// Values between memory's order (last dimension is the channel) and the file's (second is).
// f(place in memory, place in the file).
template <class F>
void for_each_place(const Shape& s, F f) {
  const int64_t middle = s.rank == 4 ? s[1] * s[2] : 1, last = s.rank == 4 ? s[3] : 1;
  for (int64_t i = 0; i < s.count(); ++i)
    f(size_t(i), size_t((i / last / middle * last + i % last) * middle + i / last % middle));
}
inline std::vector<double> in_file_order(const Shape& s, const std::vector<double>& memory) {
  std::vector<double> v(memory.size());
  for_each_place(s, [&](size_t m, size_t f) { v[f] = memory[m]; });
  return v;
}

// A tensor of uniform numbers, in its place of the formula.
inline Tensor uniform_tensor(Context& ctx, const std::string& name, Shape shape) {
  Tensor t = ctx.persistent(shape, ctx.precision().master);
  std::vector<double> v(size_t(shape.count()));
  for_each_place(shape, [&](size_t m, size_t f) { v[m] = uniform(fnv1a(name), f); });
  set_values(ctx, t, v);
  return t;
}

// The start of a parameter or buffer (formula.py: value_of).
inline void fill(Context& ctx, const std::string& name, const Tensor& t, bool apart) {
  const Shape& s = t.shape();
  const uint64_t hash = fnv1a(name);
  const bool little = name.ends_with("bn3.weight") || (name.ends_with("bn3_gamma") && !apart);
  std::vector<double> v(size_t(s.count()));
  for_each_place(s, [&](size_t m, size_t f) {
    const double u = uniform(hash, f);
    double x = u / 8;
    if (s.rank == 4)
      x = u * std::sqrt(6.0 / double(s[0] * s[1] * s[2]));
    else if (s.rank == 2)
      x = u / std::sqrt(double(s[1]));
    else if (name.ends_with("_var"))
      x = 1 + u / 2;
    else if (name.ends_with("weight") || name.ends_with("gamma"))
      x = (1 + u / 4) * (little ? 0.25 : 1) * (apart ? 0.5 : 1);
    else if (apart && (name.ends_with("bias") || name.ends_with("beta")) && !name.starts_with("fc"))
      x = u / 2 + (u < 0 ? -1 : 1);
    v[m] = double(float(x));
  });
  set_values(ctx, t, v);
}
inline void fill(Context& ctx, const Parameters& parameters, bool apart = false) {
  for (const Parameter& p : parameters.parameters) fill(ctx, p.name, p.value, apart);
  for (const Buffer& b : parameters.buffers) fill(ctx, b.name, b.value, apart);
}

inline double norm(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}
// ||a - truth|| / ||truth||
inline double distance(std::vector<double> a, const std::vector<double>& truth) {
  REQUIRE(a.size() == truth.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] -= truth[i];
  return norm(a) / norm(truth);
}

// How far a tensor is from its sketch, relative to its norm: the largest of the norm's, the sum's,
// the projections' and (against the root mean square) the entries' distance.
inline double distance_from_sketch(const std::string& name, const Shape& shape,
                                   const std::vector<double>& memory, const Json& sketch) {
  const std::vector<double> v = in_file_order(shape, memory);
  const double truth = sketch.at("norm"), root = std::sqrt(double(v.size()));
  double sum = 0, projection[2] = {};
  for (size_t i = 0; i < v.size(); ++i) sum += v[i];
  double worst = std::fabs(norm(v) - truth) / truth;
  worst = std::max(worst, std::fabs(sum - sketch.at("sum").get<double>()) / (root * truth));
  for (size_t k = 0; k < 2; ++k) {
    const uint64_t hash = fnv1a(name + ".projection" + std::to_string(k));
    for (size_t i = 0; i < v.size(); ++i) projection[k] += v[i] * uniform(hash, i);
    const double expected = sketch.at("projections")[k];
    worst = std::max(worst, std::fabs(projection[k] - expected) / truth);
  }
  for (size_t k = 0; const Json& entry : sketch.at("entries")) {
    const double found = v[bits(fnv1a(name + ".entries"), k++) % v.size()];
    worst = std::max(worst, std::fabs(found - entry.get<double>()) * root / truth);
  }
  return worst;
}

}  // namespace pneuma::golden
