// All kernels, one module.
#include "activate.cu"
#include "argmax.cu"
#include "decode.cu"
#include "embed.cu"
#include "gemm.cu"
#include "norm.cu"
#include "rope.cu"
#include "skinny.cu"
