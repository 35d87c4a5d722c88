/* The tables of the original layouts; called by component.c for every key of a single file, and by checkpoint.c. */
#include "nn/weights/ldm_keys.h"

#include "nn/weights/key_map.h"
#include "nn/weights/ldm_rows.h"

#include <stdio.h>
#include <string.h>

enum { DIGITS_MAX = 3, BLOCKS_PER_LEVEL_MAX = 17, VAE_LEVELS_MAX = 8 };

/* To add a key: a row. What a row says: ldm_rows.h. */

/* The embeddings of time and sizes, the way down, the middle: a UNet's, and a ControlNet's copies of them. */
/* clang-format off */
#define ENCODER_ROWS                                                                 \
    {"time_embed.0.", "time_embedding.linear_1.", PLAIN, 0},                         \
    {"time_embed.2.", "time_embedding.linear_2.", PLAIN, 0},                         \
    {"label_emb.0.0.", "add_embedding.linear_1.", PLAIN, 0},                         \
    {"label_emb.0.2.", "add_embedding.linear_2.", PLAIN, 0},                         \
    {"input_blocks.0.0.", "conv_in.", PLAIN, 0},                                     \
    {"input_blocks.#.0.op.", "down_blocks.{level}.downsamplers.0.conv.", PLAIN, 1},  \
    {"input_blocks.#.0.", "down_blocks.{level}.resnets.{layer}.", PLAIN, 1},         \
    {"input_blocks.#.1.", "down_blocks.{level}.attentions.{layer}.", PLAIN, 1},      \
    {"middle_block.0.", "mid_block.resnets.0.", PLAIN, 0},                           \
    {"middle_block.1.", "mid_block.attentions.0.", PLAIN, 0},                        \
    {"middle_block.2.", "mid_block.resnets.1.", PLAIN, 0}
/* clang-format on */
static const struct hep_ldm_key_row unet_rows[] = {
    ENCODER_ROWS,
    {"time_embed.cond_proj.", "time_embedding.cond_proj.", PLAIN, 0},              /* of distilled models */
    {"output_blocks.#.1.conv.", "up_blocks.{level}.upsamplers.0.conv.", PLAIN, 0}, /* of a level without attention */
    {"output_blocks.#.2.conv.", "up_blocks.{level}.upsamplers.0.conv.", PLAIN, 0},
    {"output_blocks.#.0.", "up_blocks.{level}.resnets.{layer}.", PLAIN, 0},
    {"output_blocks.#.1.", "up_blocks.{level}.attentions.{layer}.", PLAIN, 0},
    {"out.0.", "conv_norm_out.", PLAIN, 0},
    {"out.2.", "conv_out.", PLAIN, 0},
    {NULL, NULL, PLAIN, 0},
};
/* What a ControlNet has beside the UNet's encoder: the hint's way in, and a convolution behind each block. Its files
   may have diffusers' names: they are the last rows'. */
static const struct hep_ldm_key_row controlnet_rows[] = {
    ENCODER_ROWS,
    {"input_hint_block.0.", "controlnet_cond_embedding.conv_in.", PLAIN, 0},
    {"input_hint_block.2.", "controlnet_cond_embedding.blocks.0.", PLAIN, 0},
    {"input_hint_block.4.", "controlnet_cond_embedding.blocks.1.", PLAIN, 0},
    {"input_hint_block.6.", "controlnet_cond_embedding.blocks.2.", PLAIN, 0},
    {"input_hint_block.8.", "controlnet_cond_embedding.blocks.3.", PLAIN, 0},
    {"input_hint_block.10.", "controlnet_cond_embedding.blocks.4.", PLAIN, 0},
    {"input_hint_block.12.", "controlnet_cond_embedding.blocks.5.", PLAIN, 0},
    {"input_hint_block.14.", "controlnet_cond_embedding.conv_out.", PLAIN, 0},
    {"zero_convs.#.0.", "controlnet_down_blocks.{0}.", PLAIN, 0},
    {"middle_block_out.0.", "controlnet_mid_block.", PLAIN, 0},
    {"time_embedding.", "time_embedding.", PLAIN, 0},
    {"add_embedding.", "add_embedding.", PLAIN, 0},
    {"controlnet_cond_embedding.", "controlnet_cond_embedding.", PLAIN, 0},
    {"controlnet_down_blocks.", "controlnet_down_blocks.", PLAIN, 0},
    {"controlnet_mid_block.", "controlnet_mid_block.", PLAIN, 0},
    {"conv_in.", "conv_in.", PLAIN, 0},
    {"down_blocks.", "down_blocks.", PLAIN, 0},
    {"mid_block.", "mid_block.", PLAIN, 0},
    {NULL, NULL, PLAIN, 0},
};
/* Files of a VAE alone may have diffusers' names: they are the last rows'. */
static const struct hep_ldm_key_row vae_rows[] = {
    {"encoder.down.#.block.#.", "encoder.down_blocks.{0}.resnets.{1}.", PLAIN, 0},
    {"encoder.down.#.downsample.", "encoder.down_blocks.{0}.downsamplers.0.", PLAIN, 0},
    {"encoder.mid.block_1.", "encoder.mid_block.resnets.0.", PLAIN, 0},
    {"encoder.mid.block_2.", "encoder.mid_block.resnets.1.", PLAIN, 0},
    {"encoder.mid.attn_1.", "encoder.mid_block.attentions.0.", PLAIN, 0},
    {"decoder.up.#.block.#.", "decoder.up_blocks.{mirror}.resnets.{1}.", PLAIN, 0},
    {"decoder.up.#.upsample.", "decoder.up_blocks.{mirror}.upsamplers.0.", PLAIN, 0},
    {"decoder.mid.block_1.", "decoder.mid_block.resnets.0.", PLAIN, 0},
    {"decoder.mid.block_2.", "decoder.mid_block.resnets.1.", PLAIN, 0},
    {"decoder.mid.attn_1.", "decoder.mid_block.attentions.0.", PLAIN, 0},
    {"encoder.", "encoder.", PLAIN, 0},
    {"decoder.", "decoder.", PLAIN, 0},
    {"quant_conv.", "quant_conv.", PLAIN, 0},
    {"post_quant_conv.", "post_quant_conv.", PLAIN, 0},
    {NULL, NULL, PLAIN, 0},
};
/* transformers' names */
static const struct hep_ldm_key_row clip_rows[] = {
    {"", "", PLAIN, 0},
    {NULL, NULL, PLAIN, 0},
};
static const struct hep_ldm_key_row openclip_rows[] = {
    {"positional_embedding", "text_model.embeddings.position_embedding.weight", EXACT, 0},
    {"token_embedding.weight", "text_model.embeddings.token_embedding.weight", EXACT, 0},
    {"transformer.resblocks.#.attn.in_proj_weight", "text_model.encoder.layers.{0}.self_attn.{qkv}_proj.weight", FUSED,
     0},
    {"transformer.resblocks.#.attn.in_proj_bias", "text_model.encoder.layers.{0}.self_attn.{qkv}_proj.bias", FUSED, 0},
    {"transformer.resblocks.#.", "text_model.encoder.layers.{0}.", PLAIN, 0},
    {"ln_final.", "text_model.final_layer_norm.", PLAIN, 0},
    {"text_projection", "text_projection.weight", TURNED, 0}, /* as OpenCLIP has it */
    {"text_projection.weight", "text_projection.weight", EXACT, 0},
    {NULL, NULL, PLAIN, 0},
};

/* To add a layout: a row. */
static const struct hep_ldm_prefix_row prefix_rows[] = {
    {"model.diffusion_model.", "unet", unet_rows},
    {"first_stage_model.", "vae", vae_rows},
    {"control_model.", "controlnet", controlnet_rows},
    {"cond_stage_model.transformer.", "text_encoder", clip_rows},        /* SD 1.x                 */
    {"cond_stage_model.model.", "text_encoder", openclip_rows},          /* SD 2.x                 */
    {"conditioner.embedders.0.transformer.", "text_encoder", clip_rows}, /* SDXL                   */
    {"conditioner.embedders.1.model.", "text_encoder_2", openclip_rows}, /* SDXL                   */
    {"conditioner.embedders.0.model.", "text_encoder_2", openclip_rows}, /* the refiner of SDXL    */
};

const struct hep_ldm_prefix_row *hep_ldm_prefix_at(size_t index)
{
    return index < HEP_COUNT_OF(prefix_rows) ? &prefix_rows[index] : NULL;
}

/* ---- matching ---- */

/* The end of pattern's match at the start of key, or NULL; numbers that stood for #. */
static const char *match(const char *pattern, const char *key, int numbers[HEP_LDM_NUMBERS_MAX])
{
    int count = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*pattern != *key++)
                return NULL;
            continue;
        }
        int digits = 0, number = 0;
        while (digits < DIGITS_MAX && key[digits] >= '0' && key[digits] <= '9')
            number = 10 * number + (key[digits++] - '0');
        if (digits == 0 || count == HEP_LDM_NUMBERS_MAX)
            return NULL;
        numbers[count++] = number;
        key += digits;
    }
    return key;
}

static const struct hep_ldm_prefix_row *find_prefix(const struct hep_ldm_layout *layout, const char *component,
                                                    const char *key, const char **rest)
{
    for (size_t i = 0; i < HEP_COUNT_OF(prefix_rows); i++) {
        const struct hep_ldm_prefix_row *row = &prefix_rows[i];
        size_t length = layout->bare ? 0 : strlen(row->prefix);
        if (strcmp(row->component, component) == 0 && strncmp(key, row->prefix, length) == 0 &&
            (!layout->bare || strcmp(layout->bare, component) == 0)) {
            *rest = key + length;
            if (layout->bare && strncmp(key, row->prefix, strlen(row->prefix)) == 0)
                *rest = key + strlen(row->prefix); /* cut out of a whole model, prefix and all */
            return row;
        }
    }
    return NULL;
}

/* ---- writing names ---- */

struct writer {
    char *at, *end;
};

static void put(struct writer *writer, const char *text, size_t length)
{
    size_t room = (size_t)(writer->end - writer->at), taken = length < room ? length : room;
    memcpy(writer->at, text, taken);
    writer->at += taken;
}

static void put_field(struct writer *writer, const struct hep_ldm_layout *layout, const struct hep_ldm_key_row *row,
                      const int numbers[HEP_LDM_NUMBERS_MAX], int part, const char *field)
{
    static const char *const qkv[HEP_LDM_PARTS_MAX] = {"q", "k", "v"};
    char text[16];
    int per_level = layout->blocks_per_level > 0 ? layout->blocks_per_level : 1, block = numbers[0] - row->first;
    if (strncmp(field, "{qkv}", 5) == 0) {
        put(writer, qkv[part], 1);
        return;
    }
    int number = strncmp(field, "{0}", 3) == 0       ? numbers[0]
                 : strncmp(field, "{1}", 3) == 0     ? numbers[1]
                 : strncmp(field, "{level}", 7) == 0 ? block / per_level
                 : strncmp(field, "{layer}", 7) == 0 ? block % per_level
                                                     : layout->vae_levels - 1 - numbers[0];
    put(writer, text, (size_t)snprintf(text, sizeof text, "%d", number));
}

bool hep_ldm_write_name(const struct hep_ldm_layout *layout, const struct hep_ldm_key_row *row,
                        const int numbers[HEP_LDM_NUMBERS_MAX], int part, const char *rest,
                        char name[HEP_WEIGHT_NAME_MAX])
{
    struct writer writer = {name, name + HEP_WEIGHT_NAME_MAX};
    for (const char *at = row->to; *at; at++)
        if (*at == '{') {
            put_field(&writer, layout, row, numbers, part, at);
            at = strchr(at, '}');
        } else {
            put(&writer, at, 1);
        }
    put(&writer, rest, strlen(rest) + 1);
    return writer.at[-1] == '\0';
}

/* ---- parts ---- */

/* Matrices that the original code has as 1 × 1 convolutions: the VAE's attention. */
static void flatten(const char *component, struct hep_ldm_part *part)
{
    if (strcmp(component, "vae") == 0 && strstr(part->name, ".attentions.") && part->shape.rank == 4 &&
        part->shape.dims[2] == 1 && part->shape.dims[3] == 1)
        part->shape.rank = 2;
}

static enum hep_status finish_part(const struct hep_ldm_key_row *row, const char *component,
                                   const struct hep_safetensors_entry *entry, int index, struct hep_ldm_part *part,
                                   struct hep_error *error)
{
    char mapped[HEP_WEIGHT_NAME_MAX];
    HEP_TRY(hep_key_map(component, part->name, mapped, sizeof mapped, error));
    memcpy(part->name, mapped, sizeof mapped);
    flatten(component, part);
    if (row->form == TURNED) {
        if (part->shape.rank != 2)
            return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' is no matrix", entry->name);
        int64_t rows = part->shape.dims[0];
        part->shape.dims[0] = part->shape.dims[1];
        part->shape.dims[1] = rows;
        part->transposed = true;
    }
    if (row->form == FUSED) {
        if (part->shape.rank < 1 || part->shape.dims[0] % HEP_LDM_PARTS_MAX != 0)
            return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' is not q, k and v in one", entry->name);
        part->shape.dims[0] /= HEP_LDM_PARTS_MAX;
        part->offset = entry->bytes / HEP_LDM_PARTS_MAX * (size_t)index;
    }
    return HEP_OK;
}

static enum hep_status own_file(const char *component, const struct hep_safetensors_entry *entry,
                                struct hep_ldm_part *part, struct hep_error *error)
{
    *part = (struct hep_ldm_part){.shape = entry->shape};
    return hep_key_map(component, entry->name, part->name, sizeof part->name, error);
}

enum hep_status hep_ldm_parts(const struct hep_ldm_layout *layout, const char *component,
                              const struct hep_safetensors_entry *entry, struct hep_ldm_part parts[HEP_LDM_PARTS_MAX],
                              size_t *count, struct hep_error *error)
{
    const char *key, *rest = NULL;
    int numbers[HEP_LDM_NUMBERS_MAX] = {0};
    *count = 0;
    if (!layout) {
        HEP_TRY(own_file(component, entry, &parts[0], error));
        *count = 1;
        return HEP_OK;
    }
    const struct hep_ldm_prefix_row *prefix = find_prefix(layout, component, entry->name, &key);
    const struct hep_ldm_key_row *row = prefix ? prefix->rows : NULL;
    for (; row && row->from; row++)
        if ((rest = match(row->from, key, numbers)) && (row->form == PLAIN || !*rest))
            break;
    if (!row || !row->from)
        return HEP_OK;
    int made = row->form == FUSED ? HEP_LDM_PARTS_MAX : 1;
    for (int i = 0; i < made; i++) {
        parts[i] = (struct hep_ldm_part){.shape = entry->shape};
        if (!hep_ldm_write_name(layout, row, numbers, i, rest, parts[i].name))
            return hep_fail(error, HEP_E_BAD_MODEL, "the weight name '%.100s…' is too long", entry->name);
        HEP_TRY(finish_part(row, component, entry, i, &parts[i], error));
    }
    *count = (size_t)made;
    return HEP_OK;
}

/* ---- what the numbers mean ---- */

bool hep_ldm_has(const struct hep_safetensors *file, const char *component)
{
    const struct hep_ldm_layout whole = {0};
    const char *rest;
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        if (find_prefix(&whole, component, hep_safetensors_at(file, i)->name, &rest))
            return true;
    return false;
}

enum hep_status hep_ldm_layout_find(const struct hep_safetensors *file, const char *bare, struct hep_ldm_layout *layout,
                                    struct hep_error *error)
{
    struct hep_ldm_layout found = {.bare = bare};
    const char *numbered = bare && strcmp(bare, "controlnet") == 0 ? bare : "unet"; /* whose blocks have numbers */
    int blocks = 0, numbers[HEP_LDM_NUMBERS_MAX] = {0};
    for (size_t i = 0; i < hep_safetensors_count(file); i++) {
        const char *name = hep_safetensors_at(file, i)->name, *key;
        if (find_prefix(&found, numbered, name, &key)) {
            if (match("input_blocks.#.", key, numbers) && numbers[0] > blocks)
                blocks = numbers[0];
            if (match("input_blocks.#.0.op.", key, numbers) &&
                (found.blocks_per_level == 0 || numbers[0] < found.blocks_per_level))
                found.blocks_per_level = numbers[0];
        }
        if (find_prefix(&found, "vae", name, &key) && match("decoder.up.#.", key, numbers) &&
            numbers[0] >= found.vae_levels)
            found.vae_levels = numbers[0] + 1;
    }
    if (found.blocks_per_level == 0) /* one level: no down-sampling */
        found.blocks_per_level = blocks;
    if (found.blocks_per_level > BLOCKS_PER_LEVEL_MAX || found.vae_levels > VAE_LEVELS_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.200s' numbers its blocks as no Stable Diffusion does (%d, %d)",
                        hep_safetensors_name(file), found.blocks_per_level, found.vae_levels);
    *layout = found;
    return HEP_OK;
}
