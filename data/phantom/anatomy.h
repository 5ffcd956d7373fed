// The anatomy of a phantom: a patient's chest in numbers, and the film that it is drawn on.
// Coordinates are the patient's: x from -1 to 1 (his right side is at negative x, as one sees him),
// y from -1 (neck) to 1 (abdomen); one unit is about 190 mm.
#pragma once

#include <array>
#include <cmath>
#include <vector>

#include "engine/random.h"

namespace pneuma::phantom {

struct Point {
  double x, y;
};
inline Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
inline Point polar(double radius, double angle) {
  return {radius * std::cos(angle), radius * std::sin(angle)};
}
inline double distance(Point a, Point b) {
  return std::sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y));
}
inline double sign_of(int side) { return side ? 1 : -1; }  // side 0 is at negative x

inline double smooth(double t) {  // 0 below 0, 1 above 1, smooth between
  t = t < 0 ? 0 : t > 1 ? 1 : t;
  return t * t * (3 - 2 * t);
}

// Smooth random values in [0, 1] over the plane, periodic with period 32.
class Texture {
 public:
  explicit Texture(Random& random);
  double at(double x, double y) const;

 private:
  std::array<float, 32 * 32> lattice_;
};

struct Chest {
  double width, apex, widest;  // lungs: largest half-width, y of the top, y of the largest width
  double mediastinum;          // half-width where it is narrowest
  std::array<double, 2> dome;  // y of the top of each half of the diaphragm
  double curvature;            // of the diaphragm
  Point heart, heart_radius;
  double heart_angle;
  double rib_start, rib_spacing, rib_slope, rib_density;
  double shoulder, clavicle, breast, stomach;  // breast, stomach bubble: 0 where there is none
  double vessels, aeration;                    // their density; air in the lungs, 1 normal
  std::array<Point, 2> hilum;
  uint64_t grain;  // seed of the vessels and of the fine texture

  double lung_edge(double y) const;  // |x| of the lateral wall at y, 0 above the apex
  double diaphragm(double x) const;  // its y
  double lung(Point p) const;        // distance to the lung's border, > 0 inside
  double heart_at(Point p) const;    // the same for the heart, but in its radii
  Point place(Random& random, double low, double high) const;  // in a lung, y from low to high
};
Chest draw_chest(Random& random);

// The layers of one image; what is seen is tissue - air * (1 - haze) + air * marks.
class Film {
 public:
  Film(int size, double scale, double angle, Point shift);
  int size() const { return size_; }
  double edge(double least) const { return std::fmax(least, pixel_); }  // sharp, yet not jagged

  template <class Change>
  void each(Change change) const {  // change(i, p) for each pixel: i indexes the layers
    for (int i = 0; i < size_ * size_; ++i) change(i, place_[i]);
  }
  // A soft line over a layer: raises it to at least `density`, or adds a negative one.
  void stroke(std::vector<float>& layer, Point from, Point to, double width, double density) const;

  std::vector<float> tissue, air, marks, haze;  // [size, size]

 private:
  int size_;
  double pixel_, cosine_, sine_;  // width of a pixel in the patient's units; rotation
  Point shift_;
  std::vector<Point> place_;
};

void draw_anatomy(Film& film, const Chest& chest);  // body, bones, heart, lungs and vessels

}  // namespace pneuma::phantom
