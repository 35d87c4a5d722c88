/* Activations and sums. Called by checks only. */
#include "nn/ref/ref.h"

#include <math.h>

double hep_ref_silu(double x)
{
    return x / (1.0 + exp(-x));
}

double hep_ref_quick_gelu(double x)
{
    return x / (1.0 + exp(-1.702 * x));
}

double hep_ref_gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2.0)); /* 1 + erf(z) = erfc(-z), without cancellation */
}

double hep_ref_relu(double x)
{
    return x > 0.0 ? x : 0.0;
}

double hep_ref_leaky_relu(double x)
{
    return x > 0.0 ? x : 0.2 * x;
}

void hep_ref_geglu(int64_t rows, int64_t columns, const double *x, double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < columns; i++)
            y[r * columns + i] = x[2 * r * columns + i] * hep_ref_gelu(x[(2 * r + 1) * columns + i]);
}

void hep_ref_add(int64_t rows, int64_t columns, int64_t b_rows, int64_t b_repeat, const double *a, const double *b,
                 double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < columns; i++)
            y[r * columns + i] = a[r * columns + i] + b[r / b_repeat % b_rows * columns + i];
}
