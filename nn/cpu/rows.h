/* How elementwise kernels cut [rows, columns] into items for threads. Included by their templates. */
#ifndef HEP_NN_CPU_ROWS_H
#define HEP_NN_CPU_ROWS_H

#include "nn/cpu/kernels.h"
#include "nn/cpu/parallel.h"

enum {
    HEP_ROWS_SEGMENT = 4096, /* elements of an item where rows follow each other without gaps */
    HEP_ROWS_ALONE = 16384   /* fewer elements than this are not worth a second thread        */
};

/* a: as given, or with rows that are segments of one long row. total: elements of y. */
struct hep_rows_work {
    struct hep_rows_args a;
    int64_t total;
};

/* Elements of row r: all rows are full but the last segment of a long row. */
static inline int64_t hep_rows_in(const struct hep_rows_work *work, int64_t r)
{
    int64_t left = work->total - r * work->a.columns;
    return left < work->a.columns ? left : work->a.columns;
}

/* Runs body over the rows, each as it is: for geglu, where x has other columns than y. */
static inline void hep_rows_run_strided(const struct hep_rows_args *a, hep_parallel_body *body)
{
    struct hep_rows_work work = {.a = *a, .total = a->rows * a->columns};
    hep_parallel_for(a->rows, HEP_ROWS_ALONE / a->columns, body, &work);
}

/* Runs body over the rows, or over segments of one long row where there are no gaps. */
static inline void hep_rows_run(const struct hep_rows_args *a, hep_parallel_body *body)
{
    if (a->x_stride != a->columns || a->y_stride != a->columns) {
        hep_rows_run_strided(a, body);
        return;
    }
    struct hep_rows_work work = {.a = *a, .total = a->rows * a->columns};
    work.a.columns = work.a.x_stride = work.a.y_stride = HEP_ROWS_SEGMENT;
    work.a.rows = (work.total + HEP_ROWS_SEGMENT - 1) / HEP_ROWS_SEGMENT;
    hep_parallel_for(work.a.rows, HEP_ROWS_ALONE / HEP_ROWS_SEGMENT, body, &work);
}

#endif
