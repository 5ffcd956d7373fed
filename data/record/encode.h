// Pictures as the bytes of a file: what im2rec asks of OpenCV.
#pragma once

#include <string>

#include "data/image.h"

namespace pneuma {

// Baseline JPEG with the usual tables; colour is kept at half the resolution (4:2:0), as OpenCV and
// libjpeg do where nothing else is asked. quality: 1 to 100.
std::string encode_jpeg(const Image& image, int quality);

// level: 1 (quick) to 9 (small).
std::string encode_png(const Image& image, int level);

}  // namespace pneuma
