#include "data/phantom/anatomy.h"

#include <algorithm>

namespace pneuma::phantom {

Texture::Texture(Random& random) {
  for (float& value : lattice_) value = float(random.uniform());
}

double Texture::at(double x, double y) const {
  const double left = std::floor(x), top = std::floor(y), u = smooth(x - left), v = smooth(y - top);
  const auto value = [&](int dx, int dy) {
    return lattice_[((int(top) + dy) & 31) * 32 + ((int(left) + dx) & 31)];
  };
  return (1 - v) * ((1 - u) * value(0, 0) + u * value(1, 0)) +
         v * ((1 - u) * value(0, 1) + u * value(1, 1));
}

Chest draw_chest(Random& r) {
  const double base = r.uniform(0.32, 0.54);
  Chest c{.width = r.uniform(0.62, 0.76), .apex = r.uniform(-0.76, -0.66)};
  c.widest = r.uniform(0.2, 0.4);
  c.mediastinum = r.uniform(0.09, 0.14);
  c.dome = {base + r.uniform(-0.08, 0.01), base + r.uniform(-0.01, 0.06)};
  c.curvature = r.uniform(0.7, 1.5);
  c.heart = {r.uniform(0.04, 0.12), base - r.uniform(0.14, 0.2)};
  c.heart_radius = {r.uniform(0.26, 0.33), r.uniform(0.21, 0.26)};
  c.heart_angle = r.uniform(0.3, 0.7);
  c.rib_start = r.uniform();
  c.rib_spacing = r.uniform(0.13, 0.16);
  c.rib_slope = r.uniform(0.5, 0.9);
  c.rib_density = r.uniform(0.08, 0.15);
  c.shoulder = r.uniform(0.15, 0.45);
  c.clavicle = r.uniform(-0.62, -0.5);
  c.breast = r.uniform() < 0.4 ? r.uniform(0.05, 0.15) : 0;
  c.stomach = r.uniform() < 0.6 ? r.uniform(0.12, 0.3) : 0;
  c.vessels = r.uniform(0.6, 1.3);
  c.aeration = r.uniform(0.85, 1.1);
  c.hilum = {Point{-0.15, r.uniform(-0.06, 0.02)}, Point{0.15, r.uniform(-0.1, -0.02)}};
  c.grain = r.bits();
  return c;
}

double Chest::lung_edge(double y) const {
  const double t = std::fmax(0, (widest - y) / (widest - apex)), t2 = t * t;
  return width * std::sqrt(std::fmax(0, 1 - t2 * (0.25 + 0.75 * t2)));
}

double Chest::diaphragm(double x) const {
  const double d = std::fabs(x) - 0.32, left = smooth(x / 0.2 + 0.5);
  return (1 - left) * dome[0] + left * dome[1] + curvature * (d > 0 ? 1.3 : 0.5) * d * d;
}

double Chest::lung(Point p) const {
  const double depth = std::fabs(p.x), up = std::fmax(0, -0.1 - p.y), down = std::fmax(0, p.y);
  const double inner = mediastinum + 0.12 * up * up + 0.3 * down * down;
  return std::min({lung_edge(p.y) - depth, depth - inner, 0.8 * (diaphragm(p.x) - p.y)});
}

double Chest::heart_at(Point p) const {
  const double c = std::cos(heart_angle), s = std::sin(heart_angle);
  const double dx = p.x - heart.x, dy = p.y - heart.y;
  return 1 - distance({(c * dx + s * dy) / heart_radius.x, (c * dy - s * dx) / heart_radius.y}, {});
}

Point Chest::place(Random& r, double low, double high) const {
  for (int attempt = 0; attempt < 200; ++attempt) {
    const Point p{r.uniform(-0.7, 0.7), r.uniform(low, high)};
    if (lung(p) > 0.08 && heart_at(p) < 0) return p;
  }
  return {0.4, low};
}

Film::Film(int size, double scale, double angle, Point shift)
    : tissue(size_t(size) * size),
      air(tissue),
      marks(tissue),
      haze(tissue),
      size_(size),
      pixel_(2 / (size * scale)),
      cosine_(std::cos(angle)),
      sine_(std::sin(angle)),
      shift_(shift) {
  const double half = 0.5 * size - 0.5;
  for (int row = 0; row < size; ++row)
    for (int column = 0; column < size; ++column) {
      const double x = (column - half) * pixel_ - shift.x, y = (row - half) * pixel_ - shift.y;
      place_.push_back({cosine_ * x + sine_ * y, cosine_ * y - sine_ * x});
    }
}

void Film::stroke(std::vector<float>& layer, Point from, Point to, double width,
                  double density) const {
  // A line thinner than a pixel is drawn a pixel wide and as much fainter.
  const double radius = std::fmax(0.5 * width, 0.7 * pixel_);
  density *= 0.5 * width / radius;
  const double dx = to.x - from.x, dy = to.y - from.y, square = dx * dx + dy * dy + 1e-12;
  const Point p{from.x + 0.5 * dx, from.y + 0.5 * dy};
  const double reach = (0.5 * std::sqrt(square) + 1.5 * radius) / pixel_, half = 0.5 * size_ - 0.5;
  const double column = (cosine_ * p.x - sine_ * p.y + shift_.x) / pixel_ + half;
  const double row = (cosine_ * p.y + sine_ * p.x + shift_.y) / pixel_ + half;
  const auto clamp = [&](double v) { return int(std::clamp(v, 0.0, double(size_))); };
  for (int y = clamp(row - reach); y < clamp(row + reach + 1); ++y)
    for (int x = clamp(column - reach); x < clamp(column + reach + 1); ++x) {
      const int i = y * size_ + x;
      const Point q = place_[i];
      const double along = ((q.x - from.x) * dx + (q.y - from.y) * dy) / square;
      const double t = std::clamp(along, 0.0, 1.0);
      const double d = distance(q, {from.x + t * dx, from.y + t * dy});
      const float value = float(density * smooth(1.5 - d / radius));
      layer[i] = density < 0 ? layer[i] + value : std::fmax(layer[i], value);
    }
}

namespace {

void draw_branch(Film& film, Random& r, Point from, double angle, double length, double width,
                 double density) {
  const Point to = from + polar(length, angle);
  film.stroke(film.marks, from, to, width, density * (0.06 + 4 * width));
  if (width < 0.01) return;
  const double fork = r.uniform(0.15, 0.6), turn = angle + r.uniform(-0.2, 0.2);
  length *= r.uniform(0.7, 0.95);
  draw_branch(film, r, to, turn + fork, length, width * 0.72, density);
  draw_branch(film, r, to, turn - fork, length, width * 0.66, density);
}

// A bone is brighter along its edges.
double bone(double distance, double half_width, double edge) {
  const double q = std::fabs(distance) / half_width;
  return smooth((1 - q) * half_width / edge + 0.5) * (0.7 + 0.3 * std::fmin(q * q, 1));
}

double round_shade(Point p, Point center, Point radius) {
  return smooth(3 - 3 * distance({(p.x - center.x) / radius.x, (p.y - center.y) / radius.y}, {}));
}

}  // namespace

void draw_anatomy(Film& film, const Chest& chest) {
  Random r(chest.grain, Purpose::phantom);
  const Texture texture(r);
  const double edge = film.edge(0.012);
  film.each([&](int i, Point p) {
    const double depth = std::fabs(p.x), below = p.y - chest.diaphragm(p.x);
    // Body: neck, shoulders, trunk; soft parts; mediastinum, spine, windpipe.
    const double top = p.y + 0.9 - chest.shoulder * smooth((depth - 0.12) / 0.9);
    const double flank = chest.width + 0.3 - 0.14 * smooth((p.y + 0.5) / 0.6) - depth;
    const double body = std::fmin(flank, std::fmax(top, 0.22 - depth));
    double tissue = smooth(body / 0.05) * (0.62 + 0.2 * smooth(body / 0.35));
    tissue += 0.22 * smooth(below / 0.06);
    tissue += chest.breast * round_shade({depth, p.y}, {0.45, chest.dome[0] - 0.05}, {0.35, 0.32});
    tissue -= chest.stomach * round_shade(p, {0.33, chest.dome[1] + 0.12}, {0.18, 0.07});
    tissue += 0.1 * smooth((chest.mediastinum - depth) / 0.12 + 0.5);
    tissue += 0.08 * bone(p.x, 0.07, 2 * edge) * (0.75 + 0.25 * std::sin(p.y * 48));
    tissue -= 0.14 * smooth((0.035 - std::fabs(p.x - 0.01)) / 0.02) * smooth((-0.18 - p.y) / 0.1);
    // Ribs behind and in front, collar bones, shoulder blades.
    if (depth > 0.06 && depth < chest.lung_edge(p.y) + 0.05 && below < 0.35) {
      const double faint = chest.rib_density * (1 - 0.6 * smooth(below / 0.05));
      const auto rib = [&](double y) {
        const double n = y / chest.rib_spacing + chest.rib_start;
        return faint * bone((n - std::round(n)) * chest.rib_spacing, 0.03, edge);
      };
      tissue += rib(p.y - chest.rib_slope * (depth - 0.22) * (depth - 0.22));
      tissue += rib(p.y + 0.05 + (0.5 + 0.4 * chest.rib_slope * depth) * depth) * 0.5 *
                smooth((depth - 0.25) / 0.1);
    }
    const double clavicle = chest.clavicle - 0.16 * smooth((depth - 0.06) / 0.5);
    tissue += 0.13 * bone(p.y - clavicle, 0.03, edge) * smooth((depth - 0.06) / 0.05) *
              smooth((0.85 - depth) / 0.1) * smooth(body / 0.05);
    tissue += 0.05 * smooth((depth - 0.52 - 0.25 * smooth((p.y + 0.6) / 0.6)) / 0.03) *
              smooth((p.y + 0.7) / 0.1) * smooth((0.05 - p.y) / 0.15) * smooth((body - 0.05) / 0.1);
    film.tissue[i] = float(tissue);
    // Lungs, less the heart and the aorta's arch.
    const double inside = chest.lung(p), heart = chest.heart_at(p) * chest.heart_radius.y;
    const double arch = 0.085 - distance(p, {chest.mediastinum, -0.28});
    film.air[i] = float(chest.aeration * smooth(inside / edge + 0.5) *
                        (0.5 + 0.5 * smooth(inside / 0.25 + 0.2)) *
                        (1 - smooth(heart / edge) * (0.75 + 0.25 * smooth(heart / 0.1))) *
                        (1 - 0.8 * smooth(arch / edge)));
    film.marks[i] = float(0.05 * (texture.at(p.x * 19, p.y * 19) - 0.5));
    for (const Point& hilum : chest.hilum) {
      const double d = distance({(p.x - hilum.x) / 0.06, (p.y - hilum.y) / 0.1}, {});
      film.marks[i] += float(0.14 * chest.vessels * std::exp(-d * d));
    }
  });
  for (int side = 0; side < 2; ++side)
    for (double down = -1.2; down < 1.4; down += 0.5) {  // angle below the horizontal
      const double angle = down + r.uniform(-0.2, 0.2), length = r.uniform(0.13, 0.2);
      draw_branch(film, r, chest.hilum[side], side ? angle : 3.14159 - angle, length,
                  r.uniform(0.026, 0.036), chest.vessels);
    }
}

}  // namespace pneuma::phantom
