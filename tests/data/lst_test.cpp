#include "data/lst.h"

#include <doctest/doctest.h>

#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;

TEST_CASE("the recipe's line, and back") {
  Temporary folder;
  LabelRow row{.image = "00000001_000.png", .labels = parse_findings("Cardiomegaly|Hernia", "")};
  const std::string text = format_list(list_of({row, row}));
  CHECK(text.substr(0, text.find('\n')) ==
        "0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t1\t0\t0\t1\timages/00000001_000.png");
  folder.write("a.lst", text);
  const std::vector<ListEntry> entries = read_list(folder / "a.lst", 14);
  REQUIRE(entries.size() == 2);
  CHECK(entries[1].index == 1);
  CHECK(entries[1].labels == list_of({row})[0].labels);
  CHECK(entries[1].path == "images/00000001_000.png");
  CHECK(format_list(entries) == text);
}

TEST_CASE("what other writers make") {
  Temporary folder;
  folder.write("a.lst", "7\t3.000000\tdogs/a good dog.jpg\r\n\n12\t1e0\tb..c/..c.jpg");
  const std::vector<ListEntry> entries = read_list(folder / "a.lst");
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].path == "dogs/a good dog.jpg");
  CHECK(entries[0].labels == std::vector<float>{3});
  CHECK(entries[1].index == 12);
  CHECK(entries[1].labels == std::vector<float>{1});
}

TEST_CASE("bad lists are refused whole: file, line, reason") {
  Temporary folder;
  const auto says = [&](const std::string& line, const std::string& part) {
    folder.write("bad.lst", "0\t0\t1\ta.png\n" + line);
    const std::string said = message_of(Exit::data, [&] { read_list(folder / "bad.lst", 2); });
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
    CHECK(said.find("bad.lst:2: ") != std::string::npos);
    CHECK(said.find('\n') == std::string::npos);
  };
  says("1\t0\ta.png\n", "1 labels where 2 are needed");
  says("1\t0\t1\t1\ta.png\n", "3 labels where 2 are needed");
  says("1\ta.png\n", "2 fields");
  says("1 0 1 a.png\n", "1 fields");
  says("x\t0\t1\ta.png\n", "index 'x'");
  says("1.5\t0\t1\ta.png\n", "index '1.5'");
  says("1\t0\tone\ta.png\n", "label 'one'");
  says("1\t0\tnan\ta.png\n", "label 'nan'");
  says("1\t0\t1e99\ta.png\n", "label '1e99'");
  says("1\t0\t\ta.png\n", "label ''");
  says("1" + std::string(70'000, '\t') + "a\n", "a line of 70002 bytes");
  says("1\t0\t1\t/etc/passwd\n", "is absolute");
  says("1\t0\t1\t..\n", "leaves the root");
  says("1\t0\t1\timages/../../a.png\n", "leaves the root");
  says("1\t0\t1\t\n", "is empty");
  says("1\t0\t1\ta\x1b[31m.png\n", "control character");
  for (const char* empty : {"", "\n\n \n"}) {
    folder.write("empty.lst", empty);
    CHECK(message_of(Exit::data, [&] { read_list(folder / "empty.lst"); }).find("is empty") !=
          std::string::npos);
  }
}
