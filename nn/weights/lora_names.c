/*
 * The tables of LoRA namings; called by lora.c for every tensor of a file and by lora_merge.c for every weight of a
 * component. A module's name loses its dots, because kohya's files never had them; no two modules of the networks that
 * Heptad runs become one name by that.
 */
#include "nn/weights/lora_names.h"

#include "nn/weights/key_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends of names, the first that fits counts. To add a naming: a row for each part. */
static const struct end_row {
    const char *end;
    enum hep_lora_part part;
    const char *refused; /* NULL, or what kind of update this is, which Heptad does not apply */
} end_rows[] = {
    {".lora_down.weight", HEP_LORA_DOWN, NULL},
    {".lora_up.weight", HEP_LORA_UP, NULL},
    {".lora_mid.weight", HEP_LORA_MID, NULL},
    {".lora_A.weight", HEP_LORA_DOWN, NULL},
    {".lora_B.weight", HEP_LORA_UP, NULL},
    {".lora_A.default.weight", HEP_LORA_DOWN, NULL},
    {".lora_B.default.weight", HEP_LORA_UP, NULL},
    {".lora_linear_layer.down.weight", HEP_LORA_DOWN, NULL},
    {".lora_linear_layer.up.weight", HEP_LORA_UP, NULL},
    {".lora.down.weight", HEP_LORA_DOWN, NULL},
    {".lora.up.weight", HEP_LORA_UP, NULL},
    {"_lora.down.weight", HEP_LORA_DOWN, NULL},
    {"_lora.up.weight", HEP_LORA_UP, NULL},
    {".alpha", HEP_LORA_ALPHA, NULL},
    {".dora_scale", HEP_LORA_ALPHA, "DoRA"},
    {".lora_magnitude_vector", HEP_LORA_ALPHA, "DoRA"},
    {".lora_magnitude_vector.weight", HEP_LORA_ALPHA, "DoRA"},
    {".hada_w1_a", HEP_LORA_ALPHA, "LoHa"},
    {".hada_w1_b", HEP_LORA_ALPHA, "LoHa"},
    {".hada_w2_a", HEP_LORA_ALPHA, "LoHa"},
    {".hada_w2_b", HEP_LORA_ALPHA, "LoHa"},
    {".hada_t1", HEP_LORA_ALPHA, "LoHa"},
    {".hada_t2", HEP_LORA_ALPHA, "LoHa"},
    {".lokr_w1", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_w1_a", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_w1_b", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_w2", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_w2_a", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_w2_b", HEP_LORA_ALPHA, "LoKr"},
    {".lokr_t2", HEP_LORA_ALPHA, "LoKr"},
    {".oft_blocks", HEP_LORA_ALPHA, "OFT"},
    {".oft_diag", HEP_LORA_ALPHA, "OFT"},
    {".on_input", HEP_LORA_ALPHA, "IA3"},
    {".diff", HEP_LORA_ALPHA, "a whole difference"},
    {".diff_b", HEP_LORA_ALPHA, "a whole difference"},
    {".w_norm", HEP_LORA_ALPHA, "GLoRA"},
    {".lora_up.bias", HEP_LORA_ALPHA, "LoRA with a bias"},
    {".lora_B.bias", HEP_LORA_ALPHA, "LoRA with a bias"},
};

/* Beginnings of names, the first that fits counts. To add a naming: a row for each component. */
static const struct begin_row {
    const char *begin, *component;
    size_t kept; /* bytes at the end of begin that are the module's */
} begin_rows[] = {
    {"lora_unet_", "unet", 0},
    {"lora_te1_", "text_encoder", 0},
    {"lora_te2_", "text_encoder_2", 0},
    {"lora_te_", "text_encoder", 0},
    {"unet.base_model.model.", "unet", 0},
    {"unet.", "unet", 0},
    {"text_encoder_2.base_model.model.", "text_encoder_2", 0},
    {"text_encoder_2.", "text_encoder_2", 0},
    {"text_encoder.base_model.model.", "text_encoder", 0},
    {"text_encoder.", "text_encoder", 0},
    {"base_model.model.text_model.", "text_encoder", sizeof "text_model." - 1},
    {"base_model.model.", "unet", 0},
    {"diffusion_model.", "unet", 0},
    {"down_blocks.", "unet", sizeof "down_blocks." - 1},
    {"mid_block.", "unet", sizeof "mid_block." - 1},
    {"up_blocks.", "unet", sizeof "up_blocks." - 1},
};

/* Pieces of a module's name that diffusers calls otherwise now. Applied in order, each at most once. */
static const struct piece_row {
    const char *component; /* a prefix of it is enough           */
    const char *from, *to; /* at the end of the name if `end`    */
    bool end;
} piece_rows[] = {
    {"unet", "_processor_to_", "_to_", false},
    {"unet", "_to_out", "_to_out_0", true},
    {"text_encoder", "_self_attn_to_q", "_self_attn_q_proj", true},
    {"text_encoder", "_self_attn_to_k", "_self_attn_k_proj", true},
    {"text_encoder", "_self_attn_to_v", "_self_attn_v_proj", true},
    {"text_encoder", "_self_attn_to_out", "_self_attn_out_proj", true},
};

/* ---- names of the SGM and LDM code
 * ---------------------------------------------------------------------------------------------- */
enum { SGM_BLOCKS_PER_LEVEL = 3 }; /* of the down path: two resnets and a downsampler; of the up path: three resnets */

/* Modules with a place of their own; the first row that fits counts. */
static const struct sgm_fixed_row {
    const char *from, *to;
    bool resnet; /* what follows is a part of a resnet */
} sgm_fixed_rows[] = {
    {"input_blocks_0_0", "conv_in", false},
    {"middle_block_0_", "mid_block_resnets_0_", true},
    {"middle_block_1_", "mid_block_attentions_0_", false},
    {"middle_block_2_", "mid_block_resnets_1_", true},
    {"time_embed_0", "time_embedding_linear_1", false},
    {"time_embed_2", "time_embedding_linear_2", false},
    {"label_emb_0_0", "add_embedding_linear_1", false},
    {"label_emb_0_2", "add_embedding_linear_2", false},
    {"out_2", "conv_out", false},
};
/* Modules of the numbered blocks: FROM_<number>_<place>…; the first row that fits counts. */
static const struct sgm_block_row {
    const char *from;
    int first; /* number of the first block of level 0                        */
    const char *place, *to, *part;
    bool numbered; /* <part>_<which of the level's>_ comes next                   */
    bool resnet;   /* what follows is a part of a resnet                          */
} sgm_block_rows[] = {
    {"input_blocks_", 1, "0_op", "down_blocks", "downsamplers_0_conv", false, false},
    {"input_blocks_", 1, "0_", "down_blocks", "resnets", true, true},
    {"input_blocks_", 1, "1_", "down_blocks", "attentions", true, false},
    {"output_blocks_", 0, "0_", "up_blocks", "resnets", true, true},
    {"output_blocks_", 0, "1_conv", "up_blocks", "upsamplers_0_conv", false, false},
    {"output_blocks_", 0, "2_conv", "up_blocks", "upsamplers_0_conv", false, false},
    {"output_blocks_", 0, "1_", "up_blocks", "attentions", true, false},
};
static const struct sgm_resnet_row {
    const char *from, *to;
} sgm_resnet_rows[] = {
    {"in_layers_0", "norm1"},  {"in_layers_2", "conv1"},  {"emb_layers_1", "time_emb_proj"},
    {"out_layers_0", "norm2"}, {"out_layers_3", "conv2"}, {"skip_connection", "conv_shortcut"},
};

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static const char *resnet_part(const char *part)
{
    for (size_t i = 0; i < HEP_COUNT_OF(sgm_resnet_rows); i++)
        if (strcmp(sgm_resnet_rows[i].from, part) == 0)
            return sgm_resnet_rows[i].to;
    return part;
}

/* "input_blocks_4_1_proj_in" → "down_blocks_1_attentions_0_proj_in". False if no row fits: it is diffusers' already. */
static bool from_sgm(const char *module, char *to, size_t size)
{
    for (size_t i = 0; i < HEP_COUNT_OF(sgm_fixed_rows); i++) {
        const struct sgm_fixed_row *row = &sgm_fixed_rows[i];
        const char *rest = module + strlen(row->from);
        bool whole = row->from[strlen(row->from) - 1] != '_';
        if (!begins_with(module, row->from) || (whole && *rest))
            continue;
        return (size_t)snprintf(to, size, "%s%s", row->to, row->resnet ? resnet_part(rest) : rest) < size;
    }
    for (size_t i = 0; i < HEP_COUNT_OF(sgm_block_rows); i++) {
        const struct sgm_block_row *row = &sgm_block_rows[i];
        char *rest;
        if (!begins_with(module, row->from))
            continue;
        long number = strtol(module + strlen(row->from), &rest, 10) - row->first;
        if (number < 0 || *rest != '_' || !begins_with(rest + 1, row->place))
            continue;
        long level = number / SGM_BLOCKS_PER_LEVEL, which = number % SGM_BLOCKS_PER_LEVEL;
        rest += 1 + strlen(row->place);
        if (!row->numbered)
            return (size_t)snprintf(to, size, "%s_%ld_%s%s", row->to, level, row->part, rest) < size;
        return (size_t)snprintf(to, size, "%s_%ld_%s_%ld_%s", row->to, level, row->part, which,
                                row->resnet ? resnet_part(rest) : rest) < size;
    }
    return false;
}

/* ---- public
 * ---------------------------------------------------------------------------------------------------------------- */
/* Puts `to` in the place of the `from` bytes at found. */
static bool replace(char *text, size_t size, char *found, size_t from, const char *to)
{
    size_t before = (size_t)(found - text), length = strlen(to), tail = strlen(found + from) + 1;
    if (before + length + tail > size)
        return false;
    memmove(found + length, found + from, tail);
    memcpy(found, to, length);
    return true;
}

static void underline(char *text)
{
    for (char *dot = text; (dot = strchr(dot, '.'));)
        *dot = '_';
}

/* rest: the module as the file calls it. */
static bool name_module(const char *component, const char *rest, char module[HEP_WEIGHT_NAME_MAX])
{
    char name[HEP_WEIGHT_NAME_MAX];
    if (hep_key_map(component, rest, name, sizeof name, NULL) != HEP_OK) /* text encoders without "text_model." */
        return false;
    underline(name);
    for (size_t i = 0; i < HEP_COUNT_OF(piece_rows); i++) {
        const struct piece_row *row = &piece_rows[i];
        size_t from = strlen(row->from);
        char *found = row->end ? name + strlen(name) - from : strstr(name, row->from);
        if (!begins_with(component, row->component) || !found || (row->end && !ends_with(name, row->from)))
            continue;
        if (!replace(name, sizeof name, found, from, row->to))
            return false;
    }
    if (strcmp(component, "unet") == 0 && from_sgm(name, module, HEP_WEIGHT_NAME_MAX))
        return true;
    return (size_t)snprintf(module, HEP_WEIGHT_NAME_MAX, "%s", name) < HEP_WEIGHT_NAME_MAX && module[0];
}

static const struct end_row *end_of(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(end_rows); i++)
        if (ends_with(name, end_rows[i].end))
            return &end_rows[i];
    return NULL;
}

enum hep_status hep_lora_key_read(const char *name, struct hep_lora_key *key, struct hep_error *error)
{
    const struct end_row *end = end_of(name);
    if (end && end->refused) {
        hep_fail(error, HEP_E_UNSUPPORTED, "'%.150s' is of %s, which is not applied", name, end->refused);
        return hep_hint(error, "LoRA and LoCon are: pairs of down and up matrices"), HEP_E_UNSUPPORTED;
    }
    for (size_t i = 0; end && i < HEP_COUNT_OF(begin_rows); i++) {
        const struct begin_row *begin = &begin_rows[i];
        char rest[HEP_WEIGHT_NAME_MAX];
        if (!begins_with(name, begin->begin))
            continue;
        const char *start = name + strlen(begin->begin) - begin->kept, *stop = name + strlen(name) - strlen(end->end);
        if (stop <= start || (size_t)(stop - start) >= sizeof rest)
            break;
        memcpy(rest, start, (size_t)(stop - start));
        rest[stop - start] = '\0';
        if (!name_module(begin->component, rest, key->module))
            break;
        key->component = begin->component;
        key->part = end->part;
        return HEP_OK;
    }
    hep_fail(error, HEP_E_BAD_FILE, "'%.150s' is no name of a LoRA's tensor", name);
    return hep_hint(error, "LoRA files of kohya, diffusers and peft for Stable Diffusion 1.x, 2.x and XL are read"),
           HEP_E_BAD_FILE;
}

bool hep_lora_module_of_weight(const char *weight, char module[HEP_WEIGHT_NAME_MAX])
{
    static const char end[] = ".weight";
    size_t length = strlen(weight);
    if (!ends_with(weight, end) || length == sizeof end - 1 || length >= HEP_WEIGHT_NAME_MAX)
        return false;
    memcpy(module, weight, length - (sizeof end - 1));
    module[length - (sizeof end - 1)] = '\0';
    underline(module);
    return true;
}
