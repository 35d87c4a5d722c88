/*
 * LoRA files: safetensors with a low-rank update for each of some modules of a UNet and text encoders,
 *
 *   W' = W + weight · alpha / rank · up · down
 *
 * with down flattened to [rank, in·kh·kw]; LoCon files hold convolutions too, and with `mid` [rank, rank, kh, kw] (a
 * Tucker decomposition) the update is Σ up[o, a] · mid[a, b, y, x] · down[b, i]. Hu et al. 2021, LoRA, eq. 3; the alpha
 * is kohya's. Every naming of lora_names.h is read, and one that holds a tensor which is not understood is refused: to
 * leave out a part of an update silently would be another image.
 *
 * Without alpha in the file, alpha = rank (what diffusers and peft write), but for the `lora_alpha` of a component in
 * diffusers' "lora_adapter_metadata".
 */
#ifndef HEP_NN_WEIGHTS_LORA_H
#define HEP_NN_WEIGHTS_LORA_H

#include "nn/weights/lora_names.h"
#include "nn/weights/safetensors.h"

struct hep_lora;

/* The update of one module. */
struct hep_lora_module {
    const char *component;                    /* "unet", "text_encoder", "text_encoder_2"; static         */
    const char *name;                         /* as hep_lora_module_of_weight writes it                   */
    const struct hep_safetensors_entry *up;   /* [out, rank] or [out, rank, 1, 1]                         */
    const struct hep_safetensors_entry *mid;  /* [rank, down_rank, kh, kw], or NULL                       */
    const struct hep_safetensors_entry *down; /* [down_rank, in] or [down_rank, in, kh, kw]              */
    int64_t rank;                             /* of up                                                   */
    int64_t down_rank;                        /* of down: the same unless there is a mid                 */
    int64_t rows;                             /* of the update: out                                      */
    int64_t columns;                          /* of the update: in · kh · kw                             */
    int64_t kernel[2];                        /* kh, kw; 1 and 1 for linear layers                       */
    double alpha;
};

/* Opens path below the folder descriptor. Close with hep_lora_close. NOT_FOUND; BAD_FILE: no safetensors, or tensors
   that are not a LoRA's or do not fit each other, named; UNSUPPORTED: an update of another kind (lora_names.h). */
enum hep_status hep_lora_open(int folder, const char *path, struct hep_lora **lora, struct hep_error *error);
/* The same of bytes in memory, which must outlive the result; name appears in messages. */
enum hep_status hep_lora_open_memory(const void *bytes, size_t size, const char *name, struct hep_lora **lora,
                                     struct hep_error *error);
void hep_lora_close(struct hep_lora *lora); /* NULL is accepted */
HEP_DEFINE_CLEANUP(struct hep_lora *, hep_lora_close)

const char *hep_lora_file(const struct hep_lora *lora); /* the path it was opened with                  */
size_t hep_lora_count(const struct hep_lora *lora);     /* modules, at least one                        */
/* The i-th module in order of component, then name; i < count. */
const struct hep_lora_module *hep_lora_at(const struct hep_lora *lora, size_t i);
/* Whether some module is of this component. */
bool hep_lora_touches(const struct hep_lora *lora, const char *component);

/* Reads the update's two factors as f32, row-major: up[rows × rank], multiplied by alpha / rank · weight (in double,
   each rounded once), and down[rank × columns], with mid in it. BAD_FILE: a value that is not finite, named. NO_MEMORY.
 */
enum hep_status hep_lora_read(const struct hep_lora *lora, const struct hep_lora_module *module, double weight,
                              float *up, float *down, struct hep_error *error);

#endif
