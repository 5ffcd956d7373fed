// A picture with edges and slopes, by a formula.
#pragma once

#include <algorithm>

#include "data/image.h"

namespace pneuma::testing {

// As source() of tests/golden/make_images.py and make_records.py, each of which is hashed as a
// whole.
inline Image source(int height, int width, int channels) {
  Image image{height, width, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(static_cast<uint8_t>(
            (x / 8 + y / 8) % 2 == 0 ? (x * x * 3 + y * y * 5 + x * y * 7 + c * 41 + x * 13) % 256
                                     : x * 255 / std::max(width - 1, 1)));
  return image;
}

}  // namespace pneuma::testing
