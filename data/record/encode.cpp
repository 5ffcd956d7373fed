#include "data/record/encode.h"

#include <spng.h>

#include <csetjmp>
#include <cstdlib>
#include <memory>

#include "engine/error.h"

// clang-format off
#include <cstdio>     // jpeglib.h uses FILE and size_t without including them
#include <jpeglib.h>
// clang-format on

namespace pneuma {
namespace {

// libjpeg reports errors by longjmp, so `compress` holds nothing that needs a destructor.
struct Encoder {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX] = "";
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  ~Encoder() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* encoder = static_cast<Encoder*>(info->client_data);
  info->err->format_message(info, encoder->message);
  std::longjmp(encoder->escape, 1);
}

bool compress(Encoder& e, const Image& image, int quality) {
  e.info.err = jpeg_std_error(&e.errors);
  e.errors.error_exit = leave;
  e.info.client_data = &e;
  if (setjmp(e.escape)) return false;
  jpeg_create_compress(&e.info);
  jpeg_mem_dest(&e.info, &e.bytes, &e.size);
  e.info.image_width = JDIMENSION(image.width);
  e.info.image_height = JDIMENSION(image.height);
  e.info.input_components = image.channels;
  e.info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&e.info);
  jpeg_set_quality(&e.info, quality, TRUE);
  jpeg_start_compress(&e.info, TRUE);
  const size_t stride = size_t(image.width) * size_t(image.channels);
  while (e.info.next_scanline < e.info.image_height) {
    auto* row = const_cast<uint8_t*>(image.pixels.data() + e.info.next_scanline * stride);
    jpeg_write_scanlines(&e.info, &row, 1);
  }
  jpeg_finish_compress(&e.info);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality) {
  Encoder e;
  if (!compress(e, image, quality))
    fail(Exit::environment, "a JPEG cannot be made ({}); free some memory", e.message);
  return {reinterpret_cast<const char*>(e.bytes), e.size};
}

std::string encode_png(const Image& image, int level) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER),
                                                                    spng_ctx_free);
  if (!context) throw std::bad_alloc();
  spng_ihdr header{};
  header.width = uint32_t(image.width);
  header.height = uint32_t(image.height);
  header.bit_depth = 8;
  header.color_type = image.channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE : SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(context.get(), &header);
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_option(context.get(), SPNG_IMG_COMPRESSION_LEVEL, level);
  int error = spng_encode_image(context.get(), image.pixels.data(), image.pixels.size(),
                                SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  const std::unique_ptr<void, decltype(&std::free)> bytes(
      error ? nullptr : spng_get_png_buffer(context.get(), &size, &error), std::free);
  if (error)
    fail(Exit::environment, "a PNG cannot be made ({}); free some memory", spng_strerror(error));
  return {static_cast<const char*>(bytes.get()), size};
}

}  // namespace pneuma
