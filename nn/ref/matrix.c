/* Linear layers and convolutions. Called by checks only. */
#include "nn/ref/ref.h"

#include <stddef.h>

void hep_ref_linear(int64_t rows, int64_t in, int64_t out, const double *x, const double *weight, const double *bias,
                    double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (int64_t i = 0; i < in; i++)
                sum += x[r * in + i] * weight[o * in + i];
            y[r * out + o] = sum;
        }
}

int64_t hep_ref_conv2d_height(const struct hep_ref_conv2d *s)
{
    return (s->top + s->height + s->bottom - s->kernel) / s->stride + 1;
}

int64_t hep_ref_conv2d_width(const struct hep_ref_conv2d *s)
{
    return (s->left + s->width + s->right - s->kernel) / s->stride + 1;
}

/* Output channel o at the place whose window starts at (top, left) of image x. */
static double window(const struct hep_ref_conv2d *s, const double *x, const double *weight, int64_t top, int64_t left)
{
    double sum = 0.0;
    for (int64_t i = 0; i < s->in; i++)
        for (int64_t p = 0; p < s->kernel; p++)
            for (int64_t q = 0; q < s->kernel; q++)
                if (top + p >= 0 && top + p < s->height && left + q >= 0 && left + q < s->width)
                    sum +=
                        x[((top + p) * s->width + left + q) * s->in + i] * weight[(i * s->kernel + p) * s->kernel + q];
    return sum;
}

void hep_ref_conv2d(const struct hep_ref_conv2d *s, const double *x, const double *weight, const double *bias,
                    double *y)
{
    int64_t height = hep_ref_conv2d_height(s), width = hep_ref_conv2d_width(s), filter = s->in * s->kernel * s->kernel;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t o = 0; o < s->out; o++)
                    y[((n * height + i) * width + j) * s->out + o] =
                        (bias ? bias[o] : 0.0) + window(s, x + n * s->height * s->width * s->in, weight + o * filter,
                                                        i * s->stride - s->top, j * s->stride - s->left);
}
