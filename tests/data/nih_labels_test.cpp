#include "data/nih_labels.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <filesystem>

#include "tests/shared_data.h"
#include "tests/temporary.h"

using namespace pneuma;
using pneuma::testing::message_of;
using pneuma::testing::Temporary;

namespace {

const std::string kHeader =
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]";
const std::string kFirst = "00000013_005.png,Edema|Mass,5,13,60,M,AP,3056,2544,0.139,0.139";
const std::string kSecond = "00000014_000.png,No Finding,0,14,61,F,PA,2048,2500,0.168,0.168";

void pack(const std::filesystem::path& file, const std::string& text, int times = 1) {
  gzFile out = gzopen(file.c_str(), "wb");
  for (int i = 0; i < times; ++i) gzwrite(out, text.data(), unsigned(text.size()));
  gzclose(out);
}

}  // namespace

TEST_CASE("every spelling of the file reads the same") {
  Temporary folder;
  const std::string gender =
      "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
      "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],";
  const std::vector<std::string> spellings = {
      kHeader + "\n" + kFirst + "\n" + kSecond + "\n",
      kHeader + "\n" + kFirst + "\n" + kSecond,                          // no final newline
      kHeader + "\r\n" + kFirst + "\r\n" + kSecond + "\r\n",             // CRLF
      "\xEF\xBB\xBF" + kHeader + "\n" + kFirst + "\n" + kSecond + "\n",  // byte order mark
      gender + "\n" + kFirst + ",\n" + kSecond + ",\n",                  // as of 2017
      gender + "\n" + kFirst + "\n" + kSecond + "\n",                    // comma in one alone
      kFirst + "\n" + kSecond + "\n",                                    // traindata.csv
      kFirst + ",\n" + kSecond + ",\n",
      kHeader + "\n\"00000013_005.png\",\"Edema|Mass\",5,\"13\",6,M,A,1,1,1,1\n\n" + kSecond + "\n",
      "image_index,FINDING LABELS,Patient ID\n00000013_005.png,mass|edema,13\n"
      "00000014_000.png,no_finding,14\n",
      "Patient ID,Finding Labels,Image Index\n13,Mass|Edema,00000013_005.png\n"
      "14,No Finding,00000014_000.png\n",
      "Image Index,Finding Labels\n00000013_005.png,Mass|Edema\n00000014_000.png,No Finding\n"};
  for (const std::string& text : spellings) {
    for (const bool packed : {false, true}) {
      if (packed)
        pack(folder / "labels.csv", text);
      else
        folder.write("labels.csv", text);
      CAPTURE(text);
      const std::vector<LabelRow> rows = read_labels(folder / "labels.csv");
      REQUIRE(rows.size() == 2);
      CHECK(rows[0].image == "00000013_005.png");
      CHECK(rows[0].labels.to_ulong() == (1u << 4 | 1u << 12));
      CHECK(rows[0].patient == 13);
      CHECK(rows[1].labels.none());
      CHECK(rows[1].patient == 14);
      // The rows alone read back as the same rows: that is what traindata.csv is.
      folder.write("again.csv", rows[0].line + "\n" + rows[1].line + "\n");
      const std::vector<LabelRow> again = read_labels(folder / "again.csv");
      CHECK(again[0].labels == rows[0].labels);
      CHECK(again[1].patient == 14);
    }
  }
}

TEST_CASE("findings: order and spelling") {
  CHECK(parse_findings("Atelectasis", "x").to_ulong() == 1);
  CHECK(parse_findings("Hernia", "x").to_ulong() == 1u << 13);
  for (const char* spelling : {"Pleural_Thickening", "Pleural thickening", "PLEURAL_thickening"})
    CHECK(parse_findings(spelling, "x").to_ulong() == 1u << 9);
}

TEST_CASE("a bad file is one sentence with file and line") {
  Temporary folder;
  const auto says = [&](const std::string& text, const std::string& part) {
    folder.write("bad.csv", text);
    const std::string said = message_of(Exit::data, [&] { read_labels(folder / "bad.csv"); });
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
    CHECK(said.find("bad.csv") != std::string::npos);
    CHECK(said.find('\n') == std::string::npos);
  };
  const std::string good = kHeader + "\n" + kFirst + "\n";
  says(good + "a.png,Efusion,0,1,5,M,PA,1,1,1,1\n", "bad.csv:3: unknown finding 'Efusion'");
  says(good + "a.png,Efusion,0,1,5,M,PA,1,1,1,1\n", "the nearest known is Effusion");
  says(good + "a.png,,0,1,5,M,PA,1,1,1,1\n", "unknown finding ''");
  says(good + "a.png,No Finding|Mass,0,1,5,M,PA,1,1,1,1\n", "both");
  says(good + "a.png,Mass,0,1\n", ":3: 4 fields where the first line has 11");
  says(good + "a.png,Mass,0,1,5,M,PA,1,1,1\n", "cut short");
  says(good + "a.png,Mass,0,1,5,M,PA,1,1,1,1,7\n", "12 fields");
  says(good + "a.png,Mass,0,one,5,M,PA,1,1,1,1\n", "patient 'one'");
  says(good + "a.png,Mass,0,-1,5,M,PA,1,1,1,1\n", "patient '-1'");
  says(good + "a.png,Mass,0,99999999999999999999,5,M,PA,1,1,1,1\n", "patient '9999");
  says(good + "../a.png,Mass,0,1,5,M,PA,1,1,1,1\n", "leaves the root");
  says(good + "x/a.png,Mass,0,1,5,M,PA,1,1,1,1\n", "names a folder");
  says(good + "\"a.png,Mass,0,1,5,M,PA,1,1,1,1\n", "quote");
  says(good + kSecond + "\n" + kFirst + "\n", ":4: image 00000013_005.png stands in line 2");
  says("", "no rows");
  says(kHeader + "\n", "no rows");
  says("Image Index,Patient ID\na.png,1\n", "no column 'Finding Labels'");
  says("one line of prose\n", "is this the NIH's label file");
  says(std::string(100000, 'x'), "100000 bytes");
  says(good + std::string("a\0b", 3), "zero bytes");
  CHECK(message_of(Exit::data, [&] {
          read_labels(folder / "none.csv");
        }).find("none.csv: cannot be opened") != std::string::npos);
  CHECK(message_of(Exit::data, [&] { read_labels(folder.path); }).find("is a folder") !=
        std::string::npos);
}

TEST_CASE("gzip: damaged, cut short, a bomb") {
  Temporary folder;
  std::string text = kHeader + "\n";
  for (int i = 0; i < 2000; ++i) text += fmt::format("{}.png,Mass,0,{},5,M,PA,1,1,1,1\n", i, i * i);
  pack(folder / "good.csv.gz", text);
  REQUIRE(read_labels(folder / "good.csv.gz").size() == 2000);
  std::string bytes = folder.read("good.csv.gz");
  folder.write("short.csv.gz", bytes.substr(0, bytes.size() / 2));
  bytes[bytes.size() - 6] ^= 1;  // its checksum
  folder.write("flipped.csv.gz", bytes);
  for (const char* name : {"short.csv.gz", "flipped.csv.gz"})
    CHECK(message_of(Exit::data, [&] { read_labels(folder / name); }).find("damaged") !=
          std::string::npos);
  pack(folder / "bomb.csv.gz", std::string(1 << 20, ' '), 300);
  CHECK(std::filesystem::file_size(folder / "bomb.csv.gz") < 1 << 20);
  CHECK(message_of(Exit::data, [&] {
          read_labels(folder / "bomb.csv.gz");
        }).find("unpacks to over 64 times its size") != std::string::npos);
  folder.write("big.csv", std::string((1 << 20) + 1, ' '));
  CHECK(message_of(Exit::data, [&] { read_text(folder / "big.csv", 1 << 20); }).find("1 MB") !=
        std::string::npos);
}

TEST_CASE("the label file of a folder") {
  Temporary folder;
  CHECK(message_of(Exit::data, [&] { find_labels(folder.path); }).find("Data_Entry_2017.csv") !=
        std::string::npos);
  folder.write("Data_Entry_2017.csv.gz", "");
  CHECK(find_labels(folder.path).path.filename() == "Data_Entry_2017.csv.gz");
  CHECK(find_labels(folder.path).note.empty());
  folder.write("Data_Entry_2017_v2020.csv", "");
  CHECK(find_labels(folder.path).path.filename() == "Data_Entry_2017_v2020.csv");
  CHECK(find_labels(folder.path).note.find("Data_Entry_2017.csv.gz") != std::string::npos);
}

TEST_CASE("the patient in an NIH name") {
  CHECK(patient_of_name("00000013_005.png") == 13);
  CHECK(patient_of_name("images/00030805_000.jpg") == 30805);
  for (const char* other : {"13_005.png", "00000013-005.png", "x0000013_005.png", "a.png", "",
                            "00000013_005", "+0000013_005.png"})
    CHECK_FALSE(patient_of_name(other));
}

TEST_CASE("the real files") {
  const std::filesystem::path data = pneuma::testing::shared_data();
  if (data.empty()) return;
  const std::vector<LabelRow> rows =
      read_labels(data / "nih_labels" / "Data_Entry_2017_v2020.csv.gz");
  CHECK(rows.size() == 112120);
  size_t none = 0;
  std::array<size_t, kFindingCount> counts{};
  for (const LabelRow& row : rows) {
    none += row.labels.none();
    for (size_t i = 0; i < kFindingCount; ++i) counts[i] += row.labels[i];
  }
  CHECK(none == 60361);
  CHECK(counts == std::array<size_t, kFindingCount>{11559, 4667, 19894, 5302, 2303, 2516, 1686,
                                                    13317, 1431, 3385, 2776, 6331, 5782, 227});
  for (const char* folder : {"nih_1024", "nih_256", "nih_64_followup"})
    CHECK(read_labels(find_labels(data / folder).path).size() > 200);
}
