/*
 * libFuzzer target of the image readers: any bytes are either pixels of a size that the header says, or refused with a
 * message.
 */
#include "instructors/postprocessing/image_read.h"

#include <stdlib.h>

enum { PIXELS_MAX = 1 << 20 /* larger ones only cost time here */ };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_about about;
    struct hep_error error = {0};
    if (image_probe(data, size, &about, &error) != HEP_OK) {
        hep_assert(error.message[0] != '\0');
        return 0;
    }
    hep_assert(about.width > 0 && about.height > 0 && about.orientation >= 1 && about.orientation <= 8);
    if ((int64_t)about.width * about.height > PIXELS_MAX)
        return 0;
    uint8_t *rgba = malloc((size_t)about.width * (size_t)about.height * 4);
    hep_assert(rgba);
    hep_assert(image_read(data, size, &about, rgba, &error) == HEP_OK || error.message[0] != '\0');
    free(rgba);
    if (about.bits == 16) {
        uint16_t *deep = malloc((size_t)about.width * (size_t)about.height * 4 * sizeof *deep);
        hep_assert(deep);
        hep_assert(image_read_deep(data, size, &about, deep, &error) == HEP_OK || error.message[0] != '\0');
        free(deep);
    }
    return 0;
}
