// Line charts as SVG text, for the report.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace pneuma {

struct Line {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), x ascending
};

// An SVG element of 560 x 260 with axes, round ticks and a legend; empty text where no line has a
// point.
std::string line_chart(const std::string& title, const std::string& x_label,
                       const std::vector<Line>& lines);

std::string escape_html(const std::string& text);

}  // namespace pneuma
