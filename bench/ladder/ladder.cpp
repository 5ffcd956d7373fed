#include "bench/ladder/ladder.h"

#include <stdexcept>

namespace pneuma::ladder {

void run(const Ladder& ladder, const Rung& rung) {
  if (const Status s = rung.run(); !s)
    throw std::runtime_error(std::string(ladder.name) + ", " + rung.name + ": " + s.message);
}

std::string counted(uint64_t n) {
  if (n < 100'000) return std::to_string(n);
  return n < 10'000'000 ? std::to_string((n + 500) / 1000) + "k"
                        : std::to_string((n + 500'000) / 1'000'000) + "M";
}

// Counts are exact at any size, so a small one serves; times want arrays that no cache holds.
std::vector<Ladder> ladders() {
  if (machine.counts)
    return {reduction((1 << 16) + 3), batch_norm(784, 64, 1e3), matrix_product(64, 128, 128),
            adam({6400, 64, 64, 10000, 7})};
  std::vector<int64_t> tensors;  // as many, and about as large, as ResNet-50 has
  for (int i = 0; i < 10; ++i) tensors.push_back(int64_t{3} * 3 * 512 * 512);
  for (int i = 0; i < 150; ++i) tensors.push_back(64 << i % 4);
  return {reduction(1 << 24), batch_norm(int64_t{32} * 56 * 56, 256, 1e3),
          matrix_product(1024, 1024, 1024), adam(tensors)};
}

}  // namespace pneuma::ladder
