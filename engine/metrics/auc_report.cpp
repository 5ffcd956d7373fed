#include "engine/metrics/auc_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace pneuma {

std::string auc_json(const std::string& set, size_t images, const AucTable& table,
                     const std::vector<std::string>& findings) {
  using Json = nlohmann::ordered_json;
  const auto number = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  Json classes = Json::array();
  for (size_t c = 0; c < findings.size(); ++c) {
    const AucResult& r = table.classes[c];
    classes.push_back({{"name", findings[c]},
                       {"auc", number(r.auc)},
                       {"ci_low", r.auc ? Json(r.ci_low) : Json(nullptr)},
                       {"ci_high", r.auc ? Json(r.ci_high) : Json(nullptr)},
                       {"positives", r.positives},
                       {"negatives", r.negatives}});
  }
  const Json all = {{"set", set},
                    {"images", images},
                    {"macro_auc", number(table.macro_auc)},
                    {"classes_counted", table.classes_counted},
                    {"method", kAucMethod},
                    {"classes", classes}};
  return all.dump(1) + "\n";
}

std::string auc_text(const AucTable& table, const std::vector<std::string>& findings) {
  std::string text;
  for (size_t c = 0; c < findings.size(); ++c) {
    const AucResult& r = table.classes[c];
    text += r.auc ? fmt::format("{:<20} {:.3f}  ({:.3f} to {:.3f})", findings[c], *r.auc, r.ci_low,
                                r.ci_high)
                  : fmt::format("{:<20} n/a                    ", findings[c]);
    text += fmt::format("  {:>6} positives {:>6} negatives\n", r.positives, r.negatives);
  }
  return text + (table.macro_auc ? fmt::format("macro AUC {:.4f} over {} findings\n",
                                               *table.macro_auc, table.classes_counted)
                                 : "no finding has positives and negatives, so there is no AUC\n");
}

}  // namespace pneuma
