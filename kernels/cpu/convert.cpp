// y = x, or y += x, each stored in its own way.
#include "kernels/cpu/own.h"

namespace pneuma::PN_ISA {

Status convert(Stream, const Convert& a) {
  PN_REQUIRE_DTYPE(is_stored(a.x.dtype));
  PN_REQUIRE(a.x.count() == a.y.count(), "convert: x and y must have one count");
  return dispatch(a.y.dtype, [&]<class Y>(Y) {
    dispatch(a.x.dtype, [&]<class X>(X) {
      with(a.y.add, [&](auto add) {
        for_chunks(a.y.count(), kChunk, [&](int64_t begin, int64_t end) {
          for_vectors(begin, end, [&](int64_t i, auto n) {
            const Vec x = load(a.x.as<X>() + i, n);
            Y* y = a.y.as<Y>() + i;
            store(y, decltype(add)::value ? load(y, n) + x : x, n);
          });
        });
      });
    });
  });
}

}  // namespace pneuma::PN_ISA
