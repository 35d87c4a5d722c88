/* Operators that move numbers. Called by checks only. */
#include "nn/ref/ref.h"

void hep_ref_resize(const struct hep_ref_resize *s, const double *x, double *y)
{
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < s->out_height; i++)
            for (int64_t j = 0; j < s->out_width; j++)
                for (int64_t c = 0; c < s->channels; c++) {
                    int64_t row = i * s->height / s->out_height, column = j * s->width / s->out_width;
                    y[((n * s->out_height + i) * s->out_width + j) * s->channels + c] =
                        x[((n * s->height + row) * s->width + column) * s->channels + c];
                }
}

void hep_ref_pad(const struct hep_ref_pad *s, const double *x, double *y)
{
    int64_t out_height = s->top + s->height + s->bottom, out_width = s->left + s->width + s->right;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < out_height; i++)
            for (int64_t j = 0; j < out_width; j++)
                for (int64_t c = 0; c < s->channels; c++) {
                    int64_t row = i - s->top, column = j - s->left;
                    int inside = row >= 0 && row < s->height && column >= 0 && column < s->width;
                    y[((n * out_height + i) * out_width + j) * s->channels + c] =
                        inside ? x[((n * s->height + row) * s->width + column) * s->channels + c] : 0.0;
                }
}

void hep_ref_transpose(int64_t images, int64_t rows, int64_t columns, const double *x, double *y)
{
    for (int64_t n = 0; n < images; n++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                y[(n * columns + c) * rows + r] = x[(n * rows + r) * columns + c];
}

void hep_ref_embedding(int64_t count, int64_t width, int64_t rows, const int32_t *ids, const double *table, double *y)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < width; c++)
            y[i * width + c] = ids[i] < 0 ? 0 : table[(ids[i] < rows ? ids[i] : 0) * width + c];
}

int64_t hep_ref_eos_position(int64_t tokens, const int32_t *ids, int32_t eos_id)
{
    int64_t largest = 0;
    for (int64_t t = 1; t < tokens; t++)
        if (ids[t] > ids[largest])
            largest = t;
    if (eos_id < 0)
        return largest;
    for (int64_t t = 0; t < tokens; t++)
        if (ids[t] == eos_id)
            return t;
    return 0;
}
