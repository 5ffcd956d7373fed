// What pages are made of: line charts as SVG text, and the page around them.
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

// A whole page that needs nothing else; `title` and `subtitle` as text, the rest as HTML and CSS.
std::string html_page(const std::string& title, const std::string& subtitle,
                      const std::string& body, const std::string& more_style = "");

}  // namespace pneuma
