#include "data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/text.h"
#include "engine/error.h"

namespace pneuma {
namespace {

int shift(Random& random, int range) {
  const double u1 = random.uniform(), u2 = random.uniform();
  return int((u1 + 4 * u2) / 5 * (2 * range) - range);
}

// MXNet's map of a picture onto itself, turned round: from a place of the result to one of the
// source. Of the forward map, cos and sin of the angle being a and b and the scale 1,
//   x' = (h a - s b w) x + (h b + s a w) y + ...,  y' = -b w x + a w y + ...,
// with h = 2 / (1 + aspect) and w = aspect * h, the determinant is h w.
void set_affine(const Augmentation& k, const Image& image, float affine[6]) {
  const double angle = k.angle * std::numbers::pi / 180, a = std::cos(angle), b = std::sin(angle);
  const double h = 2 / (1 + k.aspect), w = k.aspect * h;
  const double inverse[2][2] = {{a / h, -b / w - k.shear * a / h},
                                {b / h, a / w - k.shear * b / h}};
  const double centre[] = {image.width / 2., image.height / 2.};  // stays where it is
  for (int row = 0; row < 2; ++row) {
    affine[3 * row] = float(inverse[row][0]);
    affine[3 * row + 1] = float(inverse[row][1]);
    affine[3 * row + 2] =
        float(centre[row] - inverse[row][0] * centre[0] - inverse[row][1] * centre[1]);
  }
}

}  // namespace

AugmentationType augmentation_type(std::string_view name) {
  const auto found = std::ranges::find(kAugmentationTypes, name);
  if (found == kAugmentationTypes.end())
    fail(Exit::usage,
         "--augmentation_type '{}' is unknown; take none, crop, crop_color or crop_color_transform",
         printable(name));
  return AugmentationType(found - kAugmentationTypes.begin());
}

Augmentation draw(const AugmentationSettings& s, const Image& image, int height, int width,
                  Random random) {
  Augmentation k;
  const int room_y = image.height - height, room_x = image.width - width;
  if (s.type == AugmentationType::none) {
    k.crop_y = room_y / 2, k.crop_x = room_x / 2;
    return k;
  }
  k.crop_y = int(random.below(uint32_t(room_y) + 1));
  k.crop_x = int(random.below(uint32_t(room_x) + 1));
  k.mirror = random.below(2) && s.mirror;
  if (s.type == AugmentationType::crop) return k;
  k.hue = shift(random, kHueRange);
  k.saturation = shift(random, kSaturationRange);
  k.lightness = shift(random, kLightnessRange);
  if (s.gray_jitter && image.channels == 1) k.hue = k.saturation = 0;
  if (s.type == AugmentationType::crop_color) return k;
  k.shear = random.uniform(-kShearRange, kShearRange);
  k.angle = int(random.below(2 * kAngleRange + 1)) - kAngleRange;
  k.aspect = 1 + random.uniform(-kAspectRange, kAspectRange);
  return k;
}

std::string text_of(const Augmentation& k) {
  return fmt::format(
      "crop {},{} mirror {:d} hue {} saturation {} lightness {} angle {} shear {:.3f} aspect "
      "{:.3f}",
      k.crop_y, k.crop_x, k.mirror, k.hue, k.saturation, k.lightness, k.angle, k.shear, k.aspect);
}

AugmentItem item_of(const Augmentation& k, const AugmentationSettings& s, const Image& image,
                    int64_t offset) {
  AugmentItem item{offset,   image.height, image.width, image.channels, k.crop_y,
                   k.crop_x, k.mirror,     k.hue,       k.lightness,    k.saturation};
  item.transform = s.type == AugmentationType::crop_color_transform;
  item.border = s.border;
  if (item.transform) set_affine(k, image, item.affine);
  return item;
}

}  // namespace pneuma
