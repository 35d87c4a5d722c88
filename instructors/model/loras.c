/* Opens and describes the LoRAs of a request; called by ops.c, cache.c and publish.c. It merges nothing itself. */
#include "instructors/model/loras.h"

#include "nn/weights/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_LINE_MAX = 256 }; /* of a digest */

/* The components that a LoRA can change. */
static const char *const components[] = {"unet", "text_encoder", "text_encoder_2"};

struct lora_request {
    struct hep_str name;
    double weight, text_encoder_weight;
};
enum { REQUEST_FIELDS = 3 };
const struct hep_field lora_request_fields[REQUEST_FIELDS + 1] = {
    HEP_FIELD(STR, lora_request, name, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "as `heptctl models --kind lora` lists it"),
    HEP_FIELD(F64, lora_request, weight, DEFAULTED, .fallback = 1, .min = -HEP_LORA_WEIGHT_MAX,
              .max = HEP_LORA_WEIGHT_MAX, .help = "how much of it; 1 = as it was trained"),
    HEP_FIELD(F64, lora_request, text_encoder_weight, OPTIONAL, .min = -HEP_LORA_WEIGHT_MAX, .max = HEP_LORA_WEIGHT_MAX,
              .help = "of its changes of text encoders; weight if it is left out"),
    [REQUEST_FIELDS] = HEP_END_OF_FIELDS};

/* ---- finding
 * -------------------------------------------------------------------------------------------------------------------
 */
static bool is_called(const struct catalogue_entry *entry, const char *name)
{
    const char *slash = strrchr(entry->name, '/');
    return entry->kind == HEP_MODEL_LORA && slash && strcmp(slash + 1, name) == 0;
}

/* The full name of the only LoRA whose file has this name; NULL if there is none, or more than one. */
static const char *full_name(const struct catalogue *catalogue, const char *name)
{
    const char *found = NULL;
    for (int i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (entry->kind == HEP_MODEL_LORA && strcmp(entry->name, name) == 0)
            return entry->name;
        if (!is_called(entry, name))
            continue;
        if (found)
            return NULL;
        found = entry->name;
    }
    return found;
}

/* A name that is not there is a wrong value of the field `loras`. */
static enum hep_status not_there(struct hep_error *error)
{
    struct hep_error found = *error;
    hep_fail_field(error, HEP_E_OUT_OF_RANGE, "loras", "%s", found.message);
    return hep_hint(error, "%s", found.hint), HEP_E_OUT_OF_RANGE;
}

static enum hep_status open_item(const struct catalogue *catalogue, const struct lora_request *request,
                                 struct lora_item *item, struct hep_error *error)
{
    const char *name = full_name(catalogue, request->name.data);
    const struct catalogue_entry *entry;
    struct hep_error local;
    char file[HEP_PATH_MAX];
    if (!error)
        error = &local;
    enum hep_status status = catalogue_find(catalogue, HEP_MODEL_LORA, name ? name : request->name.data, &entry, error);
    if (status == HEP_E_NOT_FOUND)
        return not_there(error);
    if (status != HEP_OK)
        return status;
    if (entry->is_folder)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "loras", "LoRA %s is a folder, not a file", entry->name);
    HEP_TRY(hep_folder_open_parent(entry->path, &item->folder, file, error));
    status = hep_lora_open(item->folder, file, &item->lora, error);
    if (status != HEP_OK) {
        close(item->folder);
        return hep_prefix(error, "LoRA %s", entry->name);
    }
    snprintf(item->name, sizeof item->name, "%s", entry->name);
    item->weight = request->weight;
    item->text_encoder_weight = request->text_encoder_weight;
    return HEP_OK;
}

static enum hep_status open_items(const struct catalogue *catalogue, json_t *list, struct lora_set *set,
                                  struct hep_error *error)
{
    size_t index;
    json_t *element;
    set->count = 0;
    json_array_foreach(list, index, element)
    {
        struct lora_request request;
        enum hep_status status =
            hep_decode(lora_request_fields, REQUEST_FIELDS, element, false, &request, sizeof request, error);
        if (status != HEP_OK)
            return hep_prefix(error, "loras[%zu]", index);
        if (!json_is_number(json_object_get(element, "text_encoder_weight")))
            request.text_encoder_weight = request.weight;
        hep_assert(set->count < HEP_LORAS_MAX); /* the field's row has checked it */
        HEP_TRY(open_item(catalogue, &request, &set->items[set->count], error));
        set->count++;
    }
    return HEP_OK;
}

void lora_set_clear(struct lora_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        hep_lora_close(set->items[i].lora);
        close(set->items[i].folder);
    }
    set->count = 0;
}

/* ---- what changes what
 * --------------------------------------------------------------------------------------------------------- */
static double weight_for(const struct lora_item *item, const char *component)
{
    double weight = strcmp(component, "unet") == 0 ? item->weight : item->text_encoder_weight;
    return weight != 0 && hep_lora_touches(item->lora, component) ? weight : 0;
}

void lora_set_uses(const struct lora_set *set, const char *component, struct hep_lora_use uses[HEP_LORAS_MAX],
                   size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct lora_item *item = &set->items[i];
        double weight = weight_for(item, component);
        if (weight != 0)
            uses[(*count)++] = (struct hep_lora_use){item->lora, item->name, weight};
    }
}

/* Adds a line to a running digest. */
static void digest_line(uint8_t running[SHA256_BYTES], const char *line)
{
    char all[SHA256_TEXT + DIGEST_LINE_MAX], text[SHA256_TEXT];
    int length = snprintf(all, sizeof all, "%s\n%s", checksum_text(running, text), line);
    checksum_bytes(all, (size_t)length, running);
}

void lora_set_key(const struct lora_set *set, const char *component, uint8_t key[SHA256_BYTES])
{
    struct hep_lora_use uses[HEP_LORAS_MAX];
    char line[DIGEST_LINE_MAX];
    size_t count;
    memset(key, 0, SHA256_BYTES);
    lora_set_uses(set, component, uses, &count);
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%.17g %s", uses[i].weight, uses[i].name);
        digest_line(key, line);
    }
}

/* One LoRA's line of a digest. */
static enum hep_status describe(const struct lora_item *item, struct checksum_memo *memo, char *line, size_t size,
                                struct hep_error *error)
{
    const char *file = hep_lora_file(item->lora);
    struct stat state;
    uint8_t digest[SHA256_BYTES];
    char text[SHA256_TEXT];
    if (memo) {
        HEP_TRY(checksum_file_once(memo, item->folder, file, digest, error));
        snprintf(line, size, "%s", checksum_text(digest, text));
        return HEP_OK;
    }
    if (fstatat(item->folder, file, &state, 0) != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "LoRA %s cannot be read", item->name);
    snprintf(line, size, "%lld %lld %lld.%09ld %llu", (long long)state.st_size, (long long)state.st_dev,
             (long long)state.st_mtim.tv_sec, state.st_mtim.tv_nsec, (unsigned long long)state.st_ino);
    return HEP_OK;
}

enum hep_status lora_set_digest(const struct lora_set *set, const char *component, struct checksum_memo *memo,
                                uint8_t running[SHA256_BYTES], struct hep_error *error)
{
    char file[DIGEST_LINE_MAX / 2], line[DIGEST_LINE_MAX];
    for (size_t i = 0; i < set->count; i++) {
        double weight = weight_for(&set->items[i], component);
        if (weight == 0)
            continue;
        HEP_TRY(describe(&set->items[i], memo, file, sizeof file, error));
        snprintf(line, sizeof line, "lora %.17g %s", weight, file);
        digest_line(running, line);
    }
    return HEP_OK;
}

/* ---- whether they fit
 * ---------------------------------------------------------------------------------------------------------- */
static enum hep_status check_component(const struct lora_set *set, const struct hep_model *model, const char *name,
                                       struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    HEP_CLEANUP(hep_lora_merge_destroy) struct hep_lora_merge *merge = NULL;
    struct hep_lora_use uses[HEP_LORAS_MAX];
    size_t count;
    lora_set_uses(set, name, uses, &count);
    if (count == 0)
        return HEP_OK;
    if (!hep_model_has(model, name)) {
        hep_fail(error, HEP_E_BAD_MODEL, "LoRA %s does not fit: this model has no %s", uses[0].name, name);
        return hep_hint(error, "it was made for another family of models (SD 1.x, 2.x, XL)"), HEP_E_BAD_MODEL;
    }
    HEP_TRY(hep_model_component(model, name, NULL, &component, error));
    return hep_lora_merge_create(component, uses, count, &merge, error);
}

enum hep_status lora_set_open(const struct catalogue *catalogue, const struct catalogue_entry *entry, const char *kind,
                              json_t *list, struct lora_set *set, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    HEP_TRY(open_items(catalogue, list, set, error));
    if (set->count == 0)
        return HEP_OK;
    enum hep_status status = catalogue_open(catalogue, entry, &model, error);
    for (size_t i = 0; status == HEP_OK && i < HEP_COUNT_OF(components); i++)
        if (!kind[0] || strncmp(components[i], kind, strlen(kind)) == 0)
            status = check_component(set, model, components[i], error);
    return status == HEP_OK ? HEP_OK : (hep_prefix(error, "model %s", entry->name), status);
}
