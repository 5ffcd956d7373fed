// The formulas of pointwise.h over whole tensors, and two that need none: fill and convert.
#include "kernels/pointwise.h"

#include <cstring>

#include "kernels/reference/dispatch.h"
#include "kernels/reference/reference.h"

namespace pneuma::reference {

Status pointwise_forward(Stream, const PointwiseForward& a) {
  if (!are_like(a.a, {a.a, either(a.b, a.a), a.y})) return invalid("a, b and y are not alike");
  return dispatch(a.a.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    pointwise::dispatch(a.op, [&](auto formula) {
      for (int64_t i = 0; i < a.y.count(); ++i)
        a.y.as<T>()[i] = T(formula.forward(at<T>(a.a, i), a.b ? at<T>(a.b, i) : A(0), A(a.alpha)));
    });
  });
}

Status pointwise_backward(Stream, const PointwiseBackward& a) {
  if (!are_like(a.a, {a.a, either(a.b, a.a), a.y, a.dy, either(a.da, a.a), either(a.db, a.a)}))
    return invalid("a, b, y, dy, da and db are not alike");
  return dispatch(a.a.dtype, [&]<class T>(T) {
    using A = Arithmetic<T>;
    pointwise::dispatch(a.op, [&](auto formula) {
      for (int64_t i = 0; i < a.y.count(); ++i) {
        A da = 0, db = 0;
        formula.gradient(at<T>(a.a, i), a.b ? at<T>(a.b, i) : A(0), at<T>(a.y, i), at<T>(a.dy, i),
                         A(a.alpha), &da, &db);
        put<T>(a.da, i, double(da));
        put<T>(a.db, i, double(db));
      }
    });
  });
}

Status fill(Stream, const Fill& a) {
  if (!a.y.data) return invalid("y is absent");
  if (a.value == 0 && !std::signbit(a.value))  // in every dtype
    return std::memset(a.y.data, 0, a.y.bytes()), Status{};
  return dispatch(a.y.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.y.count(); ++i) put<T>({a.y}, i, a.value);
  });
}

Status convert(Stream, const Convert& a) {
  if (!a.x.data || !a.y.data || a.x.count() != a.y.count() || !is_stored(a.x.dtype))
    return invalid("x and y have different numbers of elements, or x is of no float dtype");
  return dispatch(a.y.dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < a.y.count(); ++i) put<T>(a.y, i, load(a.x.dtype, a.x.data, i));
  });
}

}  // namespace pneuma::reference
