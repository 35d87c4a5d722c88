/*
 * From a component of a model folder to a published read-only segment: weights converted and packed for this machine's
 * kernels, beside the config files that a process needs to build the same graph. A bundle (nn/bundle/bundle.h) per
 * component.
 *
 *   unet                        config.json, about.json, packed.unet
 *   controlnet                  config.json, about.json, packed.controlnet
 *   vae                         config.json, about.json, packed.decoder, packed.encoder
 *   text_encoder, …_2           config.json, about.json, packed.text_encoder
 *   upscaler                    config.json, about.json, packed.upscaler
 *   tokenizer, tokenizer_2      about.json, vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json
 *   scheduler                   about.json, scheduler_config.json
 *   safety_checker              config.json, about.json, packed.safety_checker; always f32
 *   feature_extractor           about.json, preprocessor_config.json
 *   embeddings                  about.json, embeddings.json, vectors, vectors_2 (embeddings.h)
 */
#ifndef HEP_INSTRUCTORS_MODEL_PUBLISH_H
#define HEP_INSTRUCTORS_MODEL_PUBLISH_H

#include "instructors/model/embeddings.h"
#include "instructors/model/loras.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "shm/weights.h"

enum { PUBLISHED_NAME_MAX = HEP_NAME_MAX + 16 }; /* of a model, or "kind:name" of a file of another kind, with NUL */

/* What about.json says of a segment: whether a restarted process may take it over. */
struct about {
    char model[PUBLISHED_NAME_MAX];
    char component[32];
    char vae[HEP_NAME_MAX];         /* of a component "vae" from elsewhere, its name; else ""      */
    enum hep_dtype dtype;           /* of the plan: f32 or bf16; F32 for files                     */
    uint8_t loras[SHA256_BYTES];    /* names and weights of what is merged into it: lora_set_key;
                                       of embeddings, their names                              */
    uint8_t identity[SHA256_BYTES]; /* of the files' paths, sizes and times: cheap to compare      */
    uint8_t digest[SHA256_BYTES];   /* of the files' contents, the LoRAs' too                      */
};

/* The segment that a component becomes, planned but not yet made. */
struct publication;

/* Opens the component and plans it, with the LoRAs that change it; the component "embeddings" is made of these. about
   is copied, loras are borrowed until the publication is destroyed. BAD_MODEL, BAD_FILE, UNSUPPORTED,
   UNSUPPORTED_HARDWARE. */
enum hep_status publication_create(const struct hep_model *model, const struct about *about,
                                   const struct lora_set *loras, const struct embedding_set *embeddings,
                                   struct publication **publication, struct hep_error *error);
uint64_t publication_bytes(const struct publication *publication); /* of the segment */
/* Creates the segment, packs into it, publishes it. Errors as hep_weights_create and hep_packed_write. */
enum hep_status publication_write(struct publication *publication, const struct hep_segment_name *name,
                                  struct hep_tensor_ref *ref, struct hep_error *error);
void publication_destroy(struct publication *publication); /* NULL is accepted; the segment stays */

/* Components that are published as files, not as packed weights. */
bool publish_is_files(const char *component);
/* The index-th file of a component, 0 …; false past the end. path: how it is called in the model's folder. component
   may be NULL for file components. Optional files may not be there (file->folder, or hep_model_has_file). */
bool publish_file(const struct hep_model *model, const char *name, const struct hep_component *component, size_t index,
                  char path[HEP_PATH_MAX], struct hep_model_file *file);

#endif
