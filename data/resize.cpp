#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "kernels/resize.h"

// One build runs on any x86-64: the loops below exist once for each vector width, chosen when the
// program starts. They are integer arithmetic, so the choice cannot be seen in the result.
// Sanitizers do not get along with that mechanism (ifunc).
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PN_VECTOR_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define PN_VECTOR_CLONES
#endif

namespace pneuma {
namespace {

constexpr int kRows = 16;  // rows that the horizontal pass treats at once

// Output i is the sum over t < count of weights[i * taps + t] * input[first + t].
struct Weights {
  int taps;
  std::vector<int> first, count;
  std::vector<int32_t> weights;  // [out, taps], sum of each row about 2^resizing::kFraction
};

Weights triangle(int in, int out, ResizeFilter filter) {
  const resizing::Triangle t(in, out, filter == ResizeFilter::antialias);
  Weights w;
  w.taps = t.most_taps();
  w.first.resize(out), w.count.resize(out);
  w.weights.resize(static_cast<size_t>(out) * w.taps);
  for (int i = 0; i < out; ++i) {
    const double area = t.area(i);
    w.first[i] = t.first(i);
    w.count[i] = t.end(i) - t.first(i);
    for (int k = 0; k < w.count[i]; ++k)
      w.weights[static_cast<size_t>(i) * w.taps + k] = t.weight(i, w.first[i] + k, area);
  }
  return w;
}

// kRows rows at once, turned into columns so that the rows are what the compiler vectorises over.
// rows: pointers to [W,C]; columns, result: scratch [W*C,kRows] and [OUT*C,kRows]; out: [OUT*C].
PN_VECTOR_CLONES
void resize_rows(const uint8_t* const* rows, int width, int channels, const Weights& w,
                 uint8_t* columns, uint8_t* result, uint8_t* const* out) {
  const int n = width * channels, outputs = static_cast<int>(w.first.size());
  for (int x = 0; x < n; ++x)
    for (int r = 0; r < kRows; ++r) columns[x * kRows + r] = rows[r][x];
  for (int i = 0; i < outputs; ++i)
    for (int c = 0; c < channels; ++c) {
      int32_t sum[kRows] = {};
      const int32_t* weight = &w.weights[static_cast<size_t>(i) * w.taps];
      const uint8_t* p = columns + (static_cast<int64_t>(w.first[i]) * channels + c) * kRows;
      for (int t = 0; t < w.count[i]; ++t, p += channels * kRows)
        for (int r = 0; r < kRows; ++r) sum[r] += p[r] * weight[t];
      for (int r = 0; r < kRows; ++r)
        result[(i * channels + c) * kRows + r] = resizing::rounded(sum[r]);
    }
  for (int r = 0; r < kRows; ++r)
    for (int x = 0; x < outputs * channels; ++x) out[r][x] = result[x * kRows + r];
}

// One output row [N] out of `count` rows that lie `stride` apart; sum: scratch [N].
PN_VECTOR_CLONES
void resize_column(const uint8_t* rows, int64_t stride, const int32_t* weights, int count,
                   int32_t* __restrict sum, uint8_t* __restrict out, int64_t n) {
  std::fill(sum, sum + n, 0);
  for (int t = 0; t < count; ++t) {
    const uint8_t* row = rows + t * stride;
    const int32_t weight = weights[t];
    for (int64_t x = 0; x < n; ++x) sum[x] += row[x] * weight;
  }
  for (int64_t x = 0; x < n; ++x) out[x] = resizing::rounded(sum[x]);
}

// Only rows that `needed` marks are filled; the others stay zero and are never read.
Image resize_width(const Image& image, int width, const Weights& w,
                   const std::vector<char>& needed) {
  const int64_t stride = int64_t{image.width} * image.channels;
  const int64_t out_stride = int64_t{width} * image.channels;
  Image out{image.height, width, image.channels, {}};
  out.pixels.resize(static_cast<size_t>(out_stride * image.height));
  std::vector<uint8_t> columns(static_cast<size_t>(stride * kRows));
  std::vector<uint8_t> result(static_cast<size_t>(out_stride * kRows));
  for (int y = 0; y < image.height;) {
    const uint8_t* rows[kRows];
    uint8_t* outs[kRows];
    int count = 0;
    for (; y < image.height && count < kRows; ++y)
      if (needed[y]) {
        rows[count] = image.pixels.data() + y * stride;
        outs[count++] = out.pixels.data() + y * out_stride;
      }
    if (count == 0) break;
    for (int r = count; r < kRows; ++r) rows[r] = rows[0], outs[r] = outs[0];  // repeat the first
    resize_rows(rows, image.width, image.channels, w, columns.data(), result.data(), outs);
  }
  return out;
}

Image resize_height(const Image& image, int height, const Weights& w) {
  const int64_t stride = int64_t{image.width} * image.channels;
  Image out{height, image.width, image.channels, {}};
  out.pixels.resize(static_cast<size_t>(stride * height));
  std::vector<int32_t> sum(static_cast<size_t>(stride));
  for (int y = 0; y < height; ++y)
    resize_column(image.pixels.data() + w.first[y] * stride, stride,
                  &w.weights[static_cast<size_t>(y) * w.taps], w.count[y], sum.data(),
                  out.pixels.data() + y * stride, stride);
  return out;
}

// Output i of OpenCV's is a * input[first] + b * input[second], where a + b is about 2048.
struct Taps {
  int first, second;
  int32_t a, b;
};

// Beyond the edge stands the edge's pixel: across with all the weight, down with both weights, each
// rounded by itself.
std::vector<Taps> opencv_taps(int in, int out, bool across) {
  const double scale = 1.0 / (double(out) / in);
  std::vector<Taps> taps;
  for (int i = 0; i < out; ++i) {
    const float at = float((i + 0.5) * scale - 0.5);
    const int first = int(std::floor(at));
    const float b = across && (first < 0 || first >= in - 1) ? 0 : at - float(first);
    taps.push_back({std::clamp(first, 0, in - 1), std::clamp(first + 1, 0, in - 1),
                    int32_t(std::lrint((1 - b) * 2048)), int32_t(std::lrint(b * 2048))});
  }
  return taps;
}

Image resize_as_opencv(const Image& image, int height, int width) {
  const std::vector<Taps> across = opencv_taps(image.width, width, true);
  const int channels = image.channels;
  struct Row {
    int y = -1;                 // of the input; none yet
    std::vector<int32_t> sums;  // [W,C], the last bits of OpenCV's 11 behind the point cut off
  } upper, lower;
  const auto fill = [&](Row& row, int y) {
    if (row.y == y) return;
    row.y = y;
    row.sums.clear();
    const uint8_t* in = image.pixels.data() + int64_t{y} * image.width * channels;
    for (const Taps& t : across)
      for (int c = 0; c < channels; ++c)
        row.sums.push_back((t.a * in[t.first * channels + c] + t.b * in[t.second * channels + c]) >>
                           4);
  };
  Image out{height, width, channels, {}};
  out.pixels.reserve(size_t(height) * width * channels);
  for (const Taps& t : opencv_taps(image.height, height, false)) {
    if (lower.y == t.first) std::swap(upper, lower);
    fill(upper, t.first);
    fill(lower, t.second);
    for (size_t i = 0; i < upper.sums.size(); ++i)
      out.pixels.push_back(
          uint8_t(((t.a * upper.sums[i] >> 16) + (t.b * lower.sums[i] >> 16) + 2) >> 2));
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int height, int width, ResizeFilter filter) {
  if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
      int64_t{height} * width > kMaxImagePixels)
    fail(Exit::data,
         "cannot resize {} x {} pixels to {} x {}: at least 1, at most {} a side and {} in all",
         image.width, image.height, width, height, kMaxImageSide, kMaxImagePixels);
  if (width == image.width && height == image.height) return image;
  if (filter == ResizeFilter::opencv) return resize_as_opencv(image, height, width);
  const Weights vertical = triangle(image.height, height, filter);
  if (width == image.width) return resize_height(image, height, vertical);
  const Weights horizontal = triangle(image.width, width, filter);
  std::vector<char> needed(static_cast<size_t>(image.height));
  for (int y = 0; y < height; ++y)
    std::fill_n(needed.begin() + vertical.first[y], vertical.count[y], 1);
  Image narrow = resize_width(image, width, horizontal, needed);
  return height == image.height ? narrow : resize_height(narrow, height, vertical);
}

Image resize_shorter_side(const Image& image, int size, ResizeFilter filter) {
  const int64_t shorter = std::min(image.height, image.width);
  const auto scaled = [&](int64_t side) {  // a result beyond the limits is left to resize to refuse
    return static_cast<int>(std::min<int64_t>(side * size / shorter, kMaxImageSide + 1));
  };
  return resize(image, scaled(image.height), scaled(image.width), filter);
}

}  // namespace pneuma
