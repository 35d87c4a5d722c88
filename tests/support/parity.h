/* What a golden test measured, for docs/parity.md: a line of the file that HEP_PARITY names, if it names one. */
#ifndef HEP_TESTS_PARITY_H
#define HEP_TESTS_PARITY_H

#include "common/tensor.h"

#include <stdio.h>
#include <stdlib.h>

/* subject: "Networks", a heading of the page. what: which golden. isa: the level's name; "" where it makes no
   difference. measured, limit: in the subject's own measure. */
static inline void parity_note(const char *subject, const char *what, enum hep_dtype dtype, const char *isa,
                               double measured, double limit)
{
    const char *path = getenv("HEP_PARITY");
    FILE *file = path ? fopen(path, "ae") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\t%s\t%s\t%s\t%.2g\t%.2g\n", subject, what, hep_dtype_name(dtype), isa, measured, limit);
    fclose(file);
}

#endif
