#include "apps/report/report.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "apps/report/chart.h"
#include "engine/error.h"
#include "engine/io/atomic_file.h"

namespace pneuma {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = size_t{1} << 30;
constexpr size_t kMostPoints = 400;  // of the curve of step losses

// AUC of the published recipe (AWS Machine Learning Blog, "Classifying high-resolution chest x-ray
// medical images with Amazon SageMaker"): ResNet-50 at 224, weighted, weighted and mixed precision,
// weighted at 896. One number of the first row is missing there. Its split by patient is `--split
// published`.
struct Published {
  const char* finding;
  std::array<double, 4> auc;  // 0: not given
};
constexpr std::array<Published, 15> kPublished{{{"Atelectasis", {.772, 0, .799, .800}},
                                                {"Cardiomegaly", {.859, .899, .906, .884}},
                                                {"Effusion", {.830, .873, .873, .873}},
                                                {"Infiltration", {.626, .693, .691, .698}},
                                                {"Mass", {.791, .839, .834, .821}},
                                                {"Nodule", {.716, .743, .751, .817}},
                                                {"Pneumonia", {.645, .710, .713, .739}},
                                                {"Pneumothorax", {.778, .836, .862, .878}},
                                                {"Consolidation", {.695, .791, .789, .785}},
                                                {"Edema", {.799, .849, .863, .879}},
                                                {"Emphysema", {.850, .889, .909, .933}},
                                                {"Fibrosis", {.764, .791, .811, .822}},
                                                {"Pleural_Thickening", {.726, .758, .761, .785}},
                                                {"Hernia", {.903, .929, .940, .911}},
                                                {"macro", {.768, .814, .821, .830}}}};

std::optional<Json> read_json(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    return Json::parse(read_file(file, kMostBytes));
  } catch (const Json::exception& error) {
    fail(Exit::data, "{}: is no JSON: {}", file.string(), error.what());
  }
}

struct Curves {
  Line step_loss{"training loss of a step", {}}, train{"training loss", {}},
      validation{"validation loss", {}}, auc{"validation macro AUC", {}},
      loss_scale{"log2 of the loss scale", {}};
  int64_t skipped = 0;  // steps
};

Curves read_metrics(const fs::path& file) {
  Curves c;
  if (!fs::exists(file)) return c;
  std::istringstream lines(read_file(file, kMostBytes));
  int64_t number = 0;
  std::map<int64_t, Json> epochs;  // a later line of an epoch replaces an earlier one
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const Json j = Json::parse(line, nullptr, false);
    if (!j.is_object()) fail(Exit::data, "{}:{}: is no JSON object", file.string(), number);
    if (j.value("event", "") == "step") {
      const double step = j.value("step", 0.0);
      if (j["loss"].is_number()) c.step_loss.points.emplace_back(step, j["loss"].get<double>());
      c.loss_scale.points.emplace_back(step, std::log2(j.value("loss_scale", 1.0)));
      c.skipped = j.value("skipped", int64_t{0});
    } else if (j.value("event", "") == "epoch") {
      epochs[j.value("epoch", int64_t{0})] = j;
    }
  }
  for (const auto& [epoch, j] : epochs) {
    const auto add = [&, x = double(epoch)](Line& line, const char* key) {
      if (j.contains(key) && j[key].is_number()) line.points.emplace_back(x, j[key].get<double>());
    };
    add(c.train, "train_loss");
    add(c.validation, "validation_loss");
    add(c.auc, "validation_auc");
  }
  return c;
}

// Means of neighbours, so that a long run stays a small page.
Line thinned(Line line) {
  const size_t group = (line.points.size() + kMostPoints - 1) / kMostPoints;
  if (group <= 1) return line;
  Line out{fmt::format("{} (means of {})", line.name, group), {}};
  for (size_t i = 0; i < line.points.size(); i += group) {
    const size_t end = std::min(i + group, line.points.size());
    double x = 0, y = 0;
    for (size_t k = i; k < end; ++k) x += line.points[k].first, y += line.points[k].second;
    out.points.emplace_back(x / double(end - i), y / double(end - i));
  }
  return out;
}

std::string auc_text(const Json& v) {
  return v.is_number() ? fmt::format("{:.3f}", v.get<double>()) : "n/a";
}

std::string published_cells(const std::string& finding) {
  std::string cells;
  for (size_t column = 0; column < 4; ++column) {
    double value = 0;
    for (const Published& p : kPublished) {
      if (p.finding == finding) value = p.auc[column];
    }
    cells +=
        fmt::format("<td class=\"pub\">{}</td>", value > 0 ? fmt::format("{:.3f}", value) : "");
  }
  return cells;
}

std::string auc_table(const Json& auc) {
  std::string s =
      "<h2>Area under the ROC curve</h2><div "
      "class=\"table\"><table><tr><th>Finding</th><th>AUC</th><th>95 % interval"
      "</th><th>Positives</th><th>Negatives</th><th>Published 224</th><th>224 weighted</th><th>224 "
      "weighted, mixed"
      "</th><th>896 weighted</th></tr>";
  for (const Json& c : auc.at("classes")) {
    const std::string name = c.at("name").get<std::string>();
    const bool defined = c.at("auc").is_number();
    s += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>{}</tr>",
                     escape_html(name), auc_text(c["auc"]),
                     defined ? auc_text(c.at("ci_low")) + " to " + auc_text(c.at("ci_high")) : "",
                     c.at("positives").dump(), c.at("negatives").dump(), published_cells(name));
  }
  s += fmt::format(
      "<tr class=\"total\"><td>Mean of "
      "{}</td><td>{}</td><td></td><td></td><td></td>{}</tr></table></div>",
      auc.at("classes_counted").dump(), auc_text(auc.at("macro_auc")), published_cells("macro"));
  return s + fmt::format(
                 "<p class=\"sub\">{}. The published columns are of the NIH's images at the "
                 "published split; "
                 "figures of other images or splits stand beside them, not against them.</p>",
                 escape_html(auc.value("method", "")));
}

// A value as people read it; of an object the plain values alone.
std::string plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return value.empty() ? "" : value.dump();
  std::string text;
  for (const auto& [name, v] : value.items()) {
    if (!v.is_structured())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", plain(v), name);
  }
  return text;
}

std::string settings_table(const char* title, const Json& values) {
  std::string s = fmt::format("<h2>{}</h2><div class=\"table\"><table class=\"settings\">", title);
  for (const auto& [name, value] : values.items()) {
    const std::string text = plain(value);
    if (!text.empty())
      s += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escape_html(name), escape_html(text));
  }
  return s + "</table></div>";
}

}  // namespace

void write_report(const fs::path& folder) {
  const std::optional<Json> settings = read_json(folder / "settings.json"),
                            split = read_json(folder / "split.json"),
                            auc = read_json(folder / "auc.json");
  const Curves curves = read_metrics(folder / "metrics.jsonl");
  const auto card = [](const std::string& value, const std::string& what) {
    return fmt::format("<div class=\"card\"><b>{}</b><span>{}</span></div>", escape_html(value),
                       escape_html(what));
  };
  std::string cards;
  if (auc) {
    cards += card(auc_text(auc->at("macro_auc")), "macro AUC, " + auc->value("set", "") + " set") +
             card(auc->at("images").dump(), "images") +
             card(auc->at("classes_counted").dump(), "findings counted");
  }
  if (settings) {
    cards += card(fmt::format("ResNet-{}", settings->value("num_layers", 0)),
                  settings->value("precision_dtype", "")) +
             card(settings->value("image_shape", ""), "image shape");
  }
  if (!curves.train.points.empty())
    cards += card(std::to_string(curves.train.points.size()), "epochs");
  if (curves.skipped > 0) cards += card(fmt::format("{}", curves.skipped), "steps skipped");

  std::string charts = line_chart("Loss by epoch", "epoch", {curves.train, curves.validation}) +
                       line_chart("Macro AUC by epoch", "epoch", {curves.auc}) +
                       line_chart("Loss by step", "step", {thinned(curves.step_loss)});
  if (settings && settings->value("loss_scale", "") == "dynamic")
    charts += line_chart("Loss scale by step", "step", {thinned(curves.loss_scale)});
  if (!charts.empty()) charts = "<h2>Training</h2><div class=\"charts\">" + charts + "</div>";

  Json split_rows = split.value_or(Json::object());
  if (split && split->contains("sets")) {
    split_rows.update(split->at("sets"));
    split_rows.erase("sets");
  }
  const std::string title =
      auc ? "Pneuma: " + auc->value("set", "") + " report" : "Pneuma: training report";
  write_file_atomically(
      folder / "report.html",
      html_page(title, fs::absolute(folder).lexically_normal().string(),
                "<div class=\"cards\">" + cards + "</div>" + (auc ? auc_table(*auc) : "") + charts +
                    (split ? settings_table("Split by patient", split_rows) : "") +
                    (settings ? settings_table("Settings", *settings) : "")));
}

}  // namespace pneuma
