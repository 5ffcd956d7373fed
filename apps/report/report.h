// report.html: one page, no other file and no network needed, of what a run's folder says of
// itself.
#pragma once

#include <filesystem>

namespace pneuma {

// Reads settings.json, split.json, metrics.jsonl and auc.json of `folder`, as far as they are
// there, and writes report.html beside them. Throws Exit::data where one of them is damaged,
// Exit::environment where it cannot write.
void write_report(const std::filesystem::path& folder);

}  // namespace pneuma
