// Every rung of the ladder is right within what roundings explain, and what its table says that it
// gains is so. All counts are of host_cuda, which throws here at any fault of a kernel.
#include "bench/ladder/ladder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

using namespace pneuma::ladder;

namespace {

using Table = std::map<std::string, Figures>;

Table climb(const Ladder& ladder) {
  Table table;
  for (const Rung& rung : ladder.rungs) table[rung.name] = machine.measure(ladder, rung);
  return table;
}
void expect_all_within(const Ladder& ladder) {
  for (const auto& [name, f] : climb(ladder)) {
    INFO(ladder.name, ", ", ladder.problem, ", ", name, ": ", f.check.error, " of ", f.check.bound);
    CHECK(f.check.within());
  }
}
// Sectors asked for, over those that would hold what is asked for.
double spread(const Figures& f) { return double(f.sectors) / double(f.least_sectors); }
double idle(const Figures& f) { return double(f.idle_lanes) / double(f.lanes); }

}  // namespace

TEST_CASE("every rung is right: the sum of squares, whatever the count") {
  for (const int64_t count : {1, 3, 255, 257, 4097, (1 << 16) + 3})
    expect_all_within(reduction(count));
}
TEST_CASE("every rung is right: batch norm, also where the last block has few rows") {
  expect_all_within(batch_norm(784, 64, 0));
  expect_all_within(batch_norm(131, 32, -1));
}
TEST_CASE("every rung is right: matrix product") {
  expect_all_within(matrix_product(64, 128, 192));
  expect_all_within(matrix_product(128, 64, 64));
}
TEST_CASE("every rung is right: Adam, also of tensors that fill no access") {
  expect_all_within(adam({6400, 64, 1, 10000, 7, 4096}));
}

TEST_CASE("E[x^2] - E[x]^2 is wrong where the mean is large, and that rung alone") {
  for (const auto& [name, f] : climb(batch_norm(784, 64, 1e3))) {
    INFO(name, ": ", f.check.error, " of ", f.check.bound);
    CHECK(f.check.within() == (name != "E[x^2] - E[x]^2"));
    CHECK((f.check.error > 1e-2) == (name == "E[x^2] - E[x]^2"));
  }
}
TEST_CASE("a rung that does nothing is not taken for right") {
  for (const Ladder& ladder : ladders()) {
    Rung lazy = ladder.rungs[0];
    lazy.run = [] { return pneuma::Status{}; };
    CHECK_MESSAGE(!machine.measure(ladder, lazy).check.within(), ladder.name);
  }
}

TEST_CASE("the README has the figures of today") {
  std::ifstream readme(std::string(PNEUMA_SOURCE_DIR) + "/bench/ladder/README.md");
  std::vector<std::string> lines;
  for (std::string line; std::getline(readme, line);) lines.push_back(line);
  for (const Ladder& ladder : ladders())
    for (const auto& [name, f] : climb(ladder)) {
      if (f.launches == 0) continue;  // in a library
      char rest[128];
      std::snprintf(rest, sizeof rest, " | %d | %s / %s | %s | %.2f | %.0f%% | %s | %d |",
                    int(f.launches), counted(f.bytes_read).c_str(),
                    counted(f.bytes_written).c_str(), counted(f.sectors).c_str(), spread(f),
                    100 * double(f.wide_accesses) / double(f.accesses),
                    counted(f.bank_conflicts).c_str(), int(f.barriers));
      const bool stands = std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.starts_with("| " + name + " | ") && line.ends_with(rest);
      });
      CHECK_MESSAGE(stands, ladder.name << ": | " << name << " | ..." << rest);
    }
}

TEST_CASE("what the rungs of the reduction gain") {
  Table t = climb(reduction((1 << 16) + 3));
  CHECK(t["tree of neighbours"].check.error < t["one thread"].check.error);
  CHECK(t["tree of neighbours"].sectors < t["one thread"].sectors / 7);
  CHECK(idle(t["lanes packed"]) < idle(t["tree of neighbours"]) / 2);
  CHECK(t["lanes packed"].bank_conflicts > 0);
  CHECK(t["tree of halves"].bank_conflicts == 0);
  CHECK(t["shuffles"].barriers < t["tree of halves"].barriers / 4);
  CHECK(t["shuffles"].launches < t["tree of halves"].launches);
  CHECK(t["16 bytes"].bytes_read == t["shuffles"].bytes_read);
  CHECK(t["16 bytes"].accesses < t["shuffles"].accesses / 3);
  CHECK(t["in use"].check.error < t["16 bytes"].check.error);
}
TEST_CASE("what the rungs of batch norm gain") {
  const Ladder l = batch_norm(784, 64, 0);
  Table t = climb(l);
  CHECK(spread(t["block a channel"]) > 3);
  CHECK(spread(t["lanes along channels"]) == doctest::Approx(1));
  CHECK(t["lanes along channels"].sectors < t["block a channel"].sectors / 3);
  const uint64_t x = 784 * 64 * 2;
  CHECK(t["E[x^2] - E[x]^2"].bytes_read + x * 9 / 10 < t["lanes along channels"].bytes_read);
  CHECK(t["shifted"].bytes_read < t["E[x^2] - E[x]^2"].bytes_read + x / 10);
  CHECK(t["fused with ReLU"].bytes_read + x * 9 / 10 < t["shifted"].bytes_read);
  CHECK(t["fused with ReLU"].bytes_written + x * 8 / 10 < t["shifted"].bytes_written);
  CHECK(t["in use"].accesses < t["fused with ReLU"].accesses / 3);
  CHECK(double(t["in use"].bytes_read + t["in use"].bytes_written) < 1.1 * l.least_bytes);
}
TEST_CASE("what the rungs of the matrix product gain") {
  const Ladder l = matrix_product(64, 128, 128);
  Table t = climb(l);
  CHECK(spread(t["naive"]) > 8);
  CHECK(t["shared tiles"].sectors < t["naive"].sectors / 100);
  CHECK(t["shared tiles"].bank_conflicts > 100 * t["shared tiles"].sectors);
  CHECK(t["padded tiles"].bank_conflicts == 0);
  CHECK(t["register tiles"].sectors < t["padded tiles"].sectors);
  CHECK(t["wmma, shared tiles"].sectors < t["wmma"].sectors / 2);
  CHECK(t["wmma, shared tiles"].bank_conflicts > 0);
  CHECK(t["wmma, padded tiles"].bank_conflicts == 0);
  CHECK(t["wmma, padded tiles"].accesses < t["register tiles"].accesses / 2);
  for (const auto& [name, f] : t)  // what cuBLAS does is not seen
    CHECK_MESSAGE((name == "naive" || name == "in use" || spread(f) < 1.01), name);
}
TEST_CASE("what the rungs of Adam gain") {
  const Ladder l = adam({6400, 64, 64, 10000, 7});
  Table t = climb(l);
  CHECK(spread(t["runs of 16"]) > 7);
  CHECK(spread(t["an element a thread"]) < 1.01);
  CHECK(t["an element a thread"].sectors < t["runs of 16"].sectors / 7);
  CHECK(t["16 bytes"].accesses * 3 < t["an element a thread"].accesses);
  CHECK(t["16 bytes"].launches == 5);
  CHECK(t["all tensors"].launches == 1);
  CHECK(t["all tensors"].waits == 1);
  CHECK(t["in use"].launches == 1);
  CHECK(t["in use"].waits == 0);
  CHECK(double(t["in use"].bytes_read + t["in use"].bytes_written) < 1.05 * l.least_bytes);
}
