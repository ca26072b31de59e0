/* Loads the NEFF that its argument names, prints the model's tensors (name, bytes, usage, type) and runs it on
 * 21. Any status but success ends it. */
#include <stdio.h>
#include <stdlib.h>

#include "twin.h"

#define CHECK(call)                                                                  \
    do {                                                                             \
        NRT_STATUS status = (call);                                                  \
        if (status != NRT_SUCCESS) {                                                 \
            fprintf(stderr, "%s: %s\n", #call, nrt_get_status_as_str(status));       \
            return 1;                                                                \
        }                                                                            \
    } while (0)

int main(int count, char **arguments) {
    static char neff[1 << 16];
    FILE *file = fopen(count > 1 ? arguments[1] : "", "rb");
    if (!file) return 1;
    size_t bytes = fread(neff, 1, sizeof neff, file);
    fclose(file);

    nrt_model_t *model = NULL;
    nrt_tensor_info_array_t *infos = NULL;
    nrt_tensor_t *x = NULL, *y = NULL;
    nrt_tensor_set_t *inputs = NULL, *outputs = NULL;
    float number = 21;

    CHECK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    CHECK(nrt_load(neff, bytes, 0, -1, &model));
    CHECK(nrt_get_model_tensor_info(model, &infos));
    for (uint64_t i = 0; i < infos->tensor_count; i++) {
        const nrt_tensor_info_t *info = &infos->tensor_array[i];
        if (info->ndim != 1 || info->shape[0] != 1) return 1;
        printf("%s %zu %d %d\n", info->name, info->size, (int)info->usage, (int)info->dtype);
    }
    CHECK(nrt_free_model_tensor_info(infos));
    CHECK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, sizeof number, "x", &x));
    CHECK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, sizeof number, "y", &y));
    CHECK(nrt_allocate_tensor_set(&inputs));
    CHECK(nrt_allocate_tensor_set(&outputs));
    CHECK(nrt_add_tensor_to_tensor_set(inputs, "x", x));
    CHECK(nrt_add_tensor_to_tensor_set(outputs, "y", y));
    CHECK(nrt_tensor_write(x, &number, 0, sizeof number));
    CHECK(nrt_execute(model, inputs, outputs));
    CHECK(nrt_tensor_read(y, &number, 0, sizeof number));
    printf("%g\n", number);
    nrt_destroy_tensor_set(&inputs);
    nrt_destroy_tensor_set(&outputs);
    nrt_tensor_free(&x);
    nrt_tensor_free(&y);
    CHECK(nrt_unload(model));
    nrt_close();
    return 0;
}
