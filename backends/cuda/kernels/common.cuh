// What all kernels share: 16-bit floats, sums over a warp and a block, the tensor core's instructions.
// No header of the toolkit is included, so that the compiler library alone builds this.
//
// A kernel's name ends with the type of its weights and activations: `bf16` or `f16`. The residual
// stream, scores and sums are f32.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE static __device__ __forceinline__
// Of members and specialised templates, which have the linkage of what they belong to.
#define DEVICE_MEMBER __device__ __forceinline__
#define KERNEL extern "C" __global__ void

// Macros: the compiler makes variables in memory of constants.
#define WARP 32
#define ALL 0xffffffffu
#define LOG2_E 1.4426950408889634f
// Below any score, and finite: its difference to itself is 0.
#define LEAST -1e30f

// Of a token's word: it is the newest that was drawn in a slot.
#define OF_SLOT 0x80000000u

DEVICE u32 token_of(u32 word, const u32 *newest) { return word & OF_SLOT ? newest[word ^ OF_SLOT] : word; }

// Sixteen bytes, read and written at once.
struct alignas(16) Quad {
    u32 word[4];
};
struct alignas(8) Two {
    float a, b;
};

struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};

DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }

DEVICE float to_float(bf16 x) { return as_float((u32)x.bits << 16); }

DEVICE float to_float(f16 x) {
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(x.bits));
    return out;
}

// To the nearest, of two the even one. sm_75 has no instruction for it.
DEVICE void of_float(bf16 &out, float x) {
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
#else
    u32 bits = __float_as_uint(x);
    out.bits = x != x ? 0x7fff : (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

DEVICE void of_float(f16 &out, float x) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
}

template <class T> DEVICE T from_float(float x) {
    T out;
    of_float(out, x);
    return out;
}

// Two neighbours of a word, the first in its low half.
template <class T> DEVICE Two unpack(u32 word) {
    T low, high;
    low.bits = (u16)word;
    high.bits = (u16)(word >> 16);
    return {to_float(low), to_float(high)};
}

template <class T> DEVICE u32 pack(float a, float b) {
    return (u32)from_float<T>(a).bits | (u32)from_float<T>(b).bits << 16;
}

#if __CUDA_ARCH__ >= 800
// Both at once; the first operand becomes the upper half.
template <> DEVICE_MEMBER u32 pack<bf16>(float a, float b) {
    u32 out;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(b), "f"(a));
    return out;
}

template <> DEVICE_MEMBER u32 pack<f16>(float a, float b) {
    u32 out;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(b), "f"(a));
    return out;
}
#endif

DEVICE float exp2_approx(float x) {
    float out;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
    return out;
}

template <int LANES = WARP> DEVICE float warp_sum(float x) {
#pragma unroll
    for (int by = LANES / 2; by; by >>= 1) x += __shfl_xor_sync(ALL, x, by);
    return x;
}

// The sum of all threads' values, in each of them; `room` holds a float for each warp.
DEVICE float block_sum(float x, float *room) {
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    x = warp_sum(x);
    if (lane == 0) room[warp] = x;
    __syncthreads();
    x = lane < (int)blockDim.x / WARP ? room[lane] : 0.0f;
    return warp_sum(x);
}

DEVICE u32 shared_address(const void *pointer) {
    u64 address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
    return (u32)address;
}

// Copies sixteen bytes to shared memory, or zeros. With `cp.async` it is done after `copies_wait`.
DEVICE void copy_16(void *to, const void *from, bool is_there) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(is_there ? 16 : 0)
                 : "memory");
#else
    Quad zeros = {};
    *(Quad *)to = is_there ? *(const Quad *)from : zeros;
#endif
}

DEVICE void copies_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most LEFT groups of copies are under way.
template <int LEFT> DEVICE void copies_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}

// Four matrices of 8 by 8 halves; lanes 8 i to 8 i + 7 point at the rows of matrix i.
DEVICE void load_matrices(u32 (&out)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE void load_matrices_transposed(u32 (&out)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c += a · b: 16 rows, 8 columns, a depth of 16.
DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, bf16) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, f16) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// What becomes of a product: a value of T, an f32, or an f32 that is added to.
template <class T> struct Replaces {
    static DEVICE_MEMBER void put(T *to, float x) { *to = from_float<T>(x); }
};
template <> struct Replaces<float> {
    static DEVICE_MEMBER void put(float *to, float x) { *to = x; }
};
struct Adds {
    static DEVICE_MEMBER void put(float *to, float x) { *to += x; }
};

// Calls `DEFINE(T)` for both types: kernels of the template `name<T>` are `name_bf16` and `name_f16`.
// sm_75 has no tensor cores for bf16; its weights are f16.
#if __CUDA_ARCH__ >= 800
#define FOR_EACH_TYPE(DEFINE) DEFINE(bf16) DEFINE(f16)
#else
#define FOR_EACH_TYPE(DEFINE) DEFINE(f16)
#endif
