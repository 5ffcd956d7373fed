// Resizing of 8-bit pictures, in two separable passes of fixed-point arithmetic: no result depends
// on the machine.
#pragma once

#include "data/image.h"

namespace pneuma {

enum class ResizeFilter {
  antialias,  // triangle as wide as the reduction: Pillow's BILINEAR, bit for bit
  linear,     // the two nearest pixels each way: OpenCV's INTER_LINEAR, within 1 level
  opencv,     // OpenCV's INTER_LINEAR, bit for bit
};

// Pixel centres lie at halves in all. REQUIRES: 1 <= height, width <= kMaxImageSide.
// Throws Error(Exit::data) where the result would have more than kMaxImagePixels.
Image resize(const Image& image, int height, int width, ResizeFilter filter);

// The shorter side becomes `size`, the other one longer * size / shorter, rounded down (as MXNet's
// record iterator does). Throws Error(Exit::data) where that passes the limits of `resize`.
Image resize_shorter_side(const Image& image, int size, ResizeFilter filter);

}  // namespace pneuma
