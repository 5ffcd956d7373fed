#include "data/phantom/findings.h"

namespace pneuma::phantom {

namespace {

double bell(double t) { return std::exp(-t * t); }
double line(double distance, double half_width) {
  return smooth(1.5 - std::fabs(distance) / half_width);
}
int side_of(Point p) { return p.x > 0; }

// A lumpy round patch.
void patch(Film& film, Random& r, Point center, double radius, double lumps, double softness,
           double density) {
  const Texture texture(r);
  film.each([&](int i, Point p) {
    const double bump =
        texture.at(2.2 * (p.x - center.x) / radius, 2.2 * (p.y - center.y) / radius);
    const double inside = radius * (1 + lumps * (bump - 0.5)) - distance(p, center);
    film.haze[i] += float(density * smooth(inside / film.edge(softness) + 0.5));
  });
}

void alter_atelectasis(Chest& chest, Random& r) {  // the lung has lost volume
  chest.dome[r.below(2)] -= r.uniform(0.06, 0.14);
}

// Plates: short bands across the lower lung, each at its own slant.
void draw_atelectasis(Film& film, const Chest& chest, Random& r) {
  const int side = int(r.below(2));
  for (int plates = 2 + int(r.below(2)); plates > 0; --plates) {
    const double x = sign_of(side) * r.uniform(0.3, 0.45), half = r.uniform(0.16, 0.26);
    const Point center{x, chest.diaphragm(x) - r.uniform(0.07, 0.4)};
    const double slant = r.uniform(-0.5, 0.5), width = r.uniform(0.045, 0.065);
    film.stroke(film.haze, center + polar(half, slant), center + polar(-half, slant), width,
                r.uniform(0.9, 1.2));
  }
}

// A dense, well bounded patch; the air left in the bronchi shows as dark branches.
void draw_consolidation(Film& film, const Chest& chest, Random& r) {
  const Point center = chest.place(r, -0.4, 0.4), root = chest.hilum[side_of(center)];
  const double radius = r.uniform(0.16, 0.23);
  patch(film, r, center, radius, 0.9, 0.05, r.uniform(0.75, 0.95));
  const double outward = std::atan2(center.y - root.y, center.x - root.x);
  const Point start = center + polar(-0.9 * radius, outward);
  for (double fan : {-0.55, 0.0, 0.55}) {
    const double angle = outward + fan + r.uniform(-0.15, 0.15);
    const Point fork = start + polar(radius, angle);
    film.stroke(film.haze, start, fork, 0.04, -0.6);
    film.stroke(film.haze, fork, fork + polar(0.6 * radius, angle + 0.35), 0.03, -0.5);
    film.stroke(film.haze, fork, fork + polar(0.6 * radius, angle - 0.35), 0.03, -0.5);
  }
}

// Many small fuzzy spots over a part of one or both lungs.
void draw_infiltration(Film& film, const Chest& chest, Random& r) {
  const Texture texture(r);
  const double density = r.uniform(0.5, 0.8);
  for (int areas = 1 + int(r.below(2)); areas > 0; --areas) {
    const Point center = chest.place(r, -0.5, 0.4);
    const double radius = r.uniform(0.22, 0.32);
    film.each([&](int i, Point p) {
      const double bend = 2 * texture.at(p.x * 5, p.y * 5), d = distance(p, center) / radius;
      const double spot = texture.at(p.x * 13 + bend, p.y * 13 - bend);
      film.haze[i] += float(density * smooth(3 * (spot - 0.4)) * smooth(2.2 * (1.4 - d)));
    });
  }
}

// The lung has shrunk away from the wall: a thin pleural line, and nothing but air beyond it.
void draw_pneumothorax(Film& film, const Chest& chest, Random& r) {
  const int side = int(r.below(2));
  const double gap = r.uniform(0.14, 0.34), edge = film.edge(0.012);
  Chest shrunk = chest;
  shrunk.width *= 1 - gap;
  shrunk.apex += 0.9 * gap;
  film.each([&](int i, Point p) {
    if (side_of(p) != side) return;
    const double across = std::fabs(p.x) - shrunk.lung_edge(p.y);
    // Near the apex the wall is level, so there the distance is measured upward.
    const double beyond = std::fmax(std::fmin(across, 0.6 * across + 0.1), shrunk.apex - p.y);
    const double free = smooth(beyond / edge + 0.5);
    film.marks[i] *= float(1 - free);
    film.haze[i] = float((film.haze[i] + 0.12) * (1 - free) - 0.25 * free);
    film.haze[i] += float(0.55 * line(beyond, 0.9 * edge));
  });
}

// Haze spreading from both hila like a bat's wings, and Kerley's short lines at the lower wall.
void draw_edema(Film& film, const Chest& chest, Random& r) {
  const Texture texture(r);
  const double density[2] = {r.uniform(0.25, 0.75), r.uniform(0.25, 0.75)};
  const double spread = r.uniform(0.17, 0.26), height = r.uniform(-0.12, 0.1);
  film.each([&](int i, Point p) {
    const double dx = (std::fabs(p.x) - 0.22) / spread, dy = (p.y - height) / (1.35 * spread);
    const double cloud = density[side_of(p)] * (0.5 + 0.5 * texture.at(p.x * 7, p.y * 7));
    film.haze[i] += float(cloud * bell(std::pow(dx * dx + dy * dy, 0.8)));
  });
  for (int i = 0; i < 12; ++i) {
    const double sign = sign_of(i % 2), y = chest.dome[i % 2] + 0.02 - 0.065 * (i / 2);
    const double x = chest.lung_edge(y) - 0.02;
    film.stroke(film.haze, {sign * x, y}, {sign * (x - 0.11), y + 0.01}, 0.018, 1.0);
  }
}

// Too much air: long dark lungs, a low flat diaphragm, a narrow heart, few vessels, and bullae.
void alter_emphysema(Chest& chest, Random& r) {
  const double low = r.uniform(0.02, 0.1);
  for (double& dome : chest.dome) dome += low;
  chest.curvature *= 0.25;
  chest.heart.y += 0.5 * low;
  chest.heart_radius.x *= 0.85;
  chest.aeration *= 1.05;
  chest.vessels *= 0.5;
}

void draw_emphysema(Film& film, const Chest& chest, Random& r) {
  for (int bullae = 2 + int(r.below(3)); bullae > 0; --bullae) {
    const Point center = chest.place(r, -0.55, 0.3);
    const double radius = r.uniform(0.08, 0.14), edge = film.edge(0.012);
    film.each([&](int i, Point p) {
      const double inside = radius - distance(p, center), hollow = smooth(inside / edge + 0.5);
      film.marks[i] *= float(1 - hollow);
      film.haze[i] += float(0.5 * line(inside, 0.9 * edge) - 0.15 * hollow);
    });
  }
}

// A net of fine lines over the lung bases.
void draw_fibrosis(Film& film, const Chest& chest, Random& r) {
  const Texture texture(r);
  const double height = r.uniform(0.25, 0.42), density = r.uniform(0.6, 0.9);
  film.each([&](int i, Point p) {
    const double above = (chest.diaphragm(p.x) - p.y) / height;
    const double bend = 2 * texture.at(p.x * 7, p.y * 7);
    const double net = texture.at(p.x * 18 + bend, p.y * 18 - bend) - 0.5;
    film.haze[i] += float(density * line(net, 0.11) * smooth(2.5 * (1.2 - above)));
  });
}

// Fluid: a level that climbs the lateral wall and fills the angle above the diaphragm.
void draw_effusion(Film& film, const Chest& chest, Random& r) {
  const int without = int(r.below(4));  // side without fluid; 2 and 3: on both
  const double amount = r.uniform(0, 0.2), climb = r.uniform(0.14, 0.26);
  film.each([&](int i, Point p) {
    if (side_of(p) == without) return;
    const double rise = std::fmax(0, (std::fabs(p.x) - 0.3) / (chest.width - 0.3));
    const double level = chest.dome[side_of(p)] + 0.03 - amount - climb * rise * rise;
    film.haze[i] += float(smooth((p.y - level) / film.edge(0.03) + 0.5));
  });
}

// A part of a lobe in a cloud that fades out, except where a fissure stops it.
void draw_pneumonia(Film& film, const Chest& chest, Random& r) {
  const Texture texture(r);
  const Point center = chest.place(r, -0.35, 0.35);
  const double radius = r.uniform(0.26, 0.34), density = r.uniform(0.75, 0.95);
  const double slope = r.uniform(-0.25, 0.25), upward = sign_of(int(r.below(2)));
  film.each([&](int i, Point p) {
    if (side_of(p) != side_of(center)) return;
    const double past = upward * (p.y - center.y - slope * (p.x - center.x)) - 0.2 * radius;
    const double cloud = 0.75 + 0.25 * texture.at(p.x * 6, p.y * 6), d = distance(p, center);
    film.haze[i] += float(density * cloud * bell((d * d) / (radius * radius)) *
                          smooth(0.5 - past / film.edge(0.015)));
  });
}

// A dense, calcified rim of uneven depth along the lateral wall.
void draw_pleural_thickening(Film& film, const Chest& chest, Random& r) {
  const Texture texture(r);
  const int side = int(r.below(2));
  const double depth = r.uniform(0.08, 0.12), top = r.uniform(-0.55, -0.2);
  const double bottom = top + r.uniform(0.45, 0.7);
  film.each([&](int i, Point p) {
    if (side_of(p) != side) return;
    const double rim = depth * (0.4 + 1.1 * texture.at(5, p.y * 9)) * smooth((p.y - top) / 0.1) *
                       smooth((bottom - p.y) / 0.1);
    const double inward = chest.lung_edge(p.y) - std::fabs(p.x);
    film.haze[i] +=
        float(1.3 * smooth((rim - inward) / film.edge(0.015) + 0.5) * smooth(rim / 0.02));
  });
}

void alter_cardiomegaly(Chest& chest, Random& r) {
  const double wider = r.uniform(1.35, 1.6);
  chest.heart_radius.x *= wider;
  chest.heart_radius.y *= 0.5 + 0.5 * wider;
}

void draw_nodule(Film& film, const Chest& chest, Random& r) {
  for (int nodules = 1 + int(r.below(3)); nodules > 0; --nodules) {
    const Point center = chest.place(r, -0.55, 0.35);
    const double radius = r.uniform(0.06, 0.08);
    patch(film, r, center, radius, 0.1, 0.02, r.uniform(1.1, 1.3));
  }
}

void draw_mass(Film& film, const Chest& chest, Random& r) {
  const Point center = chest.place(r, -0.5, 0.35);
  const double radius = r.uniform(0.13, 0.19);
  patch(film, r, center, radius, 0.15, 0.02, r.uniform(1.0, 1.2));
}

// A part of the stomach behind the heart: gas above a level of fluid, within a thin wall.
void draw_hernia(Film& film, const Chest& chest, Random& r) {
  const Point center = chest.heart + Point{r.uniform(-0.16, 0.1), r.uniform(-0.03, 0.1)};
  const double radius = r.uniform(0.14, 0.2), level = center.y + r.uniform(-0.05, 0.05);
  const double edge = film.edge(0.015);
  film.each([&](int i, Point p) {
    const double inside = radius - distance(p, center), fluid = smooth((p.y - level) / edge + 0.5);
    film.tissue[i] +=
        float(smooth(inside / edge + 0.5) * (0.4 * fluid - 0.26) + 0.16 * line(inside, 0.8 * edge));
  });
}

}  // namespace

// What is commoner in the NIH's images is commoner here, but within a factor of three: the rarest
// must be learnt from a few thousand images.
const std::array<Drawing, kFindingCount> kDrawings{{
    {0.16, alter_atelectasis, draw_atelectasis},
    {0.115, nullptr, draw_consolidation},
    {0.20, nullptr, draw_infiltration},
    {0.12, nullptr, draw_pneumothorax},
    {0.09, nullptr, draw_edema},
    {0.095, alter_emphysema, draw_emphysema},
    {0.085, nullptr, draw_fibrosis},
    {0.18, nullptr, draw_effusion},
    {0.09, nullptr, draw_pneumonia},
    {0.105, nullptr, draw_pleural_thickening},
    {0.1, alter_cardiomegaly, nullptr},  // Cardiomegaly
    {0.14, nullptr, draw_nodule},
    {0.13, nullptr, draw_mass},
    {0.07, nullptr, draw_hernia},
}};

std::vector<FindingSet> draw_history(uint64_t seed, uint32_t patient) {
  Random r(seed, Purpose::phantom, patient, 1 + kFindingCount);
  constexpr double kHealthy = 0.32, kAnotherImage = 0.4, kDrawnAnew = 0.15;
  const bool healthy = r.uniform() < kHealthy;
  std::vector<FindingSet> images(1);
  while (images.size() < 6 && r.uniform() < kAnotherImage) images.emplace_back();
  for (size_t i = 0; i < images.size(); ++i) {
    if (i > 0) images[i] = images[i - 1];
    for (size_t f = 0; f < kFindingCount; ++f)
      if (i == 0 || r.uniform() < kDrawnAnew)
        images[i][f] = !healthy && r.uniform() < kDrawings[f].frequency;
  }
  return images;
}

void draw_phantom(Film& film, Chest chest, FindingSet present, uint64_t seed, uint32_t patient) {
  const auto stream = [&](uint32_t f) { return Random(seed, Purpose::phantom, patient, 1 + f); };
  for (uint32_t f = 0; f < kFindingCount; ++f)
    if (Random r = stream(f); present[f] && kDrawings[f].alter) kDrawings[f].alter(chest, r);
  draw_anatomy(film, chest);
  // A pneumothorax wipes out what lies beyond its line, so it comes last.
  for (int last = 0; last < 2; ++last)
    for (uint32_t f = 0; f < kFindingCount; ++f) {
      const auto draw = kDrawings[f].draw;
      if (Random r = stream(f); present[f] && draw && last == (draw == draw_pneumothorax))
        draw(film, chest, r);
    }
}

}  // namespace pneuma::phantom
