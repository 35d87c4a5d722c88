/*
 * Inputs (files that clients gave, in the state folder) to tensors: images and masks of a wanted size. Worker thread
 * only; the same request gives the same bytes.
 */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_OPEN_H
#define HEP_INSTRUCTORS_POSTPROCESSING_OPEN_H

#include "instructors/postprocessing/fit.h"
#include "instructors/postprocessing/image_read.h"

/* What of a file is wanted. */
enum open_kind {
    OPEN_IMAGE, /* RGB; what is transparent lies on white, as A1111 has it   */
    OPEN_MASK,  /* its grey (ITU-R 601, as PIL's "L"), one channel           */
    OPEN_ALPHA, /* its alpha, one channel; 255 where it has none             */
    OPEN_KIND_COUNT
};
extern const char *const open_kind_names[]; /* "image", "mask", "alpha", NULL */

struct open_wish {
    enum open_kind kind;
    int32_t width, height; /* pixels; 0 = the file's own                                          */
    enum fit_mode mode;
    bool invert; /* masks and alpha: what was 255 is 0                                  */
    double blur; /* masks and alpha: sigma in the file's pixels; 0 = not at all         */
    bool deep;   /* images: f32 (levels.h) of a file of 16 bits, instead of 8 of them   */
};

/* A file in memory, its header read. */
struct open_file {
    struct image_bytes bytes; /* owned */
    struct image_about about;
};

/* Reads the input of this name (64 hex digits) below state_dir. Errors: NOT_FOUND; BAD_FILE if it is not what its name
   says, and those of image_probe. The caller clears file. */
enum hep_status open_file_load(const char *state_dir, const char *name, struct open_file *file,
                               struct hep_error *error);
void open_file_clear(struct open_file *file); /* zeroed is accepted */
/* What the wish gives: [1, height, width, channels], and f32 of a deep wish and file, else u8. */
enum hep_dtype open_dtype(const struct open_file *file, const struct open_wish *wish);
struct hep_shape open_shape(const struct open_file *file, const struct open_wish *wish);
/* Bytes that open_run takes, the file included. Errors of fit_memory. */
enum hep_status open_memory(const struct open_file *file, const struct open_wish *wish, uint64_t *bytes,
                            struct hep_error *error);
/* pixels: of open_shape() and open_dtype(). Errors of image_read and fit_image. */
enum hep_status open_run(const struct open_file *file, const struct open_wish *wish, void *pixels,
                         struct hep_error *error);

#endif
