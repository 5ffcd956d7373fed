// Packs the images of a list into records, as im2rec.py does from a .lst; the same bytes whatever
// the number of threads.
//
// Where we mean to differ from im2rec: files pass through unchanged unless something else is asked;
// every image is decoded first, and one that is damaged, missing or outside of the root, like a
// malformed line, stops the work (or is left out and named); indices must differ and not be
// negative; color -1 keeps gray or colour, but no transparency; 16 bits become 8 by rounding; a
// colour JPEG turned gray may be a level off, because it is RGB in between.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace pneuma {

struct RecordOptions {
  bool pack_label = false;   // all labels of a line, else the first alone
  bool pass_through = true;  // the files' own bytes; else what follows, in this order
  int color = 1;             // 1 RGB, 0 gray, -1 as the file is
  bool center_crop = false;  // to a square
  int resize = 0;            // the shorter edge; the other one is rounded down
  bool png = false;          // else JPEG
  int quality = 95;          // of JPEG 1 to 100; of PNG 1 (quick) to 9 (small)
  int chunks = 1;            // files _0, _1 ... of equal size; the last one may be smaller
  double train_ratio = 1;    // below 1 each chunk becomes _test, _train and _val in this order; the
  double test_ratio = 0;     // first two take their share, rounded down, _val what is left
  bool shuffle = false;      // the list first, always in the same way
  bool skip_bad = false;     // leave out images that cannot be used
  int threads = 1;
};

struct RecordPart {  // a run of the list that becomes one file
  std::string suffix;
  size_t begin, end;
};

// The parts of a list of `count` images, which cover it in order. Where the ratios sum to 1, what
// rounding leaves over goes to training (im2rec drops it). Exit::usage when a file would be empty.
std::vector<RecordPart> record_parts(size_t count, const RecordOptions& options);

struct RecordsMade {
  struct File {
    std::filesystem::path path;
    int64_t records;
    uint64_t bytes;
  };
  std::vector<File> files;
  std::vector<std::string> skipped;        // why, with the place in the list
  size_t labels = 0;                       // on each line of the list
  uint64_t own_bytes = 0, kept_bytes = 0;  // of the image files; of the images in the records
  // Of some images spread over the list, encoded (where files pass through: as JPEG of `quality`):
  int sampled = 0;
  double sample_ratio = 0;       // their bytes by the files' own, mean
  double sample_difference = 0;  // distance from the picture before it was encoded, levels, mean
};

// Writes OUT.rec and OUT.idx, or one pair a part. Files of these names are replaced when all are
// complete; before that nothing is left behind. stop() is asked between images; its exit code, if
// not 0, ends the work. progress(done, total) is called on this thread. Throws Exit::data for the
// list and the images.
RecordsMade make_records(const std::filesystem::path& list, const std::filesystem::path& root,
                         const std::filesystem::path& out, const RecordOptions& options,
                         const std::function<void(int64_t, int64_t)>& progress = {},
                         const std::function<int()>& stop = {});

}  // namespace pneuma
