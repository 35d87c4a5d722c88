/* Attention, as the formula says. Called by checks only. The scores of one query are kept twice: once to find their
 * maximum. */
#include "nn/ref/ref.h"

#include <math.h>

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* One query of one head; keys and values of that head, a token every `token` numbers. */
static void attend(const double *q, const double *k, const double *v, int64_t keys, int64_t token, int64_t d,
                   double scale, double *out)
{
    double maximum = -INFINITY, total = 0.0;
    for (int64_t j = 0; j < keys; j++)
        maximum = fmax(maximum, scale * dot(q, k + j * token, d));
    for (int64_t i = 0; i < d; i++)
        out[i] = 0.0;
    for (int64_t j = 0; j < keys; j++) {
        double p = exp(scale * dot(q, k + j * token, d) - maximum);
        total += p;
        for (int64_t i = 0; i < d; i++)
            out[i] += p * v[j * token + i];
    }
    for (int64_t i = 0; i < d; i++)
        out[i] /= total;
}

void hep_ref_attention(const struct hep_ref_attention *shape, const double *q, const double *k, const double *v,
                       double *out)
{
    int64_t d = shape->head_dim, token = shape->heads * d;
    for (int64_t b = 0; b < shape->images; b++)
        for (int64_t h = 0; h < shape->heads; h++)
            for (int64_t t = 0; t < shape->queries; t++) {
                int64_t row = (b * shape->queries + t) * token + h * d, key = b * shape->keys * token + h * d;
                int64_t keys = shape->causal && t + 1 < shape->keys ? t + 1 : shape->keys;
                attend(q + row, k + key, v + key, keys, token, d, shape->scale, out + row);
            }
}
