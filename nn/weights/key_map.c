/*
 * The table of old weight names; called by component.c for every key of every file that it opens. It looks at names
 * only, never at shapes or data.
 */
#include "nn/weights/key_map.h"

#include <stdio.h>
#include <string.h>

/* To add an old name: one row. Rules apply in order, each at most once, to what the earlier ones left. */
static const struct key_rule {
    const char *component; /* the component's folder; a prefix of it is enough ("text_encoder" fits "text_encoder_2") */
    const char *within;    /* the key must contain this; "" fits all                                                  */
    const char *from;      /* what stands in the file; at the start of the key if `start`; # is a number's digits     */
    const char *to;        /* what it is called now                                                                   */
    bool start;
} rules[] = {
    /* VAE attention before diffusers 0.18, still in most SD 1.x folders */
    {"vae", ".attentions.", ".query.", ".to_q.", false},
    {"vae", ".attentions.", ".key.", ".to_k.", false},
    {"vae", ".attentions.", ".value.", ".to_v.", false},
    {"vae", ".attentions.", ".proj_attn.", ".to_out.0.", false},
    /* CLIPTextModel as transformers 5 saves it, without the wrapper's name */
    {"text_encoder", "", "embeddings.", "text_model.embeddings.", true},
    {"text_encoder", "", "encoder.", "text_model.encoder.", true},
    {"text_encoder", "", "final_layer_norm.", "text_model.final_layer_norm.", true},
    /* single files in the original layouts; blocks have their present names already (ldm_keys.c) */
    {"unet", ".resnets.", ".in_layers.0.", ".norm1.", false},
    {"unet", ".resnets.", ".in_layers.2.", ".conv1.", false},
    {"unet", ".resnets.", ".emb_layers.1.", ".time_emb_proj.", false},
    {"unet", ".resnets.", ".out_layers.0.", ".norm2.", false},
    {"unet", ".resnets.", ".out_layers.3.", ".conv2.", false},
    {"unet", ".resnets.", ".skip_connection.", ".conv_shortcut.", false},
    {"controlnet", ".resnets.", ".in_layers.0.", ".norm1.", false},
    {"controlnet", ".resnets.", ".in_layers.2.", ".conv1.", false},
    {"controlnet", ".resnets.", ".emb_layers.1.", ".time_emb_proj.", false},
    {"controlnet", ".resnets.", ".out_layers.0.", ".norm2.", false},
    {"controlnet", ".resnets.", ".out_layers.3.", ".conv2.", false},
    {"controlnet", ".resnets.", ".skip_connection.", ".conv_shortcut.", false},
    {"vae", ".resnets.", ".nin_shortcut.", ".conv_shortcut.", false},
    {"vae", "", ".norm_out.", ".conv_norm_out.", false},
    {"vae", ".attentions.", ".norm.", ".group_norm.", false},
    {"vae", ".attentions.", ".q.", ".to_q.", false},
    {"vae", ".attentions.", ".k.", ".to_k.", false},
    {"vae", ".attentions.", ".v.", ".to_v.", false},
    {"vae", ".attentions.", ".proj_out.", ".to_out.0.", false},
    {"text_encoder", ".layers.", ".ln_1.", ".layer_norm1.", false},
    {"text_encoder", ".layers.", ".ln_2.", ".layer_norm2.", false},
    {"text_encoder", ".layers.", ".mlp.c_fc.", ".mlp.fc1.", false},
    {"text_encoder", ".layers.", ".mlp.c_proj.", ".mlp.fc2.", false},
    {"text_encoder", ".layers.", ".attn.out_proj.", ".self_attn.out_proj.", false},
    /* upscalers as training saves them */
    {"upscaler", "", "params_ema.", "", true},
    {"upscaler", "", "params.", "", true},
    {"upscaler", "", "module.", "", true},
    /* ESRGAN as released in 2018: one nn.Sequential, whose numbers differ by the scale: of ×4, ×2, ×8 and ×1 */
    {"upscaler", "", "model.1.sub.#.weight", "conv_body.weight", true},
    {"upscaler", "", "model.1.sub.#.bias", "conv_body.bias", true},
    {"upscaler", "", "model.1.sub.", "body.", true},
    {"upscaler", "body.", ".RDB", ".rdb", false},
    {"upscaler", "body.", ".0.weight", ".weight", false},
    {"upscaler", "body.", ".0.bias", ".bias", false},
    {"upscaler", "", "model.0.", "conv_first.", true},
    {"upscaler", "", "model.3.", "conv_up1.", true},
    {"upscaler", "", "model.6.", "conv_up2.", true},
    {"upscaler", "", "model.9.", "conv_up3.", true},
    {"upscaler", "", "model.8.", "conv_hr.", true},
    {"upscaler", "", "model.10.", "conv_last.", true},
    {"upscaler", "", "model.5.", "conv_hr.", true},
    {"upscaler", "", "model.7.", "conv_last.", true},
    {"upscaler", "", "model.11.", "conv_hr.", true},
    {"upscaler", "", "model.13.", "conv_last.", true},
    {"upscaler", "", "model.2.", "conv_hr.", true},
    {"upscaler", "", "model.4.", "conv_last.", true},
};

/* Bytes of text that pattern takes at its start; 0 if it does not fit. */
static size_t fits(const char *text, const char *pattern)
{
    const char *at = text;
    for (; *pattern; pattern++) {
        size_t digits = *pattern == '#' ? strspn(at, "0123456789") : *at == *pattern;
        if (digits == 0)
            return 0;
        at += digits;
    }
    return (size_t)(at - text);
}

/* Where in key the rule applies, and to how many bytes; NULL if it does not. */
static const char *match(const struct key_rule *rule, const char *component, const char *key, size_t *bytes)
{
    if (strncmp(component, rule->component, strlen(rule->component)) != 0 || !strstr(key, rule->within))
        return NULL;
    for (const char *at = key; *at; at++) {
        if ((*bytes = fits(at, rule->from)) > 0)
            return at;
        if (rule->start)
            break;
    }
    return NULL;
}

/* Puts `text` in the place of name[at … at + bytes]; false if it does not fit. */
static bool replace(char *name, size_t size, size_t at, size_t bytes, const char *text)
{
    size_t length = strlen(text), tail = strlen(name + at + bytes) + 1;
    if (at + length + tail > size)
        return false;
    memmove(name + at + length, name + at + bytes, tail);
    memcpy(name + at, text, length);
    return true;
}

enum hep_status hep_key_map(const char *component, const char *key, char *name, size_t size, struct hep_error *error)
{
    if ((size_t)snprintf(name, size, "%s", key) >= size)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s: the weight name '%.100s…' has %zu bytes, more than %zu", component,
                        key, strlen(key), size - 1);
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++) {
        size_t from = 0;
        const char *found = match(&rules[i], component, name, &from);
        if (!found)
            continue;
        if (!replace(name, size, (size_t)(found - name), from, rules[i].to))
            return hep_fail(error, HEP_E_BAD_MODEL, "%s: the weight name '%.100s…' has more than %zu bytes", component,
                            key, size - 1);
    }
    return HEP_OK;
}

/* Backwards, so that of two old names for one the later is taken, as the original code's are. */
bool hep_key_map_inverse(const char *component, const char *present, char *name, size_t size)
{
    if ((size_t)snprintf(name, size, "%s", present) >= size)
        return false;
    for (size_t i = HEP_COUNT_OF(rules); i-- > 0;) {
        const struct key_rule *rule = &rules[i];
        const char *found = !rule->start && strncmp(component, rule->component, strlen(rule->component)) == 0 &&
                                    strstr(name, rule->within)
                                ? strstr(name, rule->to)
                                : NULL;
        if (found && !replace(name, size, (size_t)(found - name), strlen(rule->to), rule->from))
            return false;
    }
    return true;
}
