/* Decides whether and how an image is drawn. Called by results.c for each finished image, and by preview.c. */
#include "supervisor/ctl/show.h"

enum { ROWS_MAX = 200 /* pixels of height in half blocks: what still helps in a window that scrolls */ };

enum hep_status ctl_show_picture(const struct ctl_picture *picture, bool is_terminal, const struct ctl_style *style,
                                 FILE *out, struct hep_error *error)
{
    struct ctl_picture fitted = {0};
    enum ctl_graphics graphics = is_terminal ? ctl_terminal_graphics() : CTL_GRAPHICS_BLOCKS;
    if (graphics == CTL_GRAPHICS_KITTY) {
        ctl_draw_kitty(picture, out);
        return HEP_OK;
    }
    if (graphics == CTL_GRAPHICS_SIXEL) {
        ctl_draw_sixel(picture, out);
        return HEP_OK;
    }
    HEP_TRY(ctl_picture_fit(picture, style->width > 0 ? style->width : 80, ROWS_MAX, &fitted, error));
    ctl_draw_blocks(&fitted, out);
    ctl_picture_clear(&fitted);
    return HEP_OK;
}

enum hep_status ctl_show(const char *path, enum ctl_show_wish wish, bool is_terminal, const struct ctl_style *style,
                         FILE *out, struct hep_error *error)
{
    struct ctl_picture picture = {0};
    if (wish == CTL_SHOW_NEVER || (wish == CTL_SHOW_SMALL && !(is_terminal && style->colour)))
        return HEP_OK;
    enum hep_status status = ctl_picture_read(path, &picture, error);
    if (status != HEP_OK)
        return status == HEP_E_TOO_LARGE && wish == CTL_SHOW_SMALL ? HEP_OK : status;
    if (wish == CTL_SHOW_ALWAYS || (picture.width <= CTL_SHOW_SMALL_SIDE && picture.height <= CTL_SHOW_SMALL_SIDE))
        status = ctl_show_picture(&picture, is_terminal, style, out, error);
    ctl_picture_clear(&picture);
    return status;
}
