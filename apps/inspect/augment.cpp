#include "apps/inspect/augment.h"

#include "apps/common/contact_sheet.h"
#include "apps/common/device.h"
#include "apps/common/train_data.h"
#include "data/write_png.h"
#include "engine/host_values.h"
#include "engine/image_input.h"

namespace pneuma::inspect {

CLI::App* add_augment_command(CLI::App& app, AugmentSettings& s) {
  s.augmentation_type = "crop_color_transform", s.device = "cpu";
  CLI::App* c = app.add_subcommand("augment", "Draw what training would make of a picture");
  c->add_option("image", s.data, "A picture")->required();
  c->add_option("--output", s.output, "The sheet, a PNG file")->required();
  c->add_option("--count", s.count, "Draws")->check(cli::in_range(1, 200));
  c->add_option("--columns", s.columns, "Pictures in a row")->check(cli::in_range(1, 100));
  add_train_flags(*c, s,
                  {"augmentation_type", "image_shape", "resize", "mirror", "gray_jitter", "border",
                   "seed", "device"});
  return c;
}

void draw_sheet(AugmentSettings s) {
  std::vector<std::string> notes;
  resolve(s, &notes);
  for (const std::string& note : notes) fmt::print("note: {}\n", note);
  const std::filesystem::path path = s.data;
  const TrainData data{{path.parent_path(), {{path.filename(), {0}, ""}}, 1, {"none"}}, {}, {}};
  const ModelInfo info = model_info_of(s, data);
  const auto& [channels, height, width] = info.image_shape;

  Context ctx(device_named(s.device, s.threads));
  ImageInput input(ctx, {info.image_shape, {0, 0, 0}, {1, 1, 1}, 1, true});  // levels as they are
  LoaderSettings loaded = evaluation_loader(info, s.threads, OnBadImage::fail);
  loaded.seed = s.seed, loaded.cache_bytes = size_t{1} << 28;  // decode it once
  std::vector<Image> cells;
  for (const int epochs : {1, s.count}) {  // the first as validation sees it
    Loader loader(data.train, Sampler(1, 1, s.seed, false, LastBatch::drop), loaded, 0, 0, epochs);
    while (const auto batch = loader.next()) {
      input.stage(batch->pixels, batch->items, {});
      const std::vector<double> levels = get_values(ctx, input.images(1));
      const AugmentItem& item = batch->items[0];
      const Image whole{item.height, item.width, item.channels, {}};
      fmt::print("{:>4}: {}\n", cells.size(),
                 text_of(draw(loaded.augmentation, whole, height, width,
                              {s.seed, Purpose::augment, uint32_t(batch->epoch)})));
      cells.push_back({height, width, channels, {levels.begin(), levels.end()}});
    }
    loaded.augmentation = augmentation_of(s);
  }
  write_png(s.output, contact_sheet(cells, s.columns));
}

}  // namespace pneuma::inspect
