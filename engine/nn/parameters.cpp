#include "engine/nn/parameters.h"

namespace pneuma {

Tensor Parameters::add(Context& ctx, std::string name, Role role, Shape shape) {
  const Precision& precision = ctx.precision();
  Parameter& p =
      parameters.emplace_back(std::move(name), role, ctx.persistent(shape, precision.master));
  if (role == Role::weight && precision.weight() != precision.master)
    p.working = ctx.persistent(shape, precision.weight());
  return p.read();
}

Tensor Parameters::add_buffer(Context& ctx, std::string name, Shape shape) {
  return buffers.emplace_back(std::move(name), ctx.persistent(shape, ctx.precision().master)).value;
}

void Parameters::make_gradients(Context& ctx, bool like_masters) {
  for (Parameter& p : parameters) {
    const Tensor& like = like_masters ? p.value : p.read();
    if (!p.gradient && p.rate_factor != 0)
      p.gradient = ctx.persistent(p.value.shape(), like.dtype());
  }
}

std::vector<const Parameter*> Parameters::learning() const {
  std::vector<const Parameter*> all;
  for (const Parameter& p : parameters)
    if (p.rate_factor != 0) all.push_back(&p);
  return all;
}

void Parameters::watch(Tape& tape, bool add) const {
  for (const Parameter* p : learning()) tape.watch(p->read(), p->gradient, add);
}

void Parameters::write_working(Context& ctx) const {
  for (const Parameter& p : parameters)
    if (p.working) ctx.run(&Kernels::convert, {p.value.view(), {p.working.view()}});
}

int64_t Parameters::count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters) n += p.value.shape().count();
  return n;
}

}  // namespace pneuma
