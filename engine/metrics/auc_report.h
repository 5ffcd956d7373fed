// AUCs as texts: auc.json of a run, and lines for people.
#pragma once

#include <string>
#include <vector>

#include "engine/metrics/auc.h"

namespace pneuma {

// {"set", "images", "macro_auc", "classes_counted", "method", "classes": [{"name", "auc", "ci_low",
// "ci_high", "positives", "negatives"}]}; what is undefined is null. findings: one name a class.
std::string auc_json(const std::string& set, size_t images, const AucTable&,
                     const std::vector<std::string>& findings);

// A line each finding, and the mean.
std::string auc_text(const AucTable&, const std::vector<std::string>& findings);

}  // namespace pneuma
