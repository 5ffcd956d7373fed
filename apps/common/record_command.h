// prepare_cxr record LST ROOT OUT.rec: im2rec's options, under its own spelling (--pack-label) and
// ours (--pack_label).
#pragma once

#include <functional>

#include "apps/common/cli.h"

namespace pneuma {

// Adds the sub-command; what comes back carries it out. It keeps the settings, so it must outlive
// the parsing. progress(done, total) counts images.
std::function<void()> add_record_command(CLI::App& app,
                                         std::function<void(int64_t, int64_t)> progress);

}  // namespace pneuma
