/*
 * Drawing an image on a terminal: with the kitty graphics protocol or sixels where the terminal says that it can, else
 * with half-block characters in 24-bit colour.
 */
#ifndef HEP_SUPERVISOR_CTL_SHOW_H
#define HEP_SUPERVISOR_CTL_SHOW_H

#include "common/status.h"
#include "supervisor/ctl/text.h"

/* An image in memory. */
struct ctl_picture {
    int width, height;
    unsigned char *pixels; /* RGB, [height, width, 3]; malloc'ed */
};
void ctl_picture_clear(struct ctl_picture *picture);
/* picture.c: reads a PNG, JPEG or WebP file; what it is, its first bytes say. At most CTL_PICTURE_SIDE_MAX pixels wide
   and high. BAD_FILE, UNSUPPORTED (another format), TOO_LARGE, IO, NOT_FOUND, NO_MEMORY. */
enum { CTL_PICTURE_SIDE_MAX = 4096, CTL_PICTURE_FILE_MAX = 64 << 20 };
enum hep_status ctl_picture_read(const char *path, struct ctl_picture *picture, struct hep_error *error);
/* picture.c: the same of a file that is in memory; name: what it is called in errors. */
enum hep_status ctl_picture_decode(const unsigned char *data, size_t size, const char *name,
                                   struct ctl_picture *picture, struct hep_error *error);
/* picture.c: picture made smaller by whole averages so that it fits; a copy if it fits already. NO_MEMORY. */
enum hep_status ctl_picture_fit(const struct ctl_picture *picture, int max_width, int max_height,
                                struct ctl_picture *fitted, struct hep_error *error);

enum ctl_graphics { CTL_GRAPHICS_BLOCKS, CTL_GRAPHICS_KITTY, CTL_GRAPHICS_SIXEL };
/* draw.c: one picture, from the left edge of an empty line to a new line below. */
void ctl_draw_blocks(const struct ctl_picture *picture, FILE *out);
void ctl_draw_kitty(const struct ctl_picture *picture, FILE *out);
void ctl_draw_sixel(const struct ctl_picture *picture, FILE *out);

/* terminal.c: what the terminal can, by its environment; where that says nothing it is asked (DA1) and has
   CTL_ANSWER_MS to answer. tmux and screen get blocks. */
enum { CTL_ANSWER_MS = 150 };
enum ctl_graphics ctl_terminal_graphics(void);
/* terminal.c: whether an answer to DA1 ("\x1b[?62;4;6c") names sixels. */
bool ctl_answer_has_sixel(const char *answer);

enum ctl_show_wish { CTL_SHOW_NEVER, CTL_SHOW_SMALL, CTL_SHOW_ALWAYS };
enum { CTL_SHOW_SMALL_SIDE = 128 };
/* show.c: draws the image of a file if it is wished. CTL_SHOW_SMALL: only on a terminal with colours, and only an image
   of at most CTL_SHOW_SMALL_SIDE pixels; CTL_SHOW_ALWAYS: any, and without a terminal in blocks. Errors of
   ctl_picture_read. */
enum hep_status ctl_show(const char *path, enum ctl_show_wish wish, bool is_terminal, const struct ctl_style *style,
                         FILE *out, struct hep_error *error);
/* show.c: draws it as the terminal can, or in blocks. NO_MEMORY. */
enum hep_status ctl_show_picture(const struct ctl_picture *picture, bool is_terminal, const struct ctl_style *style,
                                 FILE *out, struct hep_error *error);

#endif
