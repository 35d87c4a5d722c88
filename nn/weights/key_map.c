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
    const char *from;      /* what stands in the file; at the start of the key if `start`                             */
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
};

static const char *match(const struct key_rule *rule, const char *component, const char *key)
{
    if (strncmp(component, rule->component, strlen(rule->component)) != 0 || !strstr(key, rule->within))
        return NULL;
    if (rule->start)
        return strncmp(key, rule->from, strlen(rule->from)) == 0 ? key : NULL;
    return strstr(key, rule->from);
}

enum hep_status hep_key_map(const char *component, const char *key, char *name, size_t size, struct hep_error *error)
{
    if ((size_t)snprintf(name, size, "%s", key) >= size)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s: the weight name '%.100s…' has %zu bytes, more than %zu", component,
                        key, strlen(key), size - 1);
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++) {
        const char *found = match(&rules[i], component, name);
        if (!found)
            continue;
        size_t before = (size_t)(found - name), from = strlen(rules[i].from), to = strlen(rules[i].to);
        size_t tail = strlen(found + from) + 1;
        if (before + to + tail > size)
            return hep_fail(error, HEP_E_BAD_MODEL, "%s: the weight name '%.100s…' has more than %zu bytes", component,
                            key, size - 1);
        memmove(name + before + to, name + before + from, tail);
        memcpy(name + before, rules[i].to, to);
    }
    return HEP_OK;
}
