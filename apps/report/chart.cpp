#include "apps/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace pneuma {
namespace {

constexpr double kWidth = 560, kHeight = 260;
constexpr double kLeft = 56, kRight = 16, kTop = 40, kBottom = 40;
constexpr const char* kColours[] = {"#1f6fb4", "#d1622b", "#3a8f4d"};

constexpr const char* kStyle = R"(
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#f4f6f8;margin:0}
main{max-width:1180px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:30px 0 10px}
.sub{color:#5b6875;margin:0}.notice{background:#fff4d6;border:1px solid #e5c96b;border-radius:6px;padding:8px 12px;margin:16px 0}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin-top:16px}
.card{background:#fff;border:1px solid #dde3e9;border-radius:8px;padding:10px 18px;min-width:130px}
.card b{display:block;font-size:24px}.card span{color:#5b6875;font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(360px,1fr));gap:14px}
.charts svg,.table{background:#fff;border:1px solid #dde3e9;border-radius:8px;width:100%}
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid #edf0f3;white-space:nowrap}
th{color:#5b6875;font-weight:600;font-size:13px}td:first-child,th:first-child{text-align:left}
tr.total td{font-weight:700;border-top:2px solid #c9d2da}td.pub{color:#5b6875}
.settings td{text-align:left;white-space:normal;word-break:break-word}
.settings td:first-child{white-space:nowrap;width:1px;color:#5b6875}
.title{font:600 14px system-ui,sans-serif;fill:#1d2733}.tick{font:11px system-ui,sans-serif;fill:#5b6875}.grid{stroke:#e6ebef}
p.sub{margin:8px 0}footer{color:#5b6875;font-size:13px;margin-top:30px})";

// 1, 2 or 5 times a power of ten: about `count` steps over `range`.
double round_step(double range, int count) {
  const double raw = range / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1., 2., 5.}) {
    if (raw <= m * power) return m * power;
  }
  return 10 * power;
}

struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -low, step = 1;

  void include(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  void finish(int ticks, double least_step) {
    if (high - low < 1e-9) low -= least_step / 2, high += least_step / 2;
    step = std::max(least_step, round_step(high - low, ticks));
    low = std::floor(low / step) * step;
    high = std::ceil(high / step) * step;
  }
};

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string line_chart(const std::string& title, const std::string& x_label,
                       const std::vector<Line>& lines) {
  Axis x, y;
  for (const Line& line : lines) {
    for (const auto& [px, py] : line.points) {
      x.include(px);
      y.include(py);
    }
  }
  if (x.high < x.low) return "";
  x.finish(8, 1);  // of epochs or steps, so whole
  y.finish(5, 1e-6);
  const auto to_x = [&](double v) {
    return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  };
  const auto to_y = [&](double v) {
    return kHeight - kBottom - (v - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  };

  std::string s = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\"><text class=\"title\" "
      "x=\"{3}\" y=\"18\">{2}</text>",
      kWidth, kHeight, escape_html(title), kLeft);
  for (int i = 0; y.low + i * y.step <= y.high + y.step / 2; ++i) {
    const double v = y.low + i * y.step;
    s += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text "
        "class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>",
        kLeft, kWidth - kRight, to_y(v), to_y(v), kLeft - 6, to_y(v) + 4, v);
  }
  for (int i = 0; x.low + i * x.step <= x.high + x.step / 2; ++i) {
    const double v = x.low + i * x.step;
    s += fmt::format(
        "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.4g}</text>",
        to_x(v), kHeight - kBottom + 16, v);
  }
  s += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>",
                   kWidth - kRight, kHeight - 6, escape_html(x_label));
  double legend = kLeft;
  for (size_t i = 0; i < lines.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    std::string points;
    for (const auto& [px, py] : lines[i].points)
      points += fmt::format("{:.1f},{:.1f} ", to_x(px), to_y(py));
    s += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" points=\"{}\"/>",
                     colour, points);
    if (lines[i].points.size() <= 60) {
      for (const auto& [px, py] : lines[i].points) {
        s += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\"/>", to_x(px),
                         to_y(py), colour);
      }
    }
    s += fmt::format(
        "<rect x=\"{:.1f}\" y=\"26\" width=\"10\" height=\"3\" fill=\"{}\"/><text class=\"tick\" "
        "x=\"{:.1f}\" y=\"31\">{}</text>",
        legend, colour, legend + 14, escape_html(lines[i].name));
    legend += 30 + 7.0 * double(lines[i].name.size());
  }
  return s + "</svg>";
}

std::string html_page(const std::string& title, const std::string& subtitle,
                      const std::string& body, const std::string& more_style) {
  return fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>{0}</title><style>{1}{2}</style></head><body><main>"
      "<h1>{0}</h1><p class=\"sub\">{3}</p><div class=\"notice\">Research use, not a medical "
      "device.</div>{4}<footer>Written by Pneuma.</footer></main></body></html>\n",
      escape_html(title), kStyle, more_style, escape_html(subtitle), body);
}

}  // namespace pneuma
