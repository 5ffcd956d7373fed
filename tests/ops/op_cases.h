// One table of cases drives every test of an op: gradients by differences on the oracle, every
// backend against the oracle, equal bits, stray writes, gaps. Its time is measured at ResNet-50's
// shapes: bench/kernels/.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/ops.h"
#include "engine/random.h"

namespace pneuma::testing {

struct Input {
  Shape shape;
  std::function<double(Random&)> draw;  // one value; rounded to f32, so that all dtypes see one
  bool gradient = false;                // whether the op gives one
  std::vector<uint8_t> bytes = {};      // instead: the contents, dtype u8
  bool integer = false;                 // i32
  bool master = false;  // of the policy's master dtype, as weights' masters and statistics are
};

struct OpCase {
  std::string name;
  std::vector<Input> inputs;
  // Runs the op; backward begins at the first result. The others are compared too.
  std::function<std::vector<Tensor>(Context&, const std::vector<Tensor>&)> run;
  // Largest error of a result over its largest magnitude, in eps of the result's dtype.
  double tolerance = 16;
  bool training = true;
  bool smooth = true;                  // differences make sense: no ties, no kinks within a step
  double gradient_scale = 1;           // that the op puts on its gradients (the loss scale)
  std::vector<std::string> gaps = {};  // backends that cannot; a gap that is not listed fails
  // {backend, result} whose bits go by the number of threads; one that is not listed fails.
  std::vector<std::pair<std::string, std::string>> thread_gaps = {};
  // In 16 bits every device has the bits of the reference: nothing but + - * / max and casts, and
  // no sum whose order matters.
  bool exact = false;
};

std::vector<OpCase> op_cases();

// One tensor that a case has written, as the host sees it.
struct Result {
  std::string what;  // "result 0", "gradient 1", "input 4 afterwards"
  std::vector<double> values;
  Dtype dtype;
};

enum class Use { once, twice };  // twice: the op runs twice on its inputs, so that gradients add up

// Rounded to what a policy of this activation dtype can hold, so that the oracle sees the same.
std::vector<std::vector<double>> draw_inputs(const OpCase&, Dtype activation = Dtype::f32);
// Runs a case forward from these inputs and, where it gives gradients and `backward` is asked for,
// backward from output_gradient() of its first result, rounded to `activation`.
std::vector<Result> execute(Context&, const OpCase&, Use,
                            const std::vector<std::vector<double>>& inputs, bool backward = true,
                            Dtype activation = Dtype::f32);
// Fixed numbers; 1 for a loss.
std::vector<double> output_gradient(int64_t count, Dtype activation = Dtype::f32);

}  // namespace pneuma::testing
