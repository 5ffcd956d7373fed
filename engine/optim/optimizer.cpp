#include "engine/optim/optimizer.h"

namespace pneuma {
namespace {

constexpr const char* kNames[] = {"sgd", "nag", "adam", "rmsprop"};

int moments_of(OptimizerKind kind) { return kind == OptimizerKind::adam ? 2 : 1; }

}  // namespace

const char* name_of(OptimizerKind kind) { return kNames[int(kind)]; }

OptimizerKind optimizer_named(const std::string& name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kNames[i]) return OptimizerKind(i);
  }
  fail(Exit::usage, "--optimizer {} is not known; known are sgd, nag, adam, rmsprop", name);
}

Optimizer::Optimizer(Context& ctx, const Parameters& parameters, const OptimizerSettings& settings,
                     const ScalerPolicy& scaler)
    : settings_(settings), scaler_(scaler) {
  state_ = ctx.persistent({sizeof(StepState)}, Dtype::u8);
  set_state(ctx, {.loss_scale = scaler.start});
  const bool uses_decay =
      settings.kind == OptimizerKind::sgd || settings.kind == OptimizerKind::nag;
  int64_t first_chunk = 0;
  for (const Parameter* learns : parameters.learning()) {
    const Parameter& p = *learns;
    if (groups_.empty() || groups_.back().rate_factor != p.rate_factor)
      groups_.push_back({items_.size(), 0, p.rate_factor});
    ++groups_.back().count;
    void* moment[2] = {};
    for (int i = 0; i < moments_of(settings.kind); ++i) {
      moments_.push_back({fmt::format("{}.moment{}", p.name, i + 1),
                          ctx.persistent(p.value.shape(), p.value.dtype())});
      moment[i] = moments_.back().value.data<void>();
    }
    items_.push_back({.value = p.value.data<void>(),
                      .gradient = p.gradient.data<void>(),
                      .moment1 = moment[0],
                      .moment2 = moment[1],
                      .working = p.working.data<void>(),
                      .count = p.value.shape().count(),
                      .dtype = p.value.dtype(),
                      .gradient_dtype = p.gradient.dtype(),
                      .working_dtype = p.working ? p.working.dtype() : p.value.dtype(),
                      .weight_decay = uses_decay && decays(p.role) ? settings.weight_decay : 0,
                      .first_chunk = first_chunk});
    first_chunk += (items_.back().count + kParameterChunk - 1) / kParameterChunk;
  }
  learning_ = items_.size();
  for (Group& group : groups_) {
    if (group.first == 0) continue;
    const size_t from = std::exchange(group.first, items_.size());
    for (size_t i = 0; i < group.count; ++i) {
      items_.push_back(items_[from + i]);
      items_.back().first_chunk -= items_[from].first_chunk;
    }
  }
  const size_t bytes = items_.size() * sizeof(ParameterUpdate);
  device_items_ = ctx.persistent({int64_t(bytes)}, Dtype::u8);
  ctx.upload(device_items_, items_.data(), bytes);
}

void Optimizer::step(Context& ctx, double learning_rate) {
  auto* state = state_.data<StepState>();
  const auto* device_items = device_items_.data<ParameterUpdate>();
  ctx.run(&Kernels::gradient_check,
          {items_.data(), device_items, int64_t(learning_), state, scaler_});
  for (const auto& [first, count, rate_factor] : groups_)
    ctx.run(&Kernels::optimizer_step,
            {settings_.kind, items_.data() + first, device_items + first, int64_t(count), state,
             learning_rate * rate_factor, settings_.momentum, settings_.beta_1, settings_.beta_2,
             settings_.eps, settings_.gamma, settings_.clip_norm});
}

StepState Optimizer::state(Context& ctx) const {
  StepState state;
  ctx.download(&state, state_, sizeof state);
  return state;
}

void Optimizer::set_state(Context& ctx, const StepState& state) {
  ctx.upload(state_, &state, sizeof state);
}

void train_step(Context& ctx, const Parameters& parameters, Optimizer& optimizer,
                double learning_rate, const std::function<Tensor(Context&)>& loss) {
  train_step(ctx, parameters, optimizer, learning_rate, 1,
             [&](Context& c, int64_t) { return loss(c); });
}

void train_step(Context& ctx, const Parameters& parameters, Optimizer& optimizer,
                double learning_rate, int64_t parts,
                const std::function<Tensor(Context&, int64_t part)>& loss) {
  for (int64_t part = 0; part < parts; ++part) {
    Tape tape;
    parameters.watch(tape, part > 0);
    const Recording recording(ctx, tape);
    tape.backward(ctx, loss(ctx, part));
  }
  const Comm& comm = ctx.backend().comm;
  if (comm.size > 1) {
    for (const Parameter* p : parameters.learning()) {
      comm.all_reduce_sum(
          comm.self, ctx.stream(),
          {p->gradient.data<void>(), p->gradient.dtype(), p->gradient.shape().count()});
    }
  }
  optimizer.step(ctx, learning_rate);
}

}  // namespace pneuma
