/*
 * `heptctl preview`, and what `heptctl generate --previews` keeps meanwhile: how an image looks that is being made.
 * Called by main and follow.c. The daemon gives the newest alone; nothing of it is kept but what is asked for.
 */
#include "common/base64.h"
#include "common/preview.h"
#include "common/wire.h"
#include "supervisor/ctl/follow.h"
#include "supervisor/ctl/show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A preview's file. */
struct png {
    unsigned char bytes[HEP_BASE64_LENGTH(HEP_PREVIEW_PNG_MAX)];
    size_t size;
};

static enum hep_status ask(struct ctl *ctl, const char *id, json_t **preview, struct png *png, struct hep_error *error)
{
    HEP_TRY(ctl_ask(ctl, "preview.get", json_pack("{s:s}", "session_id", id), preview, error));
    const char *text = hep_json_str(*preview, "png", "");
    size_t length = strlen(text);
    if (length == 0 || length > sizeof png->bytes || !hep_base64_decode(text, length, png->bytes, &png->size)) {
        json_decref(hep_take(preview));
        return hep_fail(error, HEP_E_BAD_FILE, "what the daemon gave as a preview is none");
    }
    return HEP_OK;
}

enum hep_status ctl_preview_check(const char *option, const char *out, struct hep_error *error)
{
    const char *format = ctl_out_format(out);
    if (format && strcmp(format, "png") != 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, option, "a preview is a PNG, and --%s ends as %s does", option,
                              format);
    return ctl_out_check(option, out, error);
}

/* Where it goes; malloc'ed. */
static char *place_of(const char *out, const char *id)
{
    char *name = ctl_format("%s-preview.png", id), *place = ctl_out_path(out, name, 0, 1);
    free(name);
    return place;
}

static enum hep_status keep(const struct png *png, const char *place, struct hep_error *error)
{
    return ctl_write_file(png->bytes, png->size, place, error);
}

enum hep_status ctl_preview_keep(struct ctl *ctl, const char *id, const char *out, int64_t *number,
                                 struct hep_error *error)
{
    json_t *preview = NULL;
    struct png png;
    if (ask(ctl, id, &preview, &png, NULL) != HEP_OK) /* there is none yet; or the next question says what is wrong */
        return HEP_OK;
    int64_t newest = hep_json_int(preview, "number", 0);
    json_decref(preview);
    if (newest == *number)
        return HEP_OK;
    char *place = place_of(out, id);
    enum hep_status status = keep(&png, place, error);
    free(place);
    *number = newest;
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */
static void print_about(struct ctl *ctl, const json_t *preview)
{
    fprintf(ctl->err, "%simage %" PRId64 " at step %" PRId64 " of %" PRId64 ", %" PRId64 "×%" PRId64 "%s\n",
            ctl_colour(&ctl->err_style, CTL_DIM), hep_json_int(preview, "image", 0),
            hep_json_int(preview, "denoising_step", 0), hep_json_int(preview, "denoising_steps", 0),
            hep_json_int(preview, "width", 0), hep_json_int(preview, "height", 0),
            ctl_colour(&ctl->err_style, CTL_PLAIN));
}

static enum hep_status draw(struct ctl *ctl, const struct png *png, struct hep_error *error)
{
    struct ctl_picture picture = {0};
    HEP_TRY(ctl_picture_decode(png->bytes, png->size, "the preview", &picture, error));
    enum hep_status status = ctl_show_picture(&picture, true, &ctl->style, ctl->out, error);
    ctl_picture_clear(&picture);
    return status;
}

static enum hep_status write_out(struct ctl *ctl, const char *out, const struct png *png, struct hep_error *error)
{
    char *place = place_of(out, ctl->words[0]);
    enum hep_status status = keep(png, place, error);
    if (status == HEP_OK && !ctl->json)
        fprintf(ctl->out, "%s\n", place);
    free(place);
    return status;
}

/* To --out, drawn on a terminal, or as it is to what standard output is. */
static enum hep_status deliver(struct ctl *ctl, const json_t *preview, const struct png *png, struct hep_error *error)
{
    const char *out = ctl_value(ctl, "out");
    if (out)
        HEP_TRY(write_out(ctl, out, png, error));
    if (ctl->json)
        ctl_print_json(ctl->out, preview, false);
    else if (!out && ctl->out_is_terminal)
        return draw(ctl, png, error);
    else if (!out)
        return fwrite(png->bytes, 1, png->size, ctl->out) == png->size && fflush(ctl->out) == 0
                   ? HEP_OK
                   : hep_fail_errno(error, errno ? errno : EIO, "writing the preview");
    return HEP_OK;
}

enum hep_status ctl_preview(struct ctl *ctl, struct hep_error *error)
{
    json_t *preview = NULL;
    struct png png;
    HEP_TRY(ctl_preview_check("out", ctl_value(ctl, "out"), error));
    HEP_TRY(ask(ctl, ctl->words[0], &preview, &png, error));
    enum hep_status status = deliver(ctl, preview, &png, error);
    if (status == HEP_OK && !ctl->json && ctl->out_is_terminal)
        print_about(ctl, preview);
    json_decref(preview);
    return status;
}
