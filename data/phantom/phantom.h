// Phantoms: synthetic images that look like frontal chest radiographs, with 14 drawn findings, laid
// out as a download from the NIH (images/ and Data_Entry_2017.csv). They let the whole job run, and
// be checked, where no data is at hand. They are drawings: what a network learns here says nothing
// about patients.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pneuma {

// Writes output/images/PPPPPPPP_FFF.png (patient, follow-up; size x size, 8-bit gray) and then
// output/Data_Entry_2017.csv with one row an image, in order of patient. A patient has one to six
// images, which share his anatomy and most of his findings. The same seed, patients and size give
// the same bytes on any number of threads. The CSV comes last, under its name only when whole, so a
// folder without it is an interrupted run.
// progress(done, total) counts patients; it is called from one thread at a time.
// Throws Exit::usage for a setting out of range and for an output that is not empty,
// Exit::environment where a file cannot be written.
void write_phantoms(const std::filesystem::path& output, int patients, int size, uint64_t seed,
                    int threads, const std::function<void(int done, int total)>& progress = {});

}  // namespace pneuma
