/*
 * What an earlier process of the instance published: taken over if this build wrote it, else removed. Called once, as
 * heptad-model begins.
 */
#include "instructors/model/cache_parts.h"

#include "common/build.h"
#include "common/crash_point.h"
#include "common/wire.h"
#include "nn/bundle/bundle.h"
#include "nn/cpu/isa.h"
#include "shm/segment.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool digest_from_text(const char *text, uint8_t digest[SHA256_BYTES])
{
    if (strlen(text) != SHA256_TEXT - 1)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        digest[i] = (uint8_t)byte;
    }
    return true;
}

static bool read_about(const void *memory, uint64_t bytes, struct about *about)
{
    const struct hep_bundle_header *bundle;
    json_t *json = NULL;
    if (hep_bundle_open(memory, bytes, &bundle, NULL) != HEP_OK ||
        hep_bundle_json(bundle, "about.json", &json, NULL) != HEP_OK)
        return false;
    memset(about, 0, sizeof *about);
    snprintf(about->model, sizeof about->model, "%s", hep_json_str(json, "model", ""));
    snprintf(about->component, sizeof about->component, "%s", hep_json_str(json, "component", ""));
    snprintf(about->vae, sizeof about->vae, "%s", hep_json_str(json, "vae", ""));
    about->dtype = hep_dtype_from_name(hep_json_str(json, "dtype", ""));
    bool ours = strcmp(hep_json_str(json, "build", ""), hep_build_id()) == 0 &&
                strcmp(hep_json_str(json, "isa", ""), hep_isa_name(hep_isa_level())) == 0 && about->model[0] &&
                about->component[0] && digest_from_text(hep_json_str(json, "identity", ""), about->identity) &&
                digest_from_text(hep_json_str(json, "digest", ""), about->digest) &&
                digest_from_text(hep_json_str(json, "loras", ""), about->loras);
    json_decref(json);
    return ours;
}

struct adoption {
    struct cache *cache;
    int adopted, removed;
};

static bool adopt_one(const struct hep_segment_entry *found, void *context)
{
    struct adoption *adoption = context;
    struct about about;
    struct hep_mapping mapping = {0};
    const struct cache_entry *entry;
    int fd = -1;
    uint64_t bytes = 0;
    bool ours = false;
    if (found->name.kind != HEP_SEGMENT_WEIGHTS)
        return true;
    HEP_CRASH_POINT("model.adopt");
    char text[HEP_SEGMENT_NAME_MAX];
    hep_segment_name_text(&found->name, text);
    if (found->name.generation >= adoption->cache->next_name) /* of a process that was started with the same number */
        adoption->cache->next_name = found->name.generation + 1;
    if (found->complete && hep_segment_open(&found->name, false, &fd, &bytes, NULL) == HEP_OK &&
        hep_mapping_of_fd(fd, text, bytes, false, &mapping, NULL) == HEP_OK)
        ours = read_about(mapping.data, bytes, &about);
    hep_mapping_clear(&mapping);
    if (fd >= 0)
        close(fd);
    struct hep_tensor_ref ref = {
        .generation = found->name.generation, .dtype = HEP_U8, .shape = HEP_SHAPE((int64_t)bytes)};
    snprintf(ref.segment, sizeof ref.segment, "%s", text);
    if (ours && cache_add(adoption->cache, &about, &ref, &entry, NULL) == HEP_OK) {
        adoption->adopted++;
    } else {
        hep_segment_unlink(&found->name, NULL);
        adoption->removed++;
    }
    return true;
}

enum hep_status cache_adopt(struct cache *cache, int *adopted, int *removed, struct hep_error *error)
{
    struct adoption adoption = {.cache = cache};
    HEP_TRY(hep_segment_list(cache->instance, adopt_one, &adoption, error));
    *adopted = adoption.adopted;
    *removed = adoption.removed;
    return HEP_OK;
}
