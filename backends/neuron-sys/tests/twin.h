/* What this crate says of libnrt, in C: a twin of our own, from the same facts. It is compiled and compared with
 * the Rust side by twin.rs, and programs of tests are written against it. Not AWS's header, and not for use
 * in its place: it has only what this crate has. */
#ifndef NEURON_SYS_TWIN_H
#define NEURON_SYS_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NRT_MAJOR_VERSION 2
#define NRT_TENSOR_NAME_MAX 256

typedef enum {
    NRT_SUCCESS = 0,
    NRT_FAILURE = 1,
    NRT_INVALID = 2,
    NRT_INVALID_HANDLE = 3,
    NRT_RESOURCE = 4,
    NRT_TIMEOUT = 5,
    NRT_HW_ERROR = 6,
    NRT_QUEUE_FULL = 7,
    NRT_LOAD_NOT_ENOUGH_NC = 9,
    NRT_UNSUPPORTED_NEFF_VERSION = 10,
    NRT_FAIL_HOST_MEM_ALLOC = 11,
    NRT_UNINITIALIZED = 13,
    NRT_CLOSED = 14,
    NRT_QUEUE_EMPTY = 15,
    NRT_EXEC_UNIT_UNRECOVERABLE = 101,
    NRT_EXEC_BAD_INPUT = 1002,
    NRT_EXEC_COMPLETED_WITH_NUM_ERR = 1003,
    NRT_EXEC_COMPLETED_WITH_ERR = 1004,
    NRT_EXEC_NC_BUSY = 1005,
    NRT_EXEC_OOB = 1006,
    NRT_COLL_PENDING = 1100,
    NRT_EXEC_HW_ERR_COLLECTIVES = 1200,
    NRT_EXEC_HW_ERR_HBM_UE = 1201,
    NRT_EXEC_HW_ERR_NC_UE = 1202,
    NRT_EXEC_HW_ERR_DMA_ABORT = 1203,
    NRT_EXEC_SW_NQ_OVERFLOW = 1204,
    NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205,
    NRT_NETWORK_PROXY_FAILURE = 1206,
} NRT_STATUS;

typedef enum {
    NRT_TENSOR_PLACEMENT_DEVICE,
    NRT_TENSOR_PLACEMENT_HOST,
    NRT_TENSOR_PLACEMENT_VIRTUAL,
} nrt_tensor_placement_t;

typedef enum {
    NRT_FRAMEWORK_TYPE_INVALID,
    NRT_FRAMEWORK_TYPE_NO_FW,
    NRT_FRAMEWORK_TYPE_TENSORFLOW,
    NRT_FRAMEWORK_TYPE_PYTORCH,
    NRT_FRAMEWORK_TYPE_MXNET,
    NRT_FRAMEWORK_TYPE_PRECHECK,
} nrt_framework_type_t;

typedef enum {
    NRT_TENSOR_USAGE_INPUT,
    NRT_TENSOR_USAGE_OUTPUT,
} nrt_tensor_usage_t;

typedef enum {
    NRT_DTYPE_UNKNOWN = 0,
    NRT_DTYPE_UINT64 = 1,
    NRT_DTYPE_INT8 = 2,
    NRT_DTYPE_UINT8 = 3,
    NRT_DTYPE_INT16 = 4,
    NRT_DTYPE_UINT16 = 5,
    NRT_DTYPE_BFLOAT16 = 6,
    NRT_DTYPE_FLOAT16 = 7,
    NRT_DTYPE_INT32 = 8,
    NRT_DTYPE_UINT32 = 9,
    NRT_DTYPE_FLOAT32 = 10,
    NRT_DTYPE_FP32R = 11,
    NRT_DTYPE_INT64 = 12,
    NRT_DTYPE_FP8_E3 = 13,
    NRT_DTYPE_FP8_E4 = 14,
    NRT_DTYPE_FP8_E5 = 15,
} nrt_dtype_t;

enum {
    NRT_INSTANCE_UNKNOWN,
    NRT_INSTANCE_INF1,
    NRT_INSTANCE_TRN1,
    NRT_INSTANCE_TRN1N,
    NRT_INSTANCE_INF2,
    NRT_INSTANCE_TRN2,
    NRT_INSTANCE_TRN2N,
    NRT_INSTANCE_INF2E,
    NRT_INSTANCE_TRN2P,
    NRT_INSTANCE_TRN2U,
    NRT_INSTANCE_TRN2E,
    NRT_INSTANCE_TRN2EU,
    NRT_INSTANCE_TRN2AC,
    NRT_INSTANCE_TRN2UAC,
    NRT_INSTANCE_TRN3,
    NRT_INSTANCE_TRN3PDS98,
};

enum {
    NRT_INSTANCE_SIZE_1XL,
    NRT_INSTANCE_SIZE_2XL,
    NRT_INSTANCE_SIZE_4XL,
    NRT_INSTANCE_SIZE_6XL,
    NRT_INSTANCE_SIZE_8XL,
    NRT_INSTANCE_SIZE_24XL,
    NRT_INSTANCE_SIZE_32XL,
    NRT_INSTANCE_SIZE_48XL,
    NRT_INSTANCE_SIZE_3XL,
    NRT_INSTANCE_SIZE_UNKNOWN,
};

typedef struct nrt_model nrt_model_t;
typedef struct nrt_tensor nrt_tensor_t;
typedef void nrt_tensor_set_t;

typedef struct {
    char name[NRT_TENSOR_NAME_MAX];
    nrt_tensor_usage_t usage;
    size_t size;
    nrt_dtype_t dtype;
    uint32_t *shape;
    uint32_t ndim;
} nrt_tensor_info_t;

typedef struct {
    uint64_t tensor_count;
    nrt_tensor_info_t tensor_array[];
} nrt_tensor_info_array_t;

typedef struct {
    uint64_t rt_major;
    uint64_t rt_minor;
    uint64_t rt_patch;
    uint64_t rt_maintenance;
    char rt_detail[128];
    char git_hash[64];
} nrt_version_t;

typedef struct {
    uint32_t family;
    uint32_t size;
    char arch_name[16];
    char device_revision[8];
} nrt_instance_info_t;

typedef struct {
    size_t bytes_used;
    size_t bytes_limit;
} nrt_vnc_memory_stats_t;

typedef struct {
    uint64_t offset;
    uint64_t size;
    void *buffer;
} nrt_tensor_batch_op_t;

typedef struct {
    const nrt_tensor_t *tensor;
    const nrt_tensor_batch_op_t *ops;
    uint32_t num_ops;
} nrt_tensor_batch_t;

NRT_STATUS nrt_init(nrt_framework_type_t, const char *, const char *);
void nrt_close(void);
NRT_STATUS nrt_get_version(nrt_version_t *, size_t);
NRT_STATUS nrt_get_total_vnc_count(uint32_t *);
NRT_STATUS nrt_get_visible_vnc_count(uint32_t *);
NRT_STATUS nrt_load(const void *, size_t, int32_t, int32_t, nrt_model_t **);
NRT_STATUS nrt_load_collectives(const void *, size_t, int32_t, int32_t, uint32_t, uint32_t,
                                nrt_model_t **);
NRT_STATUS nrt_unload(nrt_model_t *);
NRT_STATUS nrt_execute(nrt_model_t *, const nrt_tensor_set_t *, nrt_tensor_set_t *);
NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t, int, size_t, const char *, nrt_tensor_t **);
NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t *, size_t, size_t, const char *,
                                     nrt_tensor_t **);
void nrt_tensor_free(nrt_tensor_t **);
NRT_STATUS nrt_tensor_read(const nrt_tensor_t *, void *, size_t, size_t);
NRT_STATUS nrt_tensor_write(nrt_tensor_t *, const void *, size_t, size_t);
NRT_STATUS nrt_tensor_copy(const nrt_tensor_t *, size_t, nrt_tensor_t *, size_t, size_t);
size_t nrt_tensor_get_size(const nrt_tensor_t *);
NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t **);
void nrt_destroy_tensor_set(nrt_tensor_set_t **);
NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t *, const char *, nrt_tensor_t *);
NRT_STATUS nrt_get_model_tensor_info(nrt_model_t *, nrt_tensor_info_array_t **);
NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t *);
const char *nrt_get_status_as_str(NRT_STATUS);

NRT_STATUS nrt_get_instance_info(nrt_instance_info_t *, size_t);
NRT_STATUS nrt_get_vnc_memory_stats(uint32_t, nrt_vnc_memory_stats_t *, size_t, size_t *);
NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t *, const char *, nrt_tensor_t **);
NRT_STATUS nrt_tensor_memset(nrt_tensor_t *, uint64_t, int, size_t);
NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t *, uint64_t, bool);
NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t *, uint64_t, bool);
NRT_STATUS nrt_tensor_allocate_empty(const char *, nrt_tensor_t **);
NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t *, void *, size_t);
void *nrt_tensor_get_va(const nrt_tensor_t *);
NRT_STATUS nrt_get_model_instance_count(nrt_model_t *, uint32_t *);
NRT_STATUS nrt_execute_repeat(nrt_model_t *, const nrt_tensor_set_t *, nrt_tensor_set_t *, int);
NRT_STATUS nrt_build_global_comm(int32_t, uint32_t, uint32_t);
NRT_STATUS nrt_barrier(int32_t, uint32_t, uint32_t);

#endif
