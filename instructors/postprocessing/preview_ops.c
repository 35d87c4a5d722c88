/* The operation `preview_map`: fields, measure, handler, and the maps that are kept. */
#include "instructors/postprocessing/previews.h"
#include "instructors/postprocessing/state.h"

#include <stdio.h>
#include <string.h>

static const struct hep_field channel_says[] = {
    {.name = "", .type = HEP_FIELD_F64, .presence = HEP_REQUIRED, .help = "red, green, blue of one unit, 0 to 1"},
    HEP_END_OF_FIELDS};
static const struct hep_field colour_says[] = {{.name = "",
                                                .type = HEP_FIELD_JSON,
                                                .presence = HEP_REQUIRED,
                                                HEP_INSIDE(LIST, channel_says),
                                                .help = "of a channel; the last is the colour of zeros"},
                                               HEP_END_OF_FIELDS};
const struct hep_field preview_map_fields[PREVIEW_MAP_FIELDS] = {
    HEP_FIELD(REF, preview_map_request, vae, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
};
const struct hep_field preview_map_reply_fields[PREVIEW_MAP_REPLY_FIELDS] = {
    HEP_FIELD(JSON, preview_map_reply, map, REQUIRED, HEP_INSIDE(LIST, colour_says),
              .help = "for generate: the colours of latents, as a linear map"),
};

/* What a checker has not judged must not be seen before it has. */
static enum hep_status check_policy(const struct postprocessing_state *state, struct hep_error *error)
{
    if (hep_safety_policy_allows_previews(state->safety))
        return HEP_OK;
    hep_fail(error, HEP_E_NOT_ALLOWED, "safety.policy is %s: nobody has judged a preview",
             hep_safety_policy_names[state->safety]);
    return hep_hint(error, "ask for the image without previews"), HEP_E_NOT_ALLOWED;
}

static enum hep_status open_decoder(struct hep_call *call, const struct preview_map_request *request,
                                    struct decoder *decoder, struct hep_error *error)
{
    struct postprocessing_state *state = postprocessing_state(call);
    HEP_TRY(check_policy(state, error));
    HEP_TRY(decoder_open(&state->networks, hep_call_instructor(call), &request->vae, decoder, error));
    networks_show(&state->networks, &state->view);
    return HEP_OK;
}

enum hep_status preview_map_measure(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                                    struct hep_error *error)
{
    struct decoder decoder;
    struct decoder_tiling tiling;
    HEP_TRY(open_decoder(call, request, &decoder, error));
    HEP_TRY(decoder_tile(&decoder, PREVIEW_PROBE_SIDE, PREVIEW_PROBE_SIDE, DECODE_WHOLE, 0, &tiling, error));
    HEP_TRY(decoder_cost(&decoder, &tiling, &outputs->flops, &outputs->unit_flops, &outputs->memory_bytes, error));
    outputs->flops *= PREVIEW_PROBES;
    return HEP_OK;
}

static const struct hep_preview_map *find(const struct preview_maps *maps, const char *digest)
{
    for (int i = 0; digest[0] && i < PREVIEW_MAPS_KEPT; i++)
        if (strcmp(maps->kept[i].digest, digest) == 0)
            return &maps->kept[i].map;
    return NULL;
}

static void keep(struct preview_maps *maps, const char *digest, const struct hep_preview_map *map)
{
    snprintf(maps->kept[maps->next].digest, sizeof maps->kept[0].digest, "%s", digest);
    maps->kept[maps->next].map = *map;
    maps->next = (maps->next + 1) % PREVIEW_MAPS_KEPT;
}

enum hep_status preview_map(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct postprocessing_state *state = postprocessing_state(call);
    struct network_step step = {call, 0, 1, "preview_map"};
    struct decoder decoder;
    struct hep_preview_map made;
    HEP_TRY(open_decoder(call, request, &decoder, error));
    const char *digest = hep_network_digest(decoder.network);
    const struct hep_preview_map *map = find(&state->preview_maps, digest);
    if (!map) {
        decoder.step = &step;
        HEP_TRY(preview_map_make(&decoder, &made, error));
        keep(&state->preview_maps, digest, &made);
        networks_show(&state->networks, &state->view);
        map = &made;
    }
    ((struct preview_map_reply *)reply)->map = hep_preview_map_to_json(map);
    return HEP_OK;
}
