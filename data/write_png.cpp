#include "data/write_png.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/error.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace pneuma {

void write_png(const std::filesystem::path& path, const Image& image) {
  stbi_write_png_compression_level = 5;  // the lowest it has; half the time of its default
  stbi_write_force_png_filter = 4;       // Paeth, instead of trying all five for each row
  int size = 0;
  const std::unique_ptr<unsigned char, decltype(&std::free)> png(
      stbi_write_png_to_mem(image.pixels.data(), image.width * image.channels, image.width,
                            image.height, image.channels, &size),
      std::free);
  if (!png) throw std::bad_alloc();
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool written = file && std::fwrite(png.get(), 1, static_cast<size_t>(size), file) ==
                                   static_cast<size_t>(size);
  const int code = errno;
  if ((file && std::fclose(file) != 0) || !written)
    fail(Exit::environment,
         "{}: cannot be written ({}); check the folder and the space on its disk", path.string(),
         std::strerror(written ? errno : code));
}

}  // namespace pneuma
