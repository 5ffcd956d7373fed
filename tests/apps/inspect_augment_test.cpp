// inspect_cxr augment: the sheet holds what the loader draws and the reference makes of it.
#include <cstring>

#include "apps/common/train_data.h"
#include "data/write_png.h"
#include "engine/host_values.h"
#include "engine/image_input.h"
#include "kernels/reference/table.h"
#include "tests/program.h"

using namespace pneuma;
using testing::Ran;

namespace {

constexpr int kHeight = 32, kWidth = 40;

Image picture(int channels) {
  Image image{48, 64, channels, {}};
  for (int i = 0; i < 48 * 64 * channels; ++i)
    image.pixels.push_back(uint8_t(i / 64 * 3 + i % 64 * 2 + i % 7));
  return image;
}

// Epoch `epoch` of the picture, or the centre; [kHeight,kWidth,3].
std::vector<double> expected(const Image& image, const AugmentationSettings& s, uint32_t epoch) {
  Context ctx(reference_backend());
  ImageInput input(ctx, {{3, kHeight, kWidth}, {0, 0, 0}, {1, 1, 1}, 1, true});
  const Augmentation k = draw(s, image, kHeight, kWidth, Random(5, Purpose::augment, epoch));
  const AugmentItem item = item_of(k, s, image, 0);
  input.stage(image.pixels, std::span(&item, 1), {});
  return get_values(ctx, input.images(1));
}

}  // namespace

TEST_CASE("a sheet holds the centre, then a draw for each epoch") {
  testing::Temporary folder;
  for (const int channels : {1, 3}) {
    const Image image = picture(channels);
    write_png(folder / "in.png", image);
    const Ran ran = testing::run_program(
        "inspect_cxr", {"augment", (folder / "in.png").string(), "--image_shape", "3,32,40",
                        "--count", "6", "--columns", "3", "--seed", "5", "--border", "9",
                        "--gray_jitter", "0", "--output", (folder / "out.png").string()});
    REQUIRE_MESSAGE(ran.exit == 0, ran.err);
    const Image sheet = read_image(folder.path, "out.png");
    REQUIRE(sheet.height == 3 * (kHeight + 4) - 4);
    REQUIRE(sheet.width == 3 * (kWidth + 4) - 4);
    REQUIRE(sheet.channels == 3);
    for (int cell = 0; cell < 7; ++cell) {
      AugmentationSettings s{AugmentationType::crop_color_transform, true, false, 9};
      if (cell == 0) s = {};
      const std::vector<double> levels = expected(image, s, uint32_t(cell - !!cell));
      size_t apart = 0;
      for (int y = 0; y < kHeight; ++y)
        for (int x = 0; x < kWidth * 3; ++x) {
          const int row = cell / 3 * (kHeight + 4) + y, column = cell % 3 * (kWidth + 4) * 3 + x;
          apart += sheet.pixels[size_t(row * sheet.width * 3 + column)] !=
                   levels[size_t(y * kWidth * 3 + x)];
        }
      CAPTURE(cell);
      CHECK(apart == 0);
      const Augmentation k =
          draw(s, image, kHeight, kWidth, Random(5, Purpose::augment, uint32_t(cell - !!cell)));
      CHECK(ran.out.find(fmt::format("{:>4}: {}\n", cell, text_of(k))) != ran.out.npos);
    }
  }
}

TEST_CASE("what cannot be drawn is said") {
  testing::Temporary folder;
  write_png(folder / "in.png", picture(1));
  const auto run = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.begin(),
                {"augment", (folder / name).string(), "--output", (folder / "out.png").string()});
    return testing::run_program("inspect_cxr", more);
  };
  CHECK(run("gone.png", {}).said(3, "inspect_cxr", "no such file"));
  CHECK(run("in.png", {"--resize", "none"}).said(3, "inspect_cxr", "give a larger --resize"));
  CHECK(run("in.png", {"--augmentation_type", "colour"})
            .said(2, "inspect_cxr", "none|crop|crop_color|crop_color_transform"));
  CHECK(run("in.png", {"--border", "256"}).said(2, "inspect_cxr", "from 0 to 255"));
  CHECK(!std::filesystem::exists(folder / "out.png"));
}

TEST_CASE("settings of augmentation reach the loader; those without effect are said") {
  const auto resolved = [](std::vector<std::string> arguments, std::vector<std::string>* notes) {
    TrainSettings s;
    CLI::App app("", "train_cxr");
    add_train_flags(app, s);
    arguments.insert(arguments.end(), {"--data", "d", "--output", "o"});
    REQUIRE(cli::run(app, arguments, [&] { resolve(s, notes); }) == 0);
    return s;
  };
  std::vector<std::string> notes;
  const TrainSettings s = resolved({"--augmentation_type", "crop_color_transform", "--mirror", "0",
                                    "--gray_jitter", "0", "--border", "255"},
                                   &notes);
  const AugmentationSettings a = augmentation_of(s);
  CHECK(a.type == AugmentationType::crop_color_transform);
  CHECK(std::tuple(a.mirror, a.gray_jitter, a.border) == std::tuple(false, false, 255));
  CHECK(notes.empty());
  const nlohmann::json json = s;
  CHECK(json.at("gray_jitter") == false);
  CHECK(json.at("border") == 255);

  resolved({"--mirror", "0", "--gray_jitter", "0", "--border", "0"}, &notes);
  CHECK(notes.size() == 3);
  notes.clear();
  const TrainSettings one = resolved(
      {"--augmentation_type", "crop_color", "--image_shape", "1,64,64", "--gray_jitter", "0"},
      &notes);
  CHECK(augmentation_of(one).gray_jitter);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("--gray_jitter 0 has no effect") == 0);
}
