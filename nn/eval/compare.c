/* Differences between tensors; called by hep-eval and the golden tests. Sums in double. */
#include "nn/eval/compare.h"

#include <math.h>

static bool is_corner_side(int64_t side, int64_t corner)
{
    return corner == (side < HEP_COMPARE_CORNER ? side : HEP_COMPARE_CORNER);
}

/* Whether expected is actual's shape or, if that may be, the corner of its images. */
static bool fits(const struct hep_shape *actual, const struct hep_shape *expected, enum hep_compare_part part)
{
    if (hep_shape_equal(actual, expected))
        return true;
    return part == HEP_COMPARE_CORNERS && actual->rank == 4 && expected->rank == 4 &&
           actual->dims[0] == expected->dims[0] && actual->dims[1] == expected->dims[1] &&
           is_corner_side(actual->dims[2], expected->dims[2]) && is_corner_side(actual->dims[3], expected->dims[3]);
}

/* Index in actual of the element that expected has at index i. */
static int64_t corner_index(const struct hep_shape *actual, const struct hep_shape *expected, int64_t i)
{
    if (expected->rank != 4)
        return i;
    int64_t w = expected->dims[3], h = expected->dims[2];
    int64_t column = i % w, row = i / w % h, plane = i / (w * h);
    return (plane * actual->dims[2] + row) * actual->dims[3] + column;
}

enum hep_status hep_compare(const char *name, const float *actual, const struct hep_shape *actual_shape,
                            const float *expected, const struct hep_shape *expected_shape, enum hep_compare_part part,
                            struct hep_difference *difference, struct hep_error *error)
{
    char a[160], e[160];
    int64_t count;
    if (!fits(actual_shape, expected_shape, part) || !hep_shape_elements(expected_shape, &count))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.100s' is %s, expected is %s", name,
                        hep_shape_text(actual_shape, a, sizeof a), hep_shape_text(expected_shape, e, sizeof e));
    struct hep_difference d = {.elements = count, .finite = true};
    double squares = 0, expected_squares = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = (double)actual[corner_index(actual_shape, expected_shape, i)], y = (double)expected[i];
        d.finite = d.finite && isfinite(x) && isfinite(y);
        d.max_abs = fmax(d.max_abs, fabs(x - y));
        largest = fmax(largest, fabs(y));
        squares += (x - y) * (x - y);
        expected_squares += y * y;
    }
    d.max_rel = d.max_abs == 0 ? 0 : d.max_abs / largest;
    d.rel_rms = squares == 0 ? 0 : sqrt(squares / expected_squares);
    if (!d.finite)
        d.max_abs = d.max_rel = d.rel_rms = HUGE_VAL;
    *difference = d;
    return HEP_OK;
}
