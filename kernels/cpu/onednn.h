// One oneDNN primitive with what surrounds it: inputs brought into the layout it wants, results
// brought back or added. Built once per shape, kept in a bounded cache; all memory it needs is the
// caller's workspace. A tensor of 16 bits that the primitive does not compute on has a copy in f32
// there: the same numbers, more slowly. So has a result that is added, which is rounded once then.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "kernels/cpu/convolution.h"

namespace pneuma::onednn {

const dnnl::engine& engine();

// What primitives read, or write to a result, for tensors stored so.
dnnl::memory::data_type computed(Dtype stored, bool add = false);

class Operation {
 public:
  struct Argument {
    int name;  // DNNL_ARG_*
    dnnl::memory::desc user,
        wanted;  // the seam's layout, the primitive's; of computed(stored, add)
    Dtype stored;
    bool output = false, add = false;
  };
  Operation(dnnl::primitive primitive, const dnnl::memory::desc& scratchpad,
            std::vector<Argument> arguments);

  size_t workspace() const { return workspace_; }
  // `data` in the order of the arguments; what follows them is not looked at. REQUIRES workspace()
  // bytes at `workspace`.
  void run(const std::vector<void*>& data, void* workspace) const;

 private:
  struct Part : Argument {
    size_t stage = 0, offset = 0;  // of its copies in f32 and in `wanted` layout, if any
    bool staged = false;
    dnnl::primitive reorder;
    void convert(void* data, void* copy) const;
  };
  dnnl::primitive primitive_;
  dnnl::memory::desc scratchpad_;
  std::vector<Part> parts_;
  size_t workspace_ = 0;
};

template <class Primitive>
std::shared_ptr<const Operation> built(const typename Primitive::primitive_desc& pd,
                                       std::vector<Operation::Argument> arguments) {
  return std::make_shared<Operation>(Primitive(pd), pd.scratchpad_desc(), std::move(arguments));
}

// Everything that decides how a primitive is built: pass, sizes, strides, flags, dtype; threads are
// added.
using Key = std::array<int64_t, 13>;
using Built = std::shared_ptr<const Operation>;

// From the cache, else from `build`, with oneDNN's threads set to the device's. Throws dnnl::error.
Built operation(Key key, const std::function<Built()>& build);

// Runs f; an exception of oneDNN becomes a Status.
Status guarded(const std::function<Status()>& f);
// The workspace of what `find` returns; 0 where oneDNN refuses (run() then says so).
size_t workspace_of(const std::function<Built()>& find);
Status run(const std::function<Built()>& find, const std::vector<void*>& data,
           const View& workspace);

}  // namespace pneuma::onednn
