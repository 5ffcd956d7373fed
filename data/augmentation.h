// What training does to a picture, by chance: the three levels of augmentation of MXNet's image
// classification. All draws of a sample are made here; kernels/augment.h makes the pixels.
//
// Order: resize, affine map (rotation, shear, aspect ratio; same size, the centre stays), crop,
// shift of colour, normalisation, mirror.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "data/image.h"
#include "engine/random.h"
#include "kernels/kernels.h"

namespace pneuma {

// Each does what the one before does, and more. none: the centre, as validation sees it.
enum class AugmentationType {
  none,
  crop,                 // a window at a uniform place, mirrored or not
  crop_color,           // + hue, lightness, saturation
  crop_color_transform  // + rotation, shear, aspect ratio
};
inline constexpr std::array<const char*, 4> kAugmentationTypes = {"none", "crop", "crop_color",
                                                                  "crop_color_transform"};
AugmentationType augmentation_type(std::string_view name);  // throws Exit::usage

// Ranges on both sides of 0, as MXNet's example/image-classification sets them for its levels 2, 3.
// A shift of colour is trunc(u * 2R - R) with u = (u1 + 4 * u2) / 5, both uniform in [0, 1).
inline constexpr int kHueRange = 36, kSaturationRange = 50, kLightnessRange = 50;
inline constexpr int kAngleRange = 10;  // degrees, whole and uniform
inline constexpr double kShearRange = 0.1;
inline constexpr double kAspectRange = 0.25;  // around 1

struct AugmentationSettings {
  AugmentationType type = AugmentationType::none;
  bool mirror = true;  // half of all samples, but not with none
  // Of a gray picture lightness alone moves. Otherwise, as in MXNet, saturation tints it: such
  // colours no radiograph has.
  bool gray_jitter = true;
  int border = 127;  // level that an affine map brings in from outside the picture
};

// What was drawn for a sample.
struct Augmentation {
  int crop_y = 0, crop_x = 0;
  bool mirror = false;
  int hue = 0, lightness = 0, saturation = 0;
  int angle = 0;
  double shear = 0, aspect = 1;
};

// A window of height x width is cut from `image` (its pixels are not read), which is no smaller.
// Every number has its place in the stream, so that types and switches do not change each other's.
Augmentation draw(const AugmentationSettings&, const Image& image, int height, int width, Random);

std::string text_of(const Augmentation&);  // for people

// The same as the kernel reads it; the picture's pixels begin at `offset`.
AugmentItem item_of(const Augmentation&, const AugmentationSettings&, const Image& image,
                    int64_t offset);

}  // namespace pneuma
