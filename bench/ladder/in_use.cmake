# The kernels in use that the last rungs start.
set(ladder_in_use batch_norm_forward.cu gradient_check.cu linear.cu optimizer_step.cu)
list(TRANSFORM ladder_in_use PREPEND ${CMAKE_SOURCE_DIR}/kernels/cuda/)
