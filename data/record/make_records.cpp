#include "data/record/make_records.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>

#include "data/lst.h"
#include "data/open_below.h"
#include "data/parallel.h"
#include "data/record/encode.h"
#include "data/record/record_writer.h"
#include "data/resize.h"
#include "engine/error.h"
#include "engine/random.h"

namespace pneuma {
namespace {

constexpr size_t kSamples = 16;
constexpr size_t kAhead = 8;  // images of each thread that are in memory at once

Image in_color(Image in, int color) {
  if (color < 0 || in.channels == (color == 1 ? 3 : 1)) return in;
  Image out{in.height, in.width, color == 1 ? 3 : 1, {}};
  for (size_t i = 0; i < in.pixels.size(); i += size_t(in.channels)) {
    const uint8_t* p = &in.pixels[i];
    if (color == 1)
      out.pixels.insert(out.pixels.end(), 3, p[0]);
    else  // libpng's 0.299 R + 0.587 G + 0.114 B in 15 bits, cut off: how OpenCV reads gray
      out.pixels.push_back(uint8_t((9797 * p[0] + 19234 * p[1] + 3737 * p[2]) >> 15));
  }
  return out;
}

Image centre_square(const Image& in) {
  const int side = std::min(in.height, in.width), c = in.channels;
  const int64_t top = (in.height - side) / 2, left = (in.width - side) / 2;
  Image out{side, side, c, {}};
  for (int64_t y = top; y < top + side; ++y) {
    const auto row = in.pixels.begin() + (y * in.width + left) * c;
    out.pixels.insert(out.pixels.end(), row, row + int64_t{side} * c);
  }
  return out;
}

// One image on its way from a thread to the file.
struct Made {
  std::string record;
  uint64_t own_bytes = 0, kept_bytes = 0;
  std::optional<double> ratio, difference;  // of a sample
  std::optional<Error> fault;
};

Made make(const ListEntry& entry, const std::filesystem::path& root, const RecordOptions& o,
          bool sample) {
  const std::string name = (root / entry.path).string();
  const std::vector<std::byte> file = read_file_below(root, entry.path, kMaxImageFile);
  Image image = decode_image(file, name);
  if (!o.pass_through) {
    image = in_color(std::move(image), o.color);
    if (o.center_crop) image = centre_square(image);
    if (o.resize > 0) image = resize_shorter_side(image, o.resize, ResizeFilter::opencv);
  }
  std::string encoded;
  if (!o.pass_through || sample)
    encoded = o.png ? encode_png(image, o.quality) : encode_jpeg(image, o.quality);
  const std::string_view own(reinterpret_cast<const char*>(file.data()), file.size());
  const std::string_view kept = o.pass_through ? own : std::string_view(encoded);
  Made made{image_header(entry.index, entry.labels, o.pack_label).append(kept), own.size(),
            kept.size()};
  if (sample) {
    const Image seen = in_color(decode_image(std::as_bytes(std::span(encoded)), name),
                                image.channels == 3 ? 1 : -1);
    int64_t sum = 0;
    for (size_t i = 0; i < image.pixels.size(); ++i)
      sum += std::abs(image.pixels[i] - seen.pixels[i]);
    made.ratio = double(encoded.size()) / double(own.size());
    made.difference = double(sum) / double(image.pixels.size());
  }
  return made;
}

Made make_or_fault(const ListEntry& entry, const std::filesystem::path& root,
                   const RecordOptions& options, bool sample) {
  Made made;
  try {
    return make(entry, root, options, sample);
  } catch (const Error& error) {
    made.fault = error;
  } catch (const std::bad_alloc&) {
    made.fault.emplace(Exit::environment, "out of memory; use fewer threads");
  }
  return made;
}

std::vector<ListEntry> read_entries(const std::filesystem::path& list, bool shuffled) {
  std::vector<ListEntry> entries = read_list(list);
  std::set<int64_t> indices;
  for (const ListEntry& entry : entries)
    if (entry.index < 0 || !indices.insert(entry.index).second)
      fail(Exit::data, "{}: the index {} {}; give each image a number of its own, 0 or more",
           list.string(), entry.index, entry.index < 0 ? "is negative" : "stands there twice");
  if (shuffled) shuffle(entries, Random(100, Purpose::shuffle));
  return entries;
}

}  // namespace

std::vector<RecordPart> record_parts(size_t count, const RecordOptions& o) {
  const double sum = o.train_ratio + o.test_ratio, rounding = 1e-9;
  if (sum > 1 + rounding)
    fail(Exit::usage, "--train_ratio {} and --test_ratio {} sum to more than 1", o.train_ratio,
         o.test_ratio);
  const size_t size = (count + size_t(o.chunks) - 1) / size_t(o.chunks);
  const auto test = size_t(double(size) * o.test_ratio);
  const auto train = sum > 1 - rounding ? size : size_t(double(size) * o.train_ratio);
  std::vector<RecordPart> parts;
  for (size_t chunk = 0; chunk < size_t(o.chunks); ++chunk) {
    const size_t first = std::min(count, chunk * size), last = std::min(count, first + size);
    const size_t tested = std::min(last, first + test), trained = std::min(last, tested + train);
    const auto add = [&](const char* name, size_t begin, size_t end) {
      const std::string suffix = (o.chunks > 1 ? fmt::format("_{}", chunk) : "") + name;
      if (begin == end)
        fail(Exit::usage,
             "the file of suffix '{}' would hold none of the list's {} images; ask for fewer "
             "chunks or other ratios",
             suffix, count);
      parts.push_back({suffix, begin, end});
    };
    if (o.train_ratio < 1 && o.test_ratio > 0) add("_test", first, tested);
    add(o.train_ratio < 1 ? "_train" : "", tested, trained);
    if (trained < last) add("_val", trained, last);
  }
  return parts;
}

RecordsMade make_records(const std::filesystem::path& list, const std::filesystem::path& root,
                         const std::filesystem::path& out, const RecordOptions& options,
                         const std::function<void(int64_t, int64_t)>& progress,
                         const std::function<int()>& stop) {
  const std::vector<ListEntry> entries = read_entries(list, options.shuffle);
  const size_t count = entries.size(), every = (count + kSamples - 1) / kSamples;
  const std::vector<RecordPart> parts = record_parts(count, options);
  std::vector<std::unique_ptr<RecordWriter>> writers;
  for (const RecordPart& part : parts) {
    std::filesystem::path path = out;
    path.replace_filename(out.stem().string() + part.suffix + ".rec");
    writers.push_back(std::make_unique<RecordWriter>(path));
  }
  RecordsMade result;
  result.labels = entries[0].labels.size();
  const auto take = [&](size_t i, const Made& made, RecordWriter& writer) {
    if (made.fault) {
      const std::string why =
          fmt::format("{}, index {}: {}", list.string(), entries[i].index, made.fault->what());
      if (!options.skip_bad || made.fault->exit() != Exit::data)
        throw Error(made.fault->exit(), why);
      result.skipped.push_back(why);
      return;
    }
    writer.add(entries[i].index, made.record);
    result.own_bytes += made.own_bytes;
    result.kept_bytes += made.kept_bytes;
    if (!made.ratio) return;
    const double n = ++result.sampled;
    result.sample_ratio += (*made.ratio - result.sample_ratio) / n;
    result.sample_difference += (*made.difference - result.sample_difference) / n;
  };

  // A block of images at a time: made by all threads in any order, taken by this one in the list's.
  std::vector<Made> block(std::min(count, kAhead * size_t(options.threads)));
  size_t part = 0;
  for (size_t begin = 0; begin < count; begin += block.size()) {
    const size_t end = std::min(count, begin + block.size());
    for_each_on_threads(begin, end, options.threads, [&](size_t i) {
      block[i - begin] = make_or_fault(entries[i], root, options, i % every == 0);
    });
    for (size_t i = begin; i < end; ++i) {
      while (i == parts[part].end) ++part;
      take(i, block[i - begin], *writers[part]);
      if (progress) progress(int64_t(i) + 1, int64_t(count));
    }
    if (const int code = stop ? stop() : 0)
      fail(Exit(code), "stopped after {} of {} images; nothing was written", end, count);
  }
  for (const auto& writer : writers)
    if (writer->records() == 0)
      fail(Exit::data, "{} would hold nothing, all its images are bad; the first: {}",
           writer->path().string(), result.skipped[0]);
  for (const auto& writer : writers) {
    writer->commit();
    result.files.push_back({writer->path(), writer->records(), writer->bytes()});
  }
  return result;
}

}  // namespace pneuma
