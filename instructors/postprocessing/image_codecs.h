/* The three encoders behind image_encode(), and the metadata that two of them share. Only this folder includes it. */
#ifndef HEP_POSTPROCESSING_IMAGE_CODECS_H
#define HEP_POSTPROCESSING_IMAGE_CODECS_H

#include "instructors/postprocessing/image_file.h"

/* An encoder: arguments are checked, quality is in [1, 100], the recipe is valid UTF-8. */
typedef enum hep_status image_encoder(const struct image_source *source, int quality, struct image_bytes *bytes,
                                      struct hep_error *error);
image_encoder image_png_encode, image_png16_encode, image_jpeg_encode, image_webp_encode;

/* EXIF (a big-endian TIFF) with UserComment = text in UTF-16BE, as A1111 writes it by way of piexif. text is valid
 * UTF-8. */
enum hep_status image_exif(const char *text, struct image_bytes *exif, struct hep_error *error);
/* An XMP packet with heptad:request = json, and xmp:CreatorTool. json is valid UTF-8. */
enum hep_status image_xmp(const char *json, struct image_bytes *xmp, struct hep_error *error);

/* UTF-8 to ISO 8859-1, if all of it fits: the caller frees *latin1; *fits says whether it did. And back. */
enum hep_status image_latin1_from_utf8(const char *text, char **latin1, bool *fits, struct hep_error *error);
enum hep_status image_utf8_from_latin1(const char *latin1, size_t size, char **text, struct hep_error *error);

#endif
