// The draws follow the distributions that MXNet states, exactly computed here; the pixels are
// OpenCV's (tests/golden/augmentation.json), and the same on every device.
#include "data/augmentation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "apps/common/train_data.h"
#include "data/write_png.h"
#include "engine/context.h"
#include "engine/host_values.h"
#include "engine/ops/ops.h"
#include "kernels/reference/table.h"
#include "tests/devices.h"
#include "tests/golden/formula.h"
#include "tests/temporary.h"

namespace pneuma::testing {
namespace {

constexpr AugmentationType kTransform = AugmentationType::crop_color_transform;
constexpr int kSamples = 20000;

Random stream(uint64_t seed, uint32_t epoch, uint32_t sample) {
  return Random(seed, Purpose::augment, epoch, sample);
}
Image size(int height, int width, int channels) { return {height, width, channels, {}}; }

std::vector<Augmentation> draws(const AugmentationSettings& s, const Image& image) {
  std::vector<Augmentation> all;
  for (uint32_t i = 0; i < kSamples; ++i)
    all.push_back(draw(s, image, 224, 224, stream(1, i % 7, i / 7)));
  return all;
}

// Pearson's statistic against the probability of each outcome, in standard deviations of it from
// its mean. Beyond 4.5 one fair test in some ten thousand would lie (the statistic leans upwards);
// the draws are fixed, so a test that passes goes on to pass.
double surprise(const std::vector<int>& outcomes, int low, int high,
                const std::function<double(int)>& probability) {
  std::map<int, int> counts;
  for (const int v : outcomes) {
    REQUIRE(v >= low);
    REQUIRE(v <= high);
    ++counts[v];
  }
  double statistic = 0, expected = 0, seen = 0, all = 0;
  int degrees = -1;
  for (int v = low; v <= high; ++v) {
    expected += probability(v) * double(outcomes.size()), seen += counts[v];
    all += probability(v);
    if (expected < 5 && v < high) continue;  // rare ones together with the next
    if (expected > 0) statistic += (seen - expected) * (seen - expected) / expected, ++degrees;
    expected = seen = 0;
  }
  CHECK(all == doctest::Approx(1));
  return (statistic - degrees) / std::sqrt(2. * degrees);
}
constexpr double kMost = 4.5;

template <class F>
std::vector<int> of(const std::vector<Augmentation>& all, F member) {
  std::vector<int> values;
  for (const Augmentation& k : all) values.push_back(int(std::invoke(member, k)));
  return values;
}

// P((u1 + 4 u2) / 5 <= u): the area below a line in the square, a trapezoid's integral.
double cumulated(double u) {
  const double v = 5 * std::min(1., std::max(0., u));
  return v <= 1 ? v * v / 8 : v <= 4 ? 1 / 8. + (v - 1) / 4 : 1 - (5 - v) * (5 - v) / 8;
}
// P(trunc(u 2R - R) = k): towards 0, so 0 takes (-1, 1).
double shift_probability(int k, int range) {
  const auto below = [&](double d) { return cumulated((d + range) / (2 * range)); };
  return below(k < 0 ? k : k + 1) - below(k > 0 ? k : k - 1);
}

}  // namespace

TEST_CASE("every draw has its distribution") {
  const auto all = draws({.type = kTransform}, size(240, 301, 3));
  const auto uniform = [](double n) { return [=](int) { return 1 / n; }; };
  CHECK(surprise(of(all, &Augmentation::crop_y), 0, 16, uniform(17)) < kMost);
  CHECK(surprise(of(all, &Augmentation::crop_x), 0, 77, uniform(78)) < kMost);
  CHECK(surprise(of(all, &Augmentation::mirror), 0, 1, uniform(2)) < kMost);
  CHECK(surprise(of(all, &Augmentation::angle), -10, 10, uniform(21)) < kMost);
  const auto shift = [](int range) { return [=](int k) { return shift_probability(k, range); }; };
  CHECK(surprise(of(all, &Augmentation::hue), -35, 35, shift(36)) < kMost);
  CHECK(surprise(of(all, &Augmentation::saturation), -49, 49, shift(50)) < kMost);
  CHECK(surprise(of(all, &Augmentation::lightness), -49, 49, shift(50)) < kMost);
  // Of what is continuous, twentieths of the range.
  const auto twentieth = [&](double low, double high, double Augmentation::*member) {
    return of(all, [=](const Augmentation& k) {
      return std::floor((k.*member - low) / (high - low) * 20);
    });
  };
  CHECK(surprise(twentieth(-.1, .1, &Augmentation::shear), 0, 19, uniform(20)) < kMost);
  CHECK(surprise(twentieth(.75, 1.25, &Augmentation::aspect), 0, 19, uniform(20)) < kMost);

  // The test can tell: a flat shift of colour, or an angle that is rounded, would be seen.
  CHECK(surprise(of(all, &Augmentation::hue), -35, 35, uniform(71)) > 2 * kMost);
  CHECK(surprise(of(all, &Augmentation::angle), -10, 10,
                 [](int k) { return std::abs(k) == 10 ? 1 / 40. : 1 / 20.; }) > 2 * kMost);
}

TEST_CASE("draws do not hang together") {
  const auto all = draws({.type = kTransform}, size(480, 480, 3));
  const std::vector<std::function<double(const Augmentation&)>> members = {
      [](auto& k) { return k.crop_y; },     [](auto& k) { return k.crop_x; },
      [](auto& k) { return k.mirror; },     [](auto& k) { return k.hue; },
      [](auto& k) { return k.saturation; }, [](auto& k) { return k.lightness; },
      [](auto& k) { return k.shear; },      [](auto& k) { return k.angle; },
      [](auto& k) { return k.aspect; }};
  const double n = kSamples;
  for (size_t i = 0; i < members.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
      for (const Augmentation& k : all) {
        const double a = members[i](k), b = members[j](k);
        x += a, y += b, xx += a * a, yy += b * b, xy += a * b;
      }
      const double r = (n * xy - x * y) / std::sqrt((n * xx - x * x) * (n * yy - y * y));
      CAPTURE(i);
      CAPTURE(j);
      CHECK(std::fabs(r) * std::sqrt(n) < 4);  // standard deviations of a chance correlation
    }
}

TEST_CASE("a draw is a function of seed, epoch and sample; a switch changes its own number alone") {
  const Image colour = size(300, 400, 3), gray = size(300, 400, 1);
  const auto item = [](const AugmentationSettings& s, const Image& image, Random random) {
    const AugmentItem k = item_of(draw(s, image, 224, 224, random), s, image, 3);
    std::vector<uint8_t> bytes(sizeof k);
    std::memcpy(bytes.data(), &k, sizeof k);
    return bytes;
  };
  const AugmentationSettings all{.type = kTransform};
  const auto first = item(all, colour, stream(9, 2, 5));
  CHECK(item(all, colour, stream(9, 2, 5)) == first);
  CHECK(item(all, colour, stream(9, 3, 5)) != first);
  CHECK(item(all, colour, stream(9, 2, 6)) != first);
  CHECK(item(all, colour, stream(10, 2, 5)) != first);

  for (uint32_t i = 0; i < 50; ++i) {
    const auto drawn = [&](AugmentationSettings s, const Image& image) {
      return draw(s, image, 224, 200, stream(1, 0, i));
    };
    const Augmentation k = drawn(all, colour),
                       still = drawn({.type = kTransform, .mirror = false}, colour);
    CHECK(!still.mirror);
    CHECK(std::tuple(still.crop_y, still.hue, still.angle, still.aspect) ==
          std::tuple(k.crop_y, k.hue, k.angle, k.aspect));
    const Augmentation plain = drawn(all, gray);
    CHECK(std::tuple(plain.hue, plain.saturation) == std::tuple(0, 0));
    CHECK(std::tuple(plain.lightness, plain.shear) == std::tuple(k.lightness, k.shear));
    const Augmentation tinted = drawn({.type = kTransform, .gray_jitter = false}, gray);
    CHECK(std::tuple(tinted.hue, tinted.saturation) == std::tuple(k.hue, k.saturation));
    // The smaller types are the larger one's beginning; crop is what it has always been.
    const Augmentation crop = drawn({.type = AugmentationType::crop}, colour);
    CHECK(std::tuple(crop.crop_y, crop.crop_x, crop.mirror) ==
          std::tuple(k.crop_y, k.crop_x, k.mirror));
    CHECK(std::tuple(crop.hue, crop.lightness, crop.saturation, crop.angle) ==
          std::tuple(0, 0, 0, 0));
    Random random = stream(1, 0, i);
    const int y = int(random.below(300 - 224 + 1)), x = int(random.below(400 - 200 + 1));
    CHECK(std::tuple(crop.crop_y, crop.crop_x, crop.mirror) ==
          std::tuple(y, x, random.below(2) == 1));
    const Augmentation centre = drawn({}, colour);
    CHECK(std::tuple(centre.crop_y, centre.crop_x, centre.mirror, centre.lightness) ==
          std::tuple(38, 100, false, 0));
  }
  CHECK(augmentation_type("crop_color") == AugmentationType::crop_color);
  CHECK_THROWS_WITH_AS(augmentation_type("colour"), doctest::Contains("'colour' is unknown"),
                       Error);
}

namespace {

// make_augmentation_golden.py: source().
Image source(int height, int width, int channels) {
  Image image = size(height, width, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) {
        const int wave = x * (7 - 3 * c) + y * (2 + 3 * c) + 90 * c + x * y / 16;
        image.pixels.push_back(uint8_t(std::abs((wave % 510 + 510) % 510 - 255)));
      }
  return image;
}

// What a device makes of a batch: levels, or normalised.
std::vector<double> levels_of(const Backend& device, const Batch& batch, int height, int width,
                              const char* precision, bool normalised) {
  Context ctx(device, precision_named(precision));
  const auto n = int64_t(batch.items.size()), bytes = n * int64_t(sizeof(AugmentItem));
  const Tensor pixels = ctx.persistent({int64_t(batch.pixels.size())}, Dtype::u8),
               items = ctx.persistent({bytes}, Dtype::u8),
               y = ctx.persistent({n, height, width, 3},
                                  ctx.precision()[OpKind::convolution].input);
  ctx.upload(pixels, batch.pixels.data(), batch.pixels.size());
  ctx.upload(items, batch.items.data(), size_t(bytes));
  const float mean[] = {123.675f, 116.28f, 103.53f}, std[] = {58.395f, 57.12f, 57.375f},
              zero[3] = {}, one[] = {1, 1, 1};
  ops::augment(ctx, pixels, items, batch.items.data(), normalised ? mean : zero,
               normalised ? std : one, y);
  return get_values(ctx, y);
}

}  // namespace

TEST_CASE("parameters and pixels are those of an independent computation and OpenCV") {
  const golden::Json file = golden::read("augmentation.json");
  const int height = file.at("window")[0], width = file.at("window")[1];
  for (const golden::Json& c : file.at("cases")) {
    const golden::Json& d = c.at("drawn");
    const Image image = source(c.at("shape")[0], c.at("shape")[1], c.at("shape")[2]);
    const AugmentationSettings s{augmentation_type(c.at("type").get<std::string>()),
                                 c.at("mirror") == 1, c.at("gray_jitter") == 1, c.at("border")};
    const Augmentation k =
        draw(s, image, height, width, stream(file.at("seed"), c.at("epoch"), c.at("sample")));
    CAPTURE(c.dump().substr(0, 300));
    for (const auto& [name, found] : std::map<std::string, double>{{"crop_y", k.crop_y},
                                                                   {"crop_x", k.crop_x},
                                                                   {"mirror", k.mirror},
                                                                   {"hue", k.hue},
                                                                   {"lightness", k.lightness},
                                                                   {"saturation", k.saturation},
                                                                   {"angle", k.angle}})
      CHECK(found == d.value(name, 0.));
    CHECK(k.shear == doctest::Approx(d.value("shear", 0.)).epsilon(1e-12));
    CHECK(k.aspect == doctest::Approx(d.value("aspect", 1.)).epsilon(1e-12));

    // Not one level apart. OpenCV 5 interpolates in f32, as we do; OpenCV 4 at the nearest 1/32 of
    // a pixel, which is 1 level of difference in 8 % of these, and more where HLS magnifies it.
    const Batch batch{.pixels = image.pixels, .items = {item_of(k, s, image, 0)}};
    const std::string hex = c.at("pixels");
    size_t place = 0, apart = 0;
    for (const double level :
         levels_of(reference_backend(), batch, height, width, "float32", false))
      apart += level != std::stoi(hex.substr(2 * place++, 2), nullptr, 16);
    CHECK(hex.size() == 2 * place);
    CHECK(apart == 0);
  }
}

TEST_CASE("drawn batches have the reference's bits on every device") {
  for (const AugmentationType type : {AugmentationType::crop_color, kTransform}) {
    Batch batch;
    Random random(3, Purpose::test);
    for (uint32_t i = 0; i < 24; ++i) {
      Image image = size(40 + int(random.below(30)), 36 + int(random.below(50)), i % 3 ? 3 : 1);
      for (int k = image.height * image.width * image.channels; k > 0; --k)
        image.pixels.push_back(uint8_t(random.below(256)));
      const AugmentationSettings s{.type = type, .gray_jitter = i % 2 == 0};
      batch.items.push_back(
          item_of(draw(s, image, 40, 36, stream(4, 1, i)), s, image, int64_t(batch.pixels.size())));
      batch.pixels.insert(batch.pixels.end(), image.pixels.begin(), image.pixels.end());
    }
    for (const char* precision : {"float32", "float16", "bfloat16"}) {
      const auto truth = levels_of(reference_backend(), batch, 40, 36, precision, true);
      for (const Backend* device : devices()) {
        CAPTURE(device->name);
        CAPTURE(precision);
        CHECK(levels_of(*device, batch, 40, 36, precision, true) == truth);
      }
    }
  }
}

TEST_CASE("the loader hands out what is drawn for (seed, epoch, sample)") {
  Temporary folder;
  Dataset data{folder.path, {}, 1, {"a"}};
  std::vector<Image> images;
  for (int i = 0; i < 5; ++i) {
    images.push_back(source(40 + i, 50 - i, i % 2 ? 3 : 1));
    data.samples.push_back({fmt::format("{}.png", i), {1}, ""});
    write_png(folder / data.samples.back().path, images.back());
  }
  LoaderSettings settings{.height = 32, .width = 33, .augmentation = {.type = kTransform}};
  settings.seed = 8;
  Loader loader(data, Sampler(5, 2, 8, true, LastBatch::keep), settings, 0, 0, 3);
  int pictures = 0;
  while (const auto batch = loader.next())
    for (size_t k = 0; k < batch->items.size(); ++k, ++pictures) {
      const Image& image = images[size_t(batch->samples[k])];
      const Augmentation drawn =
          draw(settings.augmentation, image, 32, 33,
               stream(8, uint32_t(batch->epoch), uint32_t(batch->samples[k])));
      const AugmentItem item = item_of(drawn, settings.augmentation, image, batch->items[k].offset);
      CHECK(std::memcmp(&item, &batch->items[k], sizeof item) == 0);
    }
  CHECK(pictures == 15);
  CHECK(evaluation_loader({}, 1, OnBadImage::fail).augmentation.type == AugmentationType::none);
}

}  // namespace pneuma::testing
