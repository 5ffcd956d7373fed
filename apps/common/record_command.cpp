#include "apps/common/record_command.h"

#include <memory>
#include <thread>

#include "apps/common/stop_signal.h"
#include "data/record/make_records.h"
#include "engine/error.h"

namespace pneuma {
namespace {

struct Settings {
  std::string list, root, out, encoding = ".jpg", on_bad_image = "fail";
  bool no_shuffle = false;
  RecordOptions options;
  CLI::App* command = nullptr;
};

// Fills in what depends on which flags were given, and says what follows from them.
void resolve(Settings& s) {
  RecordOptions& o = s.options;
  const auto given = [&](const char* name) { return s.command->get_option(name)->count() > 0; };
  if (!s.out.ends_with(".rec") || s.out.ends_with("/.rec") || s.out == ".rec")
    fail(Exit::usage, "'{}': the name of the records must end in .rec", s.out);
  if (given("--shuffle") && given("--no_shuffle") && o.shuffle == s.no_shuffle)
    fail(Exit::usage, "--shuffle and --no_shuffle contradict each other; give one of them");
  if (given("--no_shuffle") && !given("--shuffle")) o.shuffle = !s.no_shuffle;
  o.skip_bad = s.on_bad_image == "skip";
  o.png = s.encoding == ".png";
  std::string because;
  for (const char* name : {"--resize", "--center_crop", "--quality", "--encoding", "--color"})
    if (given(name) && (name != std::string("--resize") || o.resize > 0) &&
        (name != std::string("--center_crop") || o.center_crop))
      because += (because.empty() ? "" : ", ") + std::string(name);
  if (!because.empty() && given("--pass_through") && o.pass_through)
    fail(Exit::usage, "--pass_through keeps the files' own bytes, which {} would change; give one",
         because);
  if (!because.empty()) o.pass_through = false;
  if (o.pass_through) return;
  if (o.png && !given("--quality")) o.quality = 6;
  if (o.png && o.quality > 9)
    fail(Exit::usage, "--quality {}: for .png it is a number from 1 to 9", o.quality);
  fmt::print("images are encoded anew as {}, quality {} (because of {})\n", s.encoding, o.quality,
             because.empty() ? "--pass_through 0" : because);
}

void report(const Settings& s, const RecordsMade& made) {
  const RecordOptions& o = s.options;
  for (const std::string& why : made.skipped) fmt::print("left out: {}\n", why);
  int64_t records = 0;
  for (const RecordsMade::File& file : made.files) {
    records += file.records;
    fmt::print("{}: {} records, {} bytes, {} bytes an image\n", file.path.string(), file.records,
               file.bytes, file.bytes / uint64_t(file.records));
  }
  if (made.labels > 1 && !o.pack_label)
    fmt::print(
        "note: the list has {} labels a line and only the first is in the records; "
        "--pack_label keeps all\n",
        made.labels);
  const std::string sample = fmt::format("{:.2f} gray levels off on average ({} images sampled)",
                                         made.sample_difference, made.sampled);
  if (o.pass_through)
    fmt::print(
        "lossless: the files' own bytes ({}); as JPEG of quality 95, im2rec's default, they "
        "would take {:.0f} % of that, and pixels would be {}\n",
        made.own_bytes, 100 * made.sample_ratio, sample);
  else
    fmt::print("{} bytes of images where the files have {} ({:.0f} %); {}\n", made.kept_bytes,
               made.own_bytes, 100. * double(made.kept_bytes) / double(made.own_bytes),
               o.png ? "lossless: PNG keeps every pixel" : "pixels are " + sample);
  if (!made.skipped.empty())
    fmt::print("{} images packed, {} left out\n", records, made.skipped.size());
}

}  // namespace

std::function<void()> add_record_command(CLI::App& app,
                                         std::function<void(int64_t, int64_t)> progress) {
  const auto settings = std::make_shared<Settings>();
  Settings& s = *settings;
  RecordOptions& o = s.options;
  o.threads = int(std::max(1u, std::thread::hardware_concurrency()));
  CLI::App& c =
      *app.add_subcommand("record", "Pack the images of a .lst into records (.rec, .idx)");
  s.command = &c;
  c.add_option("list", s.list, "the .lst: index, labels, path")->required();
  c.add_option("root", s.root, "the folder that its paths start from")->required();
  c.add_option("out", s.out, "OUT.rec; OUT.idx comes beside it")->required();
  cli::add_switch(c, "--pack_label,--pack-label", o.pack_label,
                  "keep all labels of a line, not the first alone");
  cli::add_switch(c, "--pass_through,--pass-through", o.pass_through,
                  "keep the files' own bytes; the five flags below turn it off");
  c.add_option("--resize", o.resize, "the shorter edge in pixels; 0: as it is")
      ->check(cli::in_range(0, 16384))
      ->capture_default_str();
  cli::add_switch(c, "--center_crop,--center-crop", o.center_crop,
                  "cut the middle square out, before resizing");
  c.add_option("--quality", o.quality, "of .jpg 1 to 100 (95); of .png 1 to 9 (6)")
      ->check(cli::in_range(1, 100));
  c.add_option("--encoding", s.encoding, ".jpg or .png")
      ->check(CLI::IsMember({".jpg", ".png"}))
      ->capture_default_str();
  c.add_option("--color", o.color, "1: RGB, 0: gray, -1: as the file is")
      ->check(CLI::IsMember({-1, 0, 1}))
      ->capture_default_str();
  c.add_option("--num_thread,--num-thread", o.threads, "changes no byte")
      ->check(cli::in_range(1, 1024))
      ->capture_default_str();
  c.add_option("--chunks", o.chunks, "files OUT_0.rec, OUT_1.rec ... of equal size")
      ->check(cli::in_range(1, 400))
      ->capture_default_str();
  c.add_option("--train_ratio,--train-ratio", o.train_ratio,
               "below 1: OUT_train.rec, and OUT_val.rec with what is left")
      ->check(cli::in_range(0, 1))
      ->capture_default_str();
  c.add_option("--test_ratio,--test-ratio", o.test_ratio, "above 0: OUT_test.rec")
      ->check(cli::in_range(0, 1))
      ->capture_default_str();
  cli::add_switch(c, "--shuffle", o.shuffle, "shuffle the list first, always in the same way");
  cli::add_switch(c, "--no_shuffle,--no-shuffle", s.no_shuffle,
                  "keep the list's order, as is the default here and with im2rec's lists");
  c.add_option("--on_bad_image,--on-bad-image", s.on_bad_image, "fail, or skip it and say so")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
  return [settings, progress] {
    if (!*settings->command) return;
    resolve(*settings);
    const Settings& s = *settings;
    report(s, make_records(s.list, s.root, s.out, s.options, progress, stop_on_signals()));
  };
}

}  // namespace pneuma
