// The 14 findings as they are drawn on a phantom.
#pragma once

#include "data/findings.h"
#include "data/phantom/anatomy.h"

namespace pneuma::phantom {

struct Drawing {
  double frequency;                            // among patients who are not healthy
  void (*alter)(Chest&, Random&);              // what it does to the anatomy; may be null
  void (*draw)(Film&, const Chest&, Random&);  // what it adds to the film; may be null
};
extern const std::array<Drawing, kFindingCount> kDrawings;  // in the order of kFindings

// The findings in each of a patient's images, one to six: mostly the same ones.
std::vector<FindingSet> draw_history(uint64_t seed, uint32_t patient);

// A whole image of a patient: the anatomy as the present findings alter it, then the findings. Each
// finding has its own random numbers, so it looks the same in all of the patient's images.
void draw_phantom(Film& film, Chest chest, FindingSet present, uint64_t seed, uint32_t patient);

}  // namespace pneuma::phantom
