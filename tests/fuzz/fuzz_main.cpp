// libFuzzer's entry of the reader that PNEUMA_READER names.
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  pneuma::fuzz::check(pneuma::fuzz::PNEUMA_READER, {bytes, size});
  return 0;
}
