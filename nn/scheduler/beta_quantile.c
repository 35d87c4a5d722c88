/*
 * The quantile of the symmetric beta distribution, for the "beta" spacing of sigmas. Bisection on the regularised
 * incomplete beta function, which is a continued fraction (Abramowitz and Stegun 26.5.8, evaluated by Lentz's method).
 */
#include "nn/scheduler/ladder.h"

#include <math.h>

static double continued_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double result = d;
    for (int m = 1; m <= 300; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        result *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        double change = d * c;
        result *= change;
        if (fabs(change - 1) < 1e-16)
            break;
    }
    return result;
}

/* I_x(a, a) for 0 < x ≤ ½, where the fraction converges fast. */
static double incomplete_beta(double x, double a)
{
    int sign;
    double front = lgamma_r(2 * a, &sign) - 2 * lgamma_r(a, &sign) + a * log(x) + a * log1p(-x);
    return exp(front) * continued_fraction(x, a, a) / a;
}

double beta_quantile(double p, double a)
{
    if (p <= 0 || p >= 1)
        return p <= 0 ? 0 : 1;
    if (p > 0.5) /* symmetric */
        return 1 - beta_quantile(1 - p, a);
    double low = 0, high = 0.5;
    for (int i = 0; i < 200 && high - low > 1e-17 * high; i++) {
        double middle = 0.5 * (low + high);
        if (incomplete_beta(middle, a) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}
