/* The map of previews as JSON. */
#include "common/preview.h"

#include <math.h>

json_t *hep_preview_map_to_json(const struct hep_preview_map *map)
{
    json_t *list = json_array();
    for (int c = 0; c <= map->channels; c++)
        json_array_append_new(list, json_pack("[f, f, f]", (double)map->colours[c][0], (double)map->colours[c][1],
                                              (double)map->colours[c][2]));
    return list;
}

static bool read_colour(const json_t *json, float colour[3])
{
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(json, i);
        colour[i] = (float)json_number_value(value);
        if (!json_is_number(value) || !isfinite(colour[i]))
            return false;
    }
    return json_array_size(json) == 3;
}

enum hep_status hep_preview_map_read(const json_t *json, int channels, struct hep_preview_map *map,
                                     struct hep_error *error)
{
    struct hep_preview_map read = {.channels = channels};
    bool good = channels > 0 && channels <= HEP_PREVIEW_CHANNELS_MAX &&
                json_array_size(json) == (size_t)channels + 1; /* 0 for what is no list */
    for (int c = 0; good && c <= channels; c++)
        good = read_colour(json_array_get(json, (size_t)c), read.colours[c]);
    if (!good)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "preview_map",
                              "preview_map must be %d colours [red, green, blue]: one of each channel of the latents, "
                              "and that of zeros",
                              channels + 1);
    *map = read;
    return HEP_OK;
}
