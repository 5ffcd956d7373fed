// A network as MXNet reads it: symbol.json, of 1.x. It is written from what the network does, the
// nodes of its tape, so that one description of it, its forward(), serves every depth and form.
#pragma once

#include <string>

#include "models/weight_files.h"

namespace pneuma {

// Names of a parameter and of a buffer there. MXNet's own stay; torchvision's become of its kind:
// layer1.0.bn1.weight -> layer1_0_bn1_gamma.
std::string mxnet_name(const Parameter&);
std::string mxnet_name(const Buffer&);

// The graph from raw pixels `data` [N,C,H,W], 0..255, to probabilities [N,classes]: node `softmax`,
// or, where an image has several findings, `logistic`. The logits are the output of the node before
// it, the last layer: fc1_output of MXNet's networks, fc_output of torchvision's. A network without
// bn_data gets a first node `normalize`, which subtracts info.mean and divides by info.std; in
// bn_data's statistics they are folded in (export.h). ctx runs no kernel; net is of it.
std::string symbol_json(Context& ctx, const ResNet& net, const ModelInfo& info);

}  // namespace pneuma
