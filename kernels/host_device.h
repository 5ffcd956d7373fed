// The Device of backends whose memory is the host's: reference and cpu. Streams run at once, in
// order.
#pragma once

#include "kernels/kernels.h"

namespace pneuma {

// `describe` fills name and threads; the rest is the machine's. set_threads may be null (one thread
// only).
Device host_device(Status (*properties)(DeviceProperties*), Status (*set_threads)(int));

// The host's memory in bytes.
size_t host_memory();

}  // namespace pneuma
