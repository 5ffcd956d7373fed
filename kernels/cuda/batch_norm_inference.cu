// Batch norm by the statistics that training has left:
// y = relu?(gamma (x - running_mean) / sqrt(running_var + eps) + beta (+ residual)).
#include "kernels/cuda/batch_norm.cuh"
#include "kernels/cuda/cuda.h"

namespace pneuma::cuda {

Status batch_norm_inference(Stream stream, const BatchNormInference& a) {
  if (const Status s =
          batch_norm::check(a.x, {a.y, either(a.residual, a.x)},
                            {either(a.gamma, a.beta), a.beta, a.running_mean, a.running_var});
      !s)
    return s;
  return dispatch(a.x.dtype, [&]<class T>(T) -> Status {
    return batch_norm::apply<T>(
        stream, a.x,
        {a.x.as<const T>(), a.residual.as<const T>(), a.gamma.as<const float>(),
         a.beta.as<const float>(), a.running_mean.as<const float>(), nullptr,
         a.running_var.as<const float>(), float(a.eps), a.relu, a.y.as<T>(), nullptr});
  });
}

}  // namespace pneuma::cuda
