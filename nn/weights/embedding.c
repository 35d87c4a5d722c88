/* Reads textual inversion files. Called by heptad-model: the header at a scan, the vectors when they are published. */
#include "nn/weights/embedding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hep_embedding {
    struct hep_safetensors *file;
    const struct hep_safetensors_entry *tensors[HEP_EMBEDDING_ENCODERS_MAX];
    int encoders;
};

/* Layouts with names of their own, each with one tensor for each text encoder. To add one: a row. */
static const struct layout {
    const char *names[HEP_EMBEDDING_ENCODERS_MAX];
} layouts[] = {{{"emb_params", NULL}}, {{"clip_l", "clip_g"}}};

static int encoders_of(const struct layout *layout)
{
    return layout->names[1] ? 2 : 1;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */
static enum hep_status find_named(struct hep_embedding *e, const struct layout *layout, struct hep_error *error)
{
    e->encoders = encoders_of(layout);
    for (int i = 0; i < e->encoders; i++) {
        e->tensors[i] = hep_safetensors_find(e->file, layout->names[i]);
        if (!e->tensors[i])
            return hep_fail(error, HEP_E_BAD_FILE, "it has '%s' and no '%s'", layout->names[1 - i], layout->names[i]);
    }
    return HEP_OK;
}

/* The tensors, by the layout whose first or second name is there; without one, the only tensor. */
static enum hep_status find_tensors(struct hep_embedding *e, struct hep_error *error)
{
    size_t count = hep_safetensors_count(e->file);
    for (size_t i = 0; i < HEP_COUNT_OF(layouts); i++)
        for (int k = 0; k < encoders_of(&layouts[i]); k++)
            if (!e->encoders && hep_safetensors_find(e->file, layouts[i].names[k]))
                HEP_TRY(find_named(e, &layouts[i], error));
    if (!e->encoders && count == 1) {
        e->tensors[0] = hep_safetensors_at(e->file, 0);
        e->encoders = 1;
    }
    if (!e->encoders)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "%zu tensors, and neither emb_params nor clip_l and clip_g: it is no textual inversion", count);
    for (size_t i = 0; i < count; i++) {
        const struct hep_safetensors_entry *tensor = hep_safetensors_at(e->file, i);
        if (tensor != e->tensors[0] && tensor != e->tensors[1])
            return hep_fail(error, HEP_E_BAD_FILE, "a tensor '%.150s' that no textual inversion has", tensor->name);
    }
    return HEP_OK;
}

static int64_t vectors_of(const struct hep_safetensors_entry *tensor)
{
    return tensor->shape.rank == 2 ? tensor->shape.dims[0] : 1;
}

static int64_t width_of(const struct hep_safetensors_entry *tensor)
{
    return tensor->shape.dims[tensor->shape.rank - 1];
}

static enum hep_status check_tensor(const struct hep_safetensors_entry *tensor, struct hep_error *error)
{
    char shape[128];
    float none;
    if (!hep_to_f32(&none, tensor->data, tensor->dtype, 0))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is %s, not a float type", tensor->name,
                        hep_dtype_name(tensor->dtype));
    if ((tensor->shape.rank != 1 && tensor->shape.rank != 2) || vectors_of(tensor) < 1 || width_of(tensor) < 1 ||
        width_of(tensor) > HEP_EMBEDDING_WIDTH_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s' has shape %s; vectors for a prompt are [vectors, width]",
                        tensor->name, hep_shape_text(&tensor->shape, shape, sizeof shape));
    if (vectors_of(tensor) > HEP_EMBEDDING_VECTORS_MAX)
        return hep_fail(error, HEP_E_UNSUPPORTED, "it has %lld vectors, a chunk of a prompt takes %d",
                        (long long)vectors_of(tensor), HEP_EMBEDDING_VECTORS_MAX);
    return HEP_OK;
}

static enum hep_status check(struct hep_embedding *e, struct hep_error *error)
{
    HEP_TRY(find_tensors(e, error));
    for (int i = 0; i < e->encoders; i++)
        HEP_TRY(check_tensor(e->tensors[i], error));
    if (e->encoders == 2 && vectors_of(e->tensors[0]) != vectors_of(e->tensors[1]))
        return hep_fail(error, HEP_E_BAD_FILE, "%lld vectors for the first text encoder and %lld for the second",
                        (long long)vectors_of(e->tensors[0]), (long long)vectors_of(e->tensors[1]));
    return HEP_OK;
}

/* Takes the file, in any case. */
static enum hep_status open_file(struct hep_safetensors *file, struct hep_embedding **embedding,
                                 struct hep_error *error)
{
    struct hep_embedding *result = calloc(1, sizeof *result);
    if (!result) {
        hep_safetensors_close(file);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an embedding");
    }
    result->file = file;
    enum hep_status status = check(result, error);
    if (status != HEP_OK) {
        hep_prefix(error, "%s", hep_safetensors_name(file));
        hep_embedding_close(result);
        return status;
    }
    *embedding = result;
    return HEP_OK;
}

enum hep_status hep_embedding_open(int folder, const char *path, struct hep_embedding **embedding,
                                   struct hep_error *error)
{
    struct hep_safetensors *file;
    HEP_TRY(hep_safetensors_open(folder, path, &file, error));
    return open_file(file, embedding, error);
}

enum hep_status hep_embedding_open_memory(const void *bytes, size_t size, const char *name,
                                          struct hep_embedding **embedding, struct hep_error *error)
{
    struct hep_safetensors *file;
    HEP_TRY(hep_safetensors_open_memory(bytes, size, name, &file, error));
    return open_file(file, embedding, error);
}

void hep_embedding_close(struct hep_embedding *embedding)
{
    if (!embedding)
        return;
    hep_safetensors_close(embedding->file);
    free(embedding);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */
const char *hep_embedding_file(const struct hep_embedding *embedding)
{
    return hep_safetensors_name(embedding->file);
}

int hep_embedding_encoders(const struct hep_embedding *embedding)
{
    return embedding->encoders;
}

int64_t hep_embedding_vectors(const struct hep_embedding *embedding)
{
    return vectors_of(embedding->tensors[0]);
}

int64_t hep_embedding_width(const struct hep_embedding *embedding, int encoder)
{
    return width_of(embedding->tensors[encoder]);
}

enum hep_status hep_embedding_read(const struct hep_embedding *embedding, int encoder, float *to,
                                   struct hep_error *error)
{
    const struct hep_safetensors_entry *tensor = embedding->tensors[encoder];
    size_t count = (size_t)(vectors_of(tensor) * width_of(tensor));
    hep_assert(hep_to_f32(to, tensor->data, tensor->dtype, count));
    for (size_t i = 0; i < count; i++)
        if (!isfinite(to[i]))
            return hep_fail(error, HEP_E_BAD_FILE, "%s: '%.150s' has a value that is not finite",
                            hep_embedding_file(embedding), tensor->name);
    return HEP_OK;
}
