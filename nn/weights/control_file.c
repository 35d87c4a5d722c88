/* The table of what steers a UNet; called by family.c for any file, by checkpoint.c for a ControlNet's. */
#include "nn/weights/control_file.h"

#include <string.h>

#define PREFIX "control_model."
#define HINT   "ControlNets for Stable Diffusion 1.x, 2.x and XL are run, in diffusers' layout or the original one"

/* To add one: a row. Sources: ComfyUI's controlnet.py (load_controlnet, load_t2i_adapter), diffusers' state dicts. */
static const struct hep_control_other others[] = {
    {"lora_controlnet", "a Control-LoRA, which changes a copy of the model's UNet,", HINT},
    {"lllite_unet_", "a ControlNet-LLLite, which changes the UNet's attention,", HINT},
    {"task_embedding", "a ControlNet-Union, which is several in one,", "use a ControlNet for one kind of hint"},
    {"control_add_embedding.", "a ControlNet-Union, which is several in one,", "use a ControlNet for one kind of hint"},
    {"transformer_layes.", "a ControlNet-Union, which is several in one,", "use a ControlNet for one kind of hint"},
    {"ip_adapter.", "an IP-Adapter", HINT},
    {"image_proj.", "an IP-Adapter", HINT},
    {"adapter.body.", "a T2I-Adapter", HINT},
    {"body.0.in_conv.", "a T2I-Adapter", HINT},
    {"body.0.block1.", "a T2I-Adapter", HINT},
    {"body.0.resnets.", "a T2I-Adapter", HINT},
    {"style_embedding", "a T2I-Adapter for styles", HINT},
    {"enc_zero_convs_out.", "a ControlNet-XS", HINT},
    {"control_to_base_for_conv_in.", "a ControlNet-XS", HINT},
    {"controlnet_x_embedder.", "a ControlNet of Flux", HINT},
    {"controlnet_blocks.", "a ControlNet of Stable Diffusion 3 or Flux", HINT},
    {"difference", "a ControlNet that was saved as its difference to a UNet", "fetch it whole, not as a difference"},
};

/* The key without the prefix. */
static const char *bare_key(const char *key)
{
    return strncmp(key, PREFIX, strlen(PREFIX)) == 0 ? key + strlen(PREFIX) : key;
}

static bool has(const struct hep_safetensors *file, const char *mark)
{
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        if (strncmp(bare_key(hep_safetensors_at(file, i)->name), mark, strlen(mark)) == 0)
            return true;
    return false;
}

const struct hep_control_other *hep_control_other(const struct hep_safetensors *file)
{
    for (size_t i = 0; i < HEP_COUNT_OF(others); i++)
        if (has(file, others[i].mark))
            return &others[i];
    return NULL;
}

enum hep_status hep_control_refuse(const struct hep_safetensors *file, const struct hep_control_other *other,
                                   struct hep_error *error)
{
    size_t length = strlen(other->what);
    bool has_clause = other->what[length - 1] == ','; /* "X, which does Y," */
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is %s%s is not run", hep_safetensors_name(file), other->what,
             has_clause ? " and" : ", which");
    return hep_hint(error, "%s", other->hint), HEP_E_UNSUPPORTED;
}

/* Something that is kept elsewhere, or nothing known. */
static enum hep_status refuse_stranger(const struct hep_safetensors *file, struct hep_error *error)
{
    const struct hep_family *family;
    enum hep_model_kind kind;
    HEP_TRY(hep_family_recognise(file, &family, &kind, error));
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a whole model, not a ControlNet", hep_safetensors_name(file));
    return hep_hint(error, "put it into a folder checkpoints"), HEP_E_UNSUPPORTED;
}

/* A whole model may lie in the file beside the ControlNet: its keys are not looked at. */
static enum hep_status check_known(const struct hep_safetensors *file, const struct hep_ldm_layout *layout,
                                   struct hep_error *error)
{
    bool has_prefix = false;
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        has_prefix = has_prefix || strncmp(hep_safetensors_at(file, i)->name, PREFIX, strlen(PREFIX)) == 0;
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        struct hep_ldm_part parts[HEP_LDM_PARTS_MAX];
        size_t count;
        if (has_prefix && bare_key(entry->name) == entry->name)
            continue;
        HEP_TRY(hep_ldm_parts(layout, "controlnet", entry, parts, &count, error));
        if (count > 0)
            continue;
        hep_fail(error, HEP_E_UNSUPPORTED, "'%.150s' has a weight '%.100s', which no ControlNet that is run has",
                 hep_safetensors_name(file), entry->name);
        return hep_hint(error, "%s", HINT), HEP_E_UNSUPPORTED;
    }
    return HEP_OK;
}

enum hep_status hep_control_recognise(const struct hep_safetensors *file, const struct hep_ldm_layout *layout,
                                      const struct hep_family **family, struct hep_error *error)
{
    const struct hep_control_other *other = hep_control_other(file);
    if (other)
        return hep_control_refuse(file, other, error);
    if (!has(file, "input_hint_block.") && !has(file, "controlnet_cond_embedding."))
        return refuse_stranger(file, error);
    if (!has(file, "middle_block.1.") && !has(file, "mid_block.attentions.")) {
        hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is a small ControlNet, whose middle has no attention",
                 hep_safetensors_name(file));
        return hep_hint(error, "use the one of full size"), HEP_E_UNSUPPORTED;
    }
    HEP_TRY(check_known(file, layout, error));
    bool is_xl = has(file, "label_emb.") || has(file, "add_embedding.");
    *family = hep_family_find(is_xl ? "sdxl" : "sd1");
    for (size_t i = 0; !is_xl && i < hep_safetensors_count(file); i++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
        const char *key = bare_key(entry->name);
        if ((strcmp(key, "middle_block.1.proj_in.weight") == 0 ||
             strcmp(key, "mid_block.attentions.0.proj_in.weight") == 0) &&
            entry->shape.rank == 2)
            *family = hep_family_find("sd2"); /* its projections are matrices */
    }
    return HEP_OK;
}
