#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "models/weight_files.h"

namespace pneuma {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxText = 1 << 20;  // bytes of one of the three
constexpr int kMaxSide = 16384;

// One of the three JSON objects; every complaint names the file and the key.
class Section {
 public:
  Section(const Metadata& metadata, const std::string& file, const char* name)
      : file_(file), name_(name) {
    const auto found = metadata.find(name);
    if (found == metadata.end()) {
      fail(Exit::data,
           "{} has no '{}' in its metadata, so it is not a model that train_cxr saved; give a file "
           "of a run's folder checkpoints/",
           file, name);
    }
    if (found->second.size() > kMaxText) wrong("it is longer than {} bytes", kMaxText);
    json_ = Json::parse(found->second, nullptr, false);
    if (!json_.is_object()) wrong("it is not a JSON object");
  }

  int64_t integer(const char* key, int64_t least, int64_t most) const {
    return whole(at(key), key, least, most);
  }
  std::string text(const char* key, std::initializer_list<const char*> known = {}) const {
    return word(at(key), key, known);
  }
  std::vector<std::string> texts(const char* key, size_t count) const {
    std::vector<std::string> all;
    for (const Json& j : list(key, count)) all.push_back(word(j, key, {}));
    return all;
  }
  std::array<int, 3> sides(const char* key) const {
    const Json& j = list(key, 3);
    return {int(whole(j[0], key, 1, kMaxSide)), int(whole(j[1], key, 1, kMaxSide)),
            int(whole(j[2], key, 1, kMaxSide))};
  }
  std::array<float, 3> colours(const char* key, float least) const {
    std::array<float, 3> values;
    for (size_t i = 0; const Json& j : list(key, 3)) {
      const float v = j.is_number() ? j.get<float>() : NAN;
      if (!(v >= least && v <= 255)) wrong("{} is not three numbers of {} to 255", key, least);
      values[i++] = v;
    }
    return values;
  }

  template <class... Args>
  [[noreturn]] void wrong(fmt::format_string<Args...> format, Args&&... args) const {
    std::string problem = fmt::format(format, std::forward<Args>(args)...);
    for (char& c : problem)  // words in it are from outside: keep one line
      if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
    fail(Exit::data, "{}: metadata '{}': {}; the file is damaged or was not saved by train_cxr",
         file_, name_, problem);
  }

 private:
  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) wrong("{} is missing", key);
    return *found;
  }
  const Json& list(const char* key, size_t count) const {
    const Json& j = at(key);
    if (!j.is_array() || j.size() != count) wrong("{} is not a list of {}", key, count);
    return j;
  }
  int64_t whole(const Json& j, const char* key, int64_t least, int64_t most) const {
    const bool fits = j.is_number_unsigned() ? j.get<uint64_t>() <= uint64_t(most)
                                             : j.is_number_integer() && j.get<int64_t>() <= most;
    if (!fits || j.get<int64_t>() < least)
      wrong("{} is not a whole number of {} to {}", key, least, most);
    return j.get<int64_t>();
  }
  std::string word(const Json& j, const char* key, std::initializer_list<const char*> known) const {
    constexpr size_t kMaxWord = 256;
    if (!j.is_string() || j.get_ref<const std::string&>().size() > kMaxWord)
      wrong("{} is not a text of at most {} bytes", key, kMaxWord);
    const std::string s = j.get<std::string>();
    for (const char* k : known)
      if (s == k) return s;
    if (known.size()) wrong("{} '{}' is not known", key, s);
    return s;
  }

  const std::string& file_;
  const char* name_;
  Json json_;
};

}  // namespace

Metadata ModelInfo::to_metadata() const {
  const Json net{{"arch", name_of(network.arch)},
                 {"num_layers", network.num_layers},
                 {"base_width", network.base_width},
                 {"num_classes", network.num_classes},
                 {"findings", findings},
                 {"output", multi_label ? "sigmoid" : "softmax"},
                 {"image_shape", image_shape}};
  const Json preprocessing{{"mean", mean},
                           {"std", std},
                           {"resize", resize},
                           {"resize_filter", resize_filter},
                           {"crop", crop}};
  const Json split{{"method", split_method}, {"seed", split_seed}, {"hash", split_hash}};
  return {
      {"network", net.dump()}, {"preprocessing", preprocessing.dump()}, {"split", split.dump()}};
}

ModelInfo model_info_from(const Metadata& metadata, const std::string& file) {
  const Section network(metadata, file, "network");
  const Section preprocessing(metadata, file, "preprocessing");
  const Section split(metadata, file, "split");
  ModelInfo info;
  info.image_shape = network.sides("image_shape");
  info.network = {.num_layers = int(network.integer("num_layers", 1, 1000)),
                  .num_classes = int(network.integer("num_classes", 1, 10'000)),
                  .channels = info.image_shape[0],
                  .base_width = int(network.integer("base_width", 1, 256)),
                  .arch = arch_named(network.text("arch", {"v1.5", "v1", "v2"}))};
  std::vector<int> depths = known_depths();
  depths.push_back(10);  // of tests
  if (std::ranges::find(depths, info.network.num_layers) == depths.end())
    network.wrong("num_layers {} is not known", info.network.num_layers);
  info.findings = network.texts("findings", size_t(info.network.num_classes));
  if (std::set<std::string>(info.findings.begin(), info.findings.end()).size() !=
      info.findings.size())
    network.wrong("a finding stands twice in findings");
  info.multi_label = network.text("output", {"sigmoid", "softmax"}) == "sigmoid";
  info.mean = preprocessing.colours("mean", 0);
  info.std = preprocessing.colours("std", 1e-3f);
  info.resize = int(preprocessing.integer("resize", 0, kMaxSide));
  info.resize_filter = preprocessing.text("resize_filter", {"antialias", "linear"});
  info.crop = preprocessing.text("crop", {"center"});
  info.split_method = split.text("method");
  info.split_seed = uint64_t(split.integer("seed", 0, INT64_MAX));
  info.split_hash = split.text("hash");
  return info;
}

ModelInfo read_model_info(const std::filesystem::path& path) {
  return model_info_from(SafetensorsFile(path).metadata(), path.string());
}

}  // namespace pneuma
