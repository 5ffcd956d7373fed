#include "apps/common/contact_sheet.h"

#include <algorithm>

#include "engine/error.h"

namespace pneuma {

Image contact_sheet(std::span<const Image> cells, int columns) {
  constexpr int64_t kGap = 4;
  const auto& [height, width, channels, first] = cells[0];
  const int64_t across = std::min<int64_t>(columns, int64_t(cells.size())),
                rows = (int64_t(cells.size()) + across - 1) / across,
                h = rows * (height + kGap) - kGap, w = across * (width + kGap) - kGap;
  if (h * w > kMaxImagePixels)
    fail(Exit::usage, "the sheet would have {} x {} pixels, more than {}; take fewer pictures", w,
         h, kMaxImagePixels);
  Image sheet{int(h), int(w), channels, std::vector<uint8_t>(size_t(h * w * channels), 255)};
  for (int64_t i = 0; i < int64_t(cells.size()); ++i)
    for (int64_t y = 0; y < height; ++y) {
      const int64_t row = i / across * (height + kGap) + y, column = i % across * (width + kGap);
      std::copy_n(&cells[size_t(i)].pixels[size_t(y * width * channels)], width * channels,
                  &sheet.pixels[size_t((row * w + column) * channels)]);
    }
  return sheet;
}

}  // namespace pneuma
