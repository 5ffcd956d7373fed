#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "apps/inspect/precision.h"
#include "apps/report/chart.h"

namespace pneuma::inspect {
namespace {

// Colours: z becomes 0, s subnormal, n normal, o overflows; z0 to z4: from most of it to a trace.
constexpr const char* kPageStyle = R"(
h2{margin-top:46px}p{max-width:84ch}ul.main li{margin:7px 0;max-width:96ch;font-size:16px}svg{display:block}sup{line-height:0}
.z{fill:#2f6fb3}.s{fill:#e0a526}.n{fill:#3a8f4d}.o{fill:#c8443c;background:#c8443c}.bars{fill:#1d2733;fill-opacity:.78}
.z0{fill:#1c4f87;background:#1c4f87}.z1{fill:#3f7fbf;background:#3f7fbf}.z2{fill:#75a8d8;background:#75a8d8}.z3{fill:#aecdea;background:#aecdea}.z4{fill:#dbe8f5;background:#dbe8f5}.s0{fill:#f9e6b8;background:#f9e6b8}
.wide,figure.heat{background:#fff;border:1px solid #dde3e9;border-radius:8px;padding:12px;overflow:hidden}.in{font:600 10px system-ui,sans-serif;fill:#fff}
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));align-items:start;margin:12px 0}.charts .heat svg{border:0}
.best{fill:none;stroke:#1d2733;stroke-width:1.5}.key i{display:inline-block;width:12px;height:12px;border-radius:2px;vertical-align:-1px;margin:0 6px 0 16px}
details{background:#fff;border:1px solid #dde3e9;border-radius:8px;margin:6px 0;padding:7px 14px}summary{cursor:pointer;font-weight:600}details .table{border:0}details td{white-space:normal}th,td{padding:5px 10px}
summary span{font-weight:400;color:#5b6875}.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:20px;margin:14px 0}
figure{margin:0}figcaption{font-size:13px;color:#5b6875;margin-bottom:4px}figcaption b{color:#1d2733}
.control{display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center;margin:0 0 10px}.control input{width:280px})";

// Moves the bars by the loss scale. The page says the same without it.
constexpr const char* kScript = R"js(<script>
(()=>{const bars=document.getElementById("bars"),lost=JSON.parse(document.getElementById("lost").textContent),box=document.createElement("div");
box.className="control";box.innerHTML='<label for="scale">Move the loss scale:</label><input id="scale" type="range" min="0" max="24" value="0"><output></output>';
const set=()=>{const k=+box.children[1].value;bars.setAttribute("transform","translate("+10*k+")");box.children[2].innerHTML="at 2<sup>"+k+"</sup> in float16 "+lost[k]};
box.addEventListener("input",set);set();bars.closest("div").prepend(box)})()</script>)js";

// In the order of the page.
constexpr const char* kPage = R"(<ul class="main">{}</ul>{}
<h2>Where the gradients lie</h2><p>All gradient values of the f64 run that a 16-bit policy stores in 16 bits, those of activations and those of weights, by the power of two of their size. The strips show what each format can hold. A loss scale multiplies every gradient and so moves all of them to the right: up to where the first one meets the red.</p>
<div class="wide">{}</div><script type="application/json" id="lost">{}</script>{}
<h2>What each loss scale loses</h2><div class="charts">{}</div><details><summary>All scales, both formats</summary>{}</details>
<p>Tensor by tensor, in float16. One scale serves the whole net, so the most extreme tensors decide: a single red cell in a column, and at that scale the step is skipped. The frame marks the scale that loses least.</p>
<p class="key">Become 0:<i class="z4"></i>a trace<i class="z3"></i>over 0.1 %<i class="z2"></i>1 %<i class="z1"></i>10 %<i class="z0"></i>half; <i class="s0"></i>none, but over 1 % subnormal<i class="o"></i>something overflows</p><div class="charts">{}</div>
<h2>How far from f64, layer by layer</h2><p>||t &minus; t64|| / ||t64|| in the first step, where all policies have the same weights and the same images. One down is one more bit that is right. A single rounding errs by up to 2<sup>&minus;24</sup> in float32, 2<sup>&minus;11</sup> in float16, 2<sup>&minus;8</sup> in bfloat16.</p><div class="charts">{}</div>
<p>Gradients err by more than a rounding: a value near 0 that lands on the other side of a ReLU, or another winner of a max pool, switches a whole path of the gradient. And steps add up: Adam's first updates go by the gradient's sign, so a tiny difference becomes a whole step, and even float32 leaves f64's path while the loss stays close.</p>{}
<h2>Updates that a 16-bit weight would not see</h2><p>The next bfloat16 after 1 is 1.0078: an update of 0.0005 is rounded away, in this step and in every later one. Lost: the share of updates for which a weight that is stored in 16 bits, without a float32 master, would stay what it was.</p>{}<div class="charts">{}</div>
<h2>The loss scale over the run</h2><p>It grows after so many clean steps as --loss_scale_interval says, here {}, and falls when a gradient has inf or nan; that step changes nothing. Here it is then taken again with the same images, so that every policy keeps pace with f64.</p><div class="charts">{}</div>
<h2>Memory</h2><p>Planned, without running it, for a step of {} (images, channels, height, width). 16 bits halve what a step keeps for its backward pass, and the gradients of the weights; masters and moments stay in float32, and a 16-bit copy of the weights comes on top.</p>{}
<h2>Every tensor</h2><p>Sizes of the f64 run's values over all steps, as above; errors of the first step.</p>{})";

// The two formats' ranges along the axis of exponents, once for all histograms.
static_assert(Tally::kFirst == -48 && Tally::kBins == 68);
constexpr const char* kRanges =
    R"(<svg width="0" height="0" style="position:absolute"><defs><g id="ranges">
<g opacity=".13"><path class="z" d="M0 0h230v128h-230z"/><path class="s" d="M230 0h110v128h-110z"/><path class="n" d="M340 0h300v128h-300z"/><path class="o" d="M640 0h40v128h-40z"/></g>
<path class="z" d="M0 150h230v17h-230z"/><path class="s" d="M230 150h110v17h-110z"/><path class="n" d="M340 150h300v17h-300zM0 170h680v17h-680z"/><path class="o" d="M640 150h40v17h-40z"/>
<g class="in" text-anchor="middle"><text x="115" y="162">float16: becomes 0</text><text x="285" y="162">subnormal</text><text x="490" y="162">float16: normal</text><text x="660" y="162">∞</text><text x="340" y="182">◀ bfloat16: normal, from 2⁻¹²⁶ to 2¹²⁸ ▶</text></g>
<g class="tick" text-anchor="middle"><text x="14" y="144">-48</text><text x="80" y="144">-40</text><text x="160" y="144">-32</text><text x="240" y="144">-24</text><text x="320" y="144">-16</text><text x="400" y="144">-8</text><text x="480" y="144">0</text><text x="560" y="144">8</text><text x="640" y="144">16</text></g></g></defs></svg>)";

using Rows = std::vector<std::vector<std::string>>;

double percent(int64_t part, int64_t whole) {
  return part ? 100 * double(part) / double(whole) : 0;
}
std::string share(int64_t part, int64_t whole) {
  const double p = percent(part, whole);
  if (part > 0 && p < 0.005) return "< 0.01 %";
  return fmt::format("{:.{}f} %", p, part == 0 ? 0 : p < 10 ? 2 : 1);
}
std::string power(double scale) { return fmt::format("2^{:g}", std::log2(scale)); }
std::string megabytes(size_t bytes) { return fmt::format("{:.1f} MB", double(bytes) * 1e-6); }
std::string text_of(double error) { return fmt::format("{:.2g}", error); }
std::string text_of(const LostUpdates& l) {
  return fmt::format("{} in float16 and {} in bfloat16", share(l.lost[0], l.moved),
                     share(l.lost[1], l.moved));
}
std::string text_of(const Tally& t, int format, int scale_log2) {
  const Losses l = t.losses(format, scale_log2);
  return fmt::format("{} become 0, {} are subnormal, {} overflow", share(l.zero, t.nonzero()),
                     share(l.subnormal, t.nonzero()), share(l.overflow, t.nonzero()));
}

// "A in float32, B in float16"
template <class Value>
std::string by_policy(const PrecisionFigures& f, Value value) {
  std::string s;
  for (size_t i = 1; i < f.policies.size(); ++i)
    s += fmt::format("{}{} in {}", i > 1 ? ", " : "", value(i), f.policies[i].name);
  return s;
}

// Escapes, and raises exponents.
std::string html(const std::string& text) {
  return std::regex_replace(escape_html(text), std::regex(R"(2\^(-?\d+))"), "2<sup>$1</sup>");
}

std::string table(const Rows& rows) {  // the first is the head
  std::string s = R"(<div class="table"><table>)";
  for (const auto& row : rows) {
    s += "<tr>";
    for (const std::string& cell : row)
      s += fmt::format("<t{0}>{1}</t{0}>", &row == &rows[0] ? 'h' : 'd', html(cell));
    s += "</tr>";
  }
  return s + "</table></div>";
}

std::string histogram(const Tally& t, const char* id = "") {
  const double most = double(std::max<int64_t>(1, std::ranges::max(t.bins)));
  std::string path;
  for (size_t i = 0; i < t.bins.size(); ++i)
    if (const double height = std::ceil(120 * double(t.bins[i]) / most); height > 0)
      path += fmt::format("M{} 128v-{}h9v{}z", 10 * i, height, height);
  return fmt::format(
      R"(<svg viewBox="0 0 680 190" role="img" aria-label="histogram of log2 of the size"><use href="#ranges"/><path class="bars"{} d="{}"/></svg>)",
      id, path);
}

// A row a tensor, a column a loss scale: how much float16 loses of it.
std::string heat_map(const PrecisionFigures& f, Kind kind) {
  std::string s;
  int y = 20;
  const auto label = [&](int x, int at, const char* anchor, const std::string& text) {
    s += fmt::format(R"(<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>)", x, at,
                     anchor, text);
  };
  const auto cell = [&](const std::string& kind, int scale, int at, int height) {
    s += fmt::format(R"(<path class="{}" d="M{} {}h13v{}h-13z"/>)", kind, 190 + 14 * scale, at,
                     height);
  };
  for (const TensorFigures& t : f.tensors) {
    if (t.kind != kind || !t.sixteen) continue;
    label(184, y + 11, "end", escape_html(t.name));
    for (int scale = 0; scale < kScales; ++scale) {
      const Losses l = t.tally.losses(0, scale);
      const double lost = percent(l.zero, t.tally.nonzero());
      if (l.overflow)
        cell("o", scale, y, 13);
      else if (l.zero)
        cell(fmt::format("z{}", (lost < 50) + (lost < 10) + (lost < 1) + (lost < .1)), scale, y,
             13);
      else if (percent(l.subnormal, t.tally.nonzero()) > 1)
        cell("s0", scale, y, 13);
    }
    y += 14;
  }
  for (int scale = 0; scale < kScales; scale += 4)
    label(197 + 14 * scale, 14, "middle", std::to_string(scale));
  cell("best", best_scale(f.gradients, 0), 19, y - 19);
  return fmt::format(
      R"(<figure class="heat"><figcaption><b>{}s</b>; across: log2 of the loss scale</figcaption><svg viewBox="0 0 544 {}">{}</svg></figure>)",
      name_of(kind), y + 4, s);
}

std::string error_chart(const PrecisionFigures& f, Kind kind) {
  std::vector<Line> lines;
  for (size_t i = 1; i < f.policies.size(); ++i) {
    lines.push_back({f.policies[i].name, {}});
    int x = 0;
    for (const TensorFigures& t : f.tensors)
      if (t.kind == kind && ++x && std::isfinite(t.errors[i][0]) && t.errors[i][0] > 0)
        lines.back().points.emplace_back(x, std::log2(t.errors[i][0]));
  }
  return line_chart(fmt::format("{}s: log2 of the relative error", name_of(kind)),
                    "in the order of the forward pass", lines);
}

std::string caption(const PrecisionFigures& f, const TensorFigures& t) {
  const int best = best_scale(f.gradients, 0);
  std::string s = fmt::format("{} {}: {} values, {} exactly 0; of the others in float16 {}",
                              t.kind < Kind::weight ? "" : t.name, t.shape, t.tally.count,
                              share(t.tally.zeros, t.tally.count), text_of(t.tally, 0, 0));
  if (is_gradient(t.kind))
    s += fmt::format("; at 2^{} {}; alone it would lose least at 2^{}", best,
                     text_of(t.tally, 0, best), best_scale(t.tally, 0));
  if (t.kind == Kind::update) s += "; lost without a master: " + text_of(t.lost);
  s += "; error " + by_policy(f, [&](size_t i) { return text_of(t.errors[i][0]); });
  return fmt::format("<figcaption><b>{}</b> {}.</figcaption>", name_of(t.kind), html(s));
}

}  // namespace

std::vector<std::string> summary_of(const PrecisionFigures& f) {
  const Tally& g = f.gradients;
  const int best = best_scale(g, 0);
  int safe = 0;
  while (safe < kScales && !g.losses(0, safe).overflow) ++safe;
  std::vector<std::string> all{
      "Without a loss scale, of this net's gradient values in float16 " + text_of(g, 0, 0) + ".",
      fmt::format("The loss scale 2^{} loses least: {}", best, text_of(g, 0, best)) +
          (safe < kScales ? fmt::format("; from 2^{} on some do, and the step is skipped.", safe)
                          : "; none does up to 2^24."),
      fmt::format("bfloat16 has float32's exponents and needs no loss scale ({} become 0), but "
                  "keeps 8 bits of a number where float16 keeps 11.",
                  share(g.losses(1, 0).zero, g.nonzero())),
      "Without float32 masters updates would be lost, too small beside their weights: " +
          text_of(f.lost) + ".",
      "Relative error of the weights' gradients in the first step, in the median: " +
          by_policy(
              f, [&](size_t i) { return text_of(f.median_error(Kind::weight_gradient, i, 0)); }) +
          ".",
      fmt::format("A step of {} keeps for its backward pass ", f.settings.plan_shape) +
          by_policy(f, [&](size_t i) { return megabytes(f.policies[i].bytes.at("saved")); }) + "."};
  for (const PolicyFigures& p : f.policies)
    if (p.path.size() > p.losses.size() || p.path[0].loss_scale != 1)
      all.push_back(
          fmt::format("{} began at the loss scale {}, skipped {} of {} attempts and ended at {}.",
                      p.name, power(p.path[0].loss_scale), p.path.size() - p.losses.size(),
                      p.path.size(), power(p.path.back().loss_scale)));
  return all;
}

std::string page_of(const PrecisionFigures& f) {
  const TrainSettings& s = f.settings.train;
  const Tally& g = f.gradients;
  std::string summary;
  for (const std::string& sentence : summary_of(f)) summary += "<li>" + html(sentence) + "</li>";

  Rows scales{{"Loss scale", "In float16", "In bfloat16"}};
  std::vector<std::string> at_scale;
  std::vector<Line> lost_at{{"become 0", {}}, {"subnormal", {}}, {"overflow", {}}};
  for (int scale = 0; scale < kScales; ++scale) {
    scales.push_back({fmt::format("2^{}", scale), text_of(g, 0, scale), text_of(g, 1, scale)});
    at_scale.push_back(scales.back()[1]);
    const Losses l = g.losses(0, scale);
    for (size_t i = 0; const int64_t n : {l.zero, l.subnormal, l.overflow})
      lost_at[i++].points.emplace_back(scale, percent(n, g.nonzero()));
  }

  Rows medians{{"Median error"}}, path{{"Attempt"}},
      memory{{"", "Kept for backward", "Peak of a step", "Weight gradients", "Masters",
              "16-bit copies", "Moments"}};
  std::string heat_maps, errors, tensors;
  for (const Kind kind : kKinds) {
    medians.push_back({name_of(kind)});
    if (kind != Kind::weight) errors += error_chart(f, kind);
    if (is_gradient(kind)) heat_maps += heat_map(f, kind);
  }
  medians.push_back({"loss"});
  std::vector<Line> scaler;
  for (size_t i = 1; i < f.policies.size(); ++i) {
    const PolicyFigures& p = f.policies[i];
    for (const size_t step : {size_t{0}, p.losses.size() - 1}) {
      medians[0].push_back(fmt::format("{}, step {}", p.name, step));
      for (size_t k = 0; const Kind kind : kKinds)
        medians[++k].push_back(text_of(f.median_error(kind, i, step)));
      medians.back().push_back(fmt::format("{:.5f}", p.losses[step]));
    }
    memory.push_back({p.name});
    for (const char* what : {"saved", "peak", "gradients", "masters", "copies", "moments"})
      memory.back().push_back(megabytes(p.bytes.at(what)));
    path[0].push_back(p.name);
    scaler.push_back({p.name, {}});
    for (size_t k = 0; k < p.path.size(); ++k) {
      const Attempt& a = p.path[k];
      scaler.back().points.emplace_back(k, std::log2(a.loss_scale));
      if (path.size() < k + 2) path.push_back({std::to_string(k)});
      path[k + 1].resize(i);
      path[k + 1].push_back(fmt::format("step {} at {}{}", a.step, power(a.loss_scale),
                                        a.skipped ? ": skipped" : ""));
    }
  }

  std::map<std::string, LostUpdates> groups;
  std::vector<Line> lost_lines{{"float16", {}}, {"bfloat16", {}}};
  for (const TensorFigures& t : f.tensors) {
    if (t.kind == Kind::activation)
      tensors +=
          fmt::format(R"({}<details><summary>{} <span>{}</span></summary><div class="small">)",
                      tensors.empty() ? "" : "</div></details>", escape_html(t.layer), t.shape);
    tensors += "<figure>" + caption(f, t) + histogram(t.tally) + "</figure>";
    if (t.kind != Kind::update) continue;
    const bool matrix = t.shape.find(',') != t.shape.npos;
    groups[matrix                      ? "weights of convolutions and of the last layer"
           : t.name.ends_with(".bias") ? "shifts and biases, near 0"
                                       : "scales of batch norms, near 1"]
        .add(t.lost);
    for (size_t i = 0; matrix && i < kFormats; ++i)
      lost_lines[i].points.emplace_back(lost_lines[i].points.size(),
                                        percent(t.lost.lost[i], t.lost.moved));
  }
  Rows lost{{"", "Lost"}};
  for (const auto& [name, l] : groups) lost.push_back({name, text_of(l)});

  return html_page(
      fmt::format("What 16 bits do to a ResNet-{}", s.num_layers),
      fmt::format("{} steps of {} images {} of {}; {}, learning rate {}; on {}, f64 on reference",
                  s.max_steps, s.mini_batch_size, s.image_shape, s.data, s.optimizer,
                  s.learning_rate, s.device),
      fmt::format(
          kPage, summary, kRanges, histogram(g, R"( id="bars")"), nlohmann::json(at_scale).dump(),
          kScript,
          line_chart("float16: % of all gradient values", "log2 of the loss scale", lost_at),
          table(scales), heat_maps, errors, table(medians), table(lost),
          line_chart("weights: % of updates lost without a master", "layers in order", lost_lines),
          s.loss_scale_interval,
          line_chart("log2 of the loss scale", "attempt", scaler) + table(path),
          f.settings.plan_shape, table(memory), tensors + "</div></details>"),
      kPageStyle);
}

}  // namespace pneuma::inspect
