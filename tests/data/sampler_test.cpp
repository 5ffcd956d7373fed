#include "data/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "engine/random.h"
#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;

TEST_CASE("1,000 random (N, batch, ranks): each sample once, same batches for any rank count") {
  Random random(1, Purpose::test);
  for (int trial = 0; trial < 1000; ++trial) {
    const int64_t count = 1 + random.below(300), batch = 1 + random.below(40);
    const int ranks = 1 + int(random.below(uint32_t(std::min<int64_t>(batch, 6))));
    const bool shuffle = random.below(2);
    const LastBatch last = random.below(2) && count >= batch ? LastBatch::drop : LastBatch::keep;
    CAPTURE(count);
    CAPTURE(batch);
    CAPTURE(ranks);
    const uint64_t seed = random.bits();
    const int64_t epoch = random.below(50);
    Sampler whole(count, batch, seed, shuffle, last);
    std::vector<Sampler> parts;
    for (int r = 0; r < ranks; ++r) parts.emplace_back(count, batch, seed, shuffle, last, r, ranks);
    REQUIRE(whole.steps() ==
            (last == LastBatch::drop ? count / batch : (count + batch - 1) / batch));
    std::set<int64_t> seen;
    int64_t served = 0;
    for (int64_t step = 0; step < whole.steps(); ++step) {
      const std::vector<int64_t> global = whole.batch(epoch, step);
      std::vector<int64_t> joined;
      for (Sampler& part : parts) {
        REQUIRE(part.steps() == whole.steps());
        const std::vector<int64_t> slice = part.batch(epoch, step);
        joined.insert(joined.end(), slice.begin(), slice.end());
      }
      REQUIRE(joined == global);
      if (last == LastBatch::drop) REQUIRE(int64_t(global.size()) == batch);
      seen.insert(global.begin(), global.end());
      served += int64_t(global.size());
    }
    REQUIRE(int64_t(seen.size()) == served);  // none twice
    REQUIRE(*seen.begin() >= 0);
    REQUIRE(*seen.rbegin() < count);
    REQUIRE(count - served == whole.left_out());
    REQUIRE(whole.left_out() < batch);
    if (last == LastBatch::keep) REQUIRE(served == count);
    // Any position is reached from nothing: a new sampler, this step first.
    const int64_t step = random.below(uint32_t(whole.steps()));
    REQUIRE(Sampler(count, batch, seed, shuffle, last).batch(epoch, step) ==
            whole.batch(epoch, step));
  }
}

TEST_CASE("epochs and seeds differ; without shuffle the order is the file's") {
  Sampler a(100, 100, 1, true, LastBatch::drop), b(100, 100, 2, true, LastBatch::drop);
  CHECK(a.batch(0, 0) != a.batch(1, 0));
  CHECK(a.batch(0, 0) != b.batch(0, 0));
  Sampler plain(7, 3, 1, false, LastBatch::keep);
  for (const int64_t epoch : {0, 5}) {
    CHECK(plain.batch(epoch, 0) == std::vector<int64_t>{0, 1, 2});
    CHECK(plain.batch(epoch, 2) == std::vector<int64_t>{6});
  }
}

TEST_CASE("drop leaves out others each epoch") {
  Sampler ring(7, 3, 1, false, LastBatch::drop);
  CHECK(ring.batch(0, 1) == std::vector<int64_t>{3, 4, 5});
  CHECK(ring.batch(1, 0) == std::vector<int64_t>{6, 0, 1});
  CHECK(ring.batch(2, 0) == std::vector<int64_t>{5, 6, 0});
  Sampler shuffled(11, 5, 1, true, LastBatch::drop);
  std::set<int64_t> left;
  for (int64_t epoch = 0; epoch < 100; ++epoch) {
    std::set<int64_t> seen;
    for (int64_t step = 0; step < 2; ++step)
      for (const int64_t i : shuffled.batch(epoch, step)) seen.insert(i);
    for (int64_t i = 0; i < 11; ++i)
      if (!seen.contains(i)) left.insert(i);
  }
  CHECK(left.size() == 11);
}

TEST_CASE("settings that cannot work say what to do") {
  CHECK(message_of(Exit::usage, [] {
          Sampler(9, 10, 0, true, LastBatch::drop);
        }).find("--last_batch keep") != std::string::npos);
  CHECK(Sampler(9, 10, 0, true, LastBatch::keep).batch(0, 0).size() == 9);
  message_of(Exit::data, [] { Sampler(0, 10, 0, true, LastBatch::keep); });
  message_of(Exit::usage, [] { Sampler(9, 0, 0, true, LastBatch::keep); });
  message_of(Exit::usage, [] { Sampler(9, 2, 0, true, LastBatch::keep, 0, 3); });
}
