#include "models/weight_files.h"

#include <fmt/ranges.h>

#include <cmath>
#include <cstring>
#include <set>

#include "engine/host_values.h"
#include "kernels/half.h"

namespace pneuma {
namespace {

// A tensor of the network with its name in files.
struct Entry {
  std::string name;
  Tensor value;
};

std::vector<Entry> entries_of(const Parameters& parameters) {
  std::vector<Entry> entries;
  for (const Parameter& p : parameters.parameters) entries.push_back({p.name, p.value});
  for (const Buffer& b : parameters.buffers) entries.push_back({b.name, b.value});
  return entries;
}

std::vector<int64_t> file_shape(const Shape& s) {
  if (s.rank == 4) return {s[0], s[3], s[1], s[2]};
  return {s.dims, s.dims + s.rank};
}

// Calls f(place in memory, place in the file) for each element.
template <class F>
void for_each_place(const Shape& s, F f) {
  if (s.rank != 4) {
    for (int64_t i = 0; i < s.count(); ++i) f(size_t(i), size_t(i));
    return;
  }
  const int64_t window = s[1] * s[2], channels = s[3];
  for (int64_t i = 0; i < s.count(); ++i) {
    const int64_t c = i % channels, rs = i / channels % window, o = i / channels / window;
    f(size_t(i), size_t((o * channels + c) * window + rs));
  }
}

template <class T>
T element(const FileTensor& t, size_t i) {
  T v;
  std::memcpy(&v, t.bytes.data() + i * sizeof(T), sizeof(T));
  return v;
}

double number(const FileTensor& t, size_t i) {
  switch (t.dtype) {
    case Dtype::f32:
      return element<float>(t, i);
    case Dtype::f64:
      return element<double>(t, i);
    case Dtype::f16:
      return element<Half>(t, i);
    default:
      return element<Bfloat16>(t, i);
  }
}

// Values in the order of memory; throws on what is no finite weight.
std::vector<double> values_of(const FileTensor& t, const Tensor& to, const std::string& file) {
  std::vector<double> values(size_t(to.shape().count()));
  bool finite = true;
  for_each_place(to.shape(), [&](size_t in_memory, size_t in_file) {
    const double v = number(t, in_file);
    finite &= bool(std::isfinite(to.dtype() == Dtype::f32 ? float(v) : v));
    values[in_memory] = v;
  });
  if (!finite) {
    fail(Exit::data, "{}: tensor '{}' holds inf or nan, so these are no usable weights", file,
         t.name);
  }
  return values;
}

bool is_number(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f64 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}

std::string few(const std::vector<std::string>& names) {
  constexpr size_t kFew = 3;
  const size_t n = std::min(names.size(), kFew);
  std::string s = fmt::format("{}", fmt::join(names.begin(), names.begin() + ptrdiff_t(n), ", "));
  return names.size() > n ? fmt::format("{} and {} more", s, names.size() - n) : s;
}

}  // namespace

std::vector<double> numbers_of(const FileTensor& t) {
  std::vector<double> numbers(t.bytes.size() / size_of(t.dtype));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = number(t, i);
  return numbers;
}

LoadReport load_weights(Context& ctx, const Parameters& parameters, const WeightFile& file) {
  const std::vector<Entry> entries = entries_of(parameters);
  const auto& learnt = parameters.parameters;
  const std::string& last_weight = learnt[learnt.size() - 2].name;
  const std::string& last_bias = learnt.back().name;
  const auto in_last_layer = [&](const std::string& n) {
    return n == last_weight || n == last_bias;
  };
  const LastLayer by_place = last_layer_of(file);
  const bool by_name = file.find(last_weight) || file.find(last_bias);
  const FileTensor* last = by_name ? file.find(last_weight) : by_place.weight;
  const FileTensor* bias = by_name ? file.find(last_bias) : by_place.bias;
  const auto find = [&](const std::string& n) {
    return n == last_weight ? last : n == last_bias ? bias : file.find(n);
  };

  LoadReport report;
  const std::vector<int64_t> last_shape = file_shape(learnt[learnt.size() - 2].value.shape());
  if (!last) {
    report.last_layer_loaded = false;
  } else if (last->shape.size() == 2 && last->shape[1] == last_shape[1]) {
    report.last_layer_loaded = last->shape[0] == last_shape[0];
  }

  std::vector<std::string> missing, extra, wrong;
  std::set<std::string> known;
  for (const Entry& e : entries) {
    known.insert(e.name);
    if (in_last_layer(e.name) && !report.last_layer_loaded) continue;
    const FileTensor* t = find(e.name);
    const std::vector<int64_t> shape = file_shape(e.value.shape());
    if (!t) {
      missing.push_back(e.name);
    } else if (t->shape != shape) {
      wrong.push_back(fmt::format("{} is [{}] and the network's is [{}]", e.name,
                                  fmt::join(t->shape, ","), fmt::join(shape, ",")));
    } else if (!is_number(t->dtype)) {
      wrong.push_back(fmt::format("{} is of dtype {}", e.name, name_of(t->dtype)));
    }
  }
  for (const FileTensor& t : file.tensors()) {
    const bool of_no_use = t.name.ends_with("num_batches_tracked") || t.name == "bn_data_gamma";
    if (!known.contains(t.name) && !of_no_use && &t != last && &t != bias) extra.push_back(t.name);
  }
  if (!missing.empty() || !extra.empty() || !wrong.empty()) {
    std::string why;
    if (!wrong.empty()) why += fmt::format("; {}", few(wrong));
    if (!missing.empty()) why += fmt::format("; the file lacks {}", few(missing));
    if (!extra.empty()) why += fmt::format("; the network has no {}", few(extra));
    fail(Exit::data, "{}: these are the weights of another network{}; give weights of this one",
         file.name(), why);
  }

  std::vector<std::pair<Tensor, std::vector<double>>> loaded;  // all before any is set
  for (const Entry& e : entries) {
    if (in_last_layer(e.name) && !report.last_layer_loaded) continue;
    loaded.emplace_back(e.value, values_of(*find(e.name), e.value, file.name()));
  }
  for (const auto& [tensor, values] : loaded) set_values(ctx, tensor, values);
  parameters.write_working(ctx);

  report.text =
      fmt::format("{} of {} tensors loaded from {}", loaded.size(), entries.size(), file.name());
  if (!report.last_layer_loaded) {
    const std::string there = last ? fmt::format("has {} outputs there", last->shape[0])
                                   : std::string("is not in the file");
    report.text += fmt::format("; the last layer {}, so here it keeps its fresh start of {}", there,
                               last_shape[0]);
  }
  return report;
}

LoadReport load_pretrained(Context& ctx, const ResNet& net, const WeightFile& file,
                           const ImageFormat& format) {
  LoadReport report = load_weights(ctx, net.parameters(), file);
  const std::string& norm = net.plan().data_norm;
  if (!file.of_raw_pixels() || norm.empty() || ctx.dry()) return report;
  Tensor statistics[2];  // mean, variance
  for (const Buffer& b : net.parameters().buffers)
    if (b.name.starts_with(norm + "_")) statistics[b.name.ends_with("_var")] = b.value;
  std::vector<double> mean = get_values(ctx, statistics[0]),
                      variance = get_values(ctx, statistics[1]);
  for (size_t c = 0; c < mean.size(); ++c)
    PixelScale{format.mean[c], format.std[c], net.plan().eps}.from_raw(mean[c], variance[c]);
  set_values(ctx, statistics[0], mean);
  set_values(ctx, statistics[1], variance);
  return report;
}

void save_weights(Context& ctx, const Parameters& parameters, const std::filesystem::path& path,
                  const Metadata& metadata) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<FileTensor> tensors;
  for (const Entry& e : entries_of(parameters)) {
    const std::vector<double> values = get_values(ctx, e.value);
    std::vector<std::byte>& b = bytes.emplace_back(e.value.bytes());
    for_each_place(e.value.shape(), [&](size_t in_memory, size_t in_file) {
      if (e.value.dtype() == Dtype::f64) {
        std::memcpy(&b[in_file * sizeof(double)], &values[in_memory], sizeof(double));
      } else {
        const float v = float(values[in_memory]);
        std::memcpy(&b[in_file * sizeof(float)], &v, sizeof(float));
      }
    });
    tensors.push_back({e.name, e.value.dtype(), file_shape(e.value.shape()), b});
  }
  write_safetensors(path, std::move(tensors), metadata);
}

}  // namespace pneuma
