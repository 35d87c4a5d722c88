/*
 * exp, sigmoid and the error function on vectors, in the operations of the level whose header was included before. The
 * polynomials are minimax fits; each states its error before rounding.
 */
#ifndef HEP_NN_CPU_SIMD_MATH_H
#define HEP_NN_CPU_SIMD_MATH_H

/* Adding it rounds |x| < 2^22 to the nearest integer, which then lies in the low bits of the sum. */
#define HEP_ROUNDER 12582912.0f /* 1.5 · 2^23 */

/* 2^x for x ≤ 127, exactly 0 below -125 (and for -inf), exactly 1 at 0. Relative error 2.6e-9 before rounding. */
HEP_INLINE vf v_exp2(vf x)
{
    vf t = v_add(x, v_set(HEP_ROUNDER));
    vf f = v_sub(x, v_sub(t, v_set(HEP_ROUNDER))); /* in [-1/2, 1/2] */
    vf p = v_set(1.55946757e-4f);
    p = v_fma(p, f, v_set(1.34066439e-3f));
    p = v_fma(p, f, v_set(9.61769298e-3f));
    p = v_fma(p, f, v_set(5.55031055e-2f));
    p = v_fma(p, f, v_set(0.240226528f));
    p = v_fma(p, f, v_set(0.693147215f));
    p = v_fma(p, f, v_set(1.0f));
    return v_if_less(x, v_set(-125.0f), v_zero(), v_scale_by_exponent(p, t));
}

/* e^x; x is taken as if within [-87, 88]. Relative error 3.1e-9 before rounding. */
HEP_INLINE vf v_exp(vf x)
{
    x = v_max(v_set(-87.0f), v_min(v_set(88.0f), x));
    vf t = v_fma(x, v_set(1.44269504f), v_set(HEP_ROUNDER));
    vf n = v_sub(t, v_set(HEP_ROUNDER));
    vf f = v_fma(n, v_set(-0.693359375f), x); /* ln 2 in two parts: the first product is exact */
    f = v_fma(n, v_set(2.12194440e-4f), f);
    vf p = v_set(1.38146027e-3f);
    p = v_fma(p, f, v_set(8.36871522e-3f));
    p = v_fma(p, f, v_set(4.16683879e-2f));
    p = v_fma(p, f, v_set(0.166665206f));
    p = v_fma(p, f, v_set(0.499999934f));
    p = v_fma(p, f, v_set(1.0f));
    p = v_fma(p, f, v_set(1.0f));
    return v_scale_by_exponent(p, t);
}

/* x · sigmoid(factor · x) */
HEP_INLINE vf v_swish(vf x, float factor)
{
    return v_div(x, v_add(v_set(1.0f), v_exp(v_mul(x, v_set(-factor)))));
}

/* erfc(z) / 2 for z ≥ 0, as t/2 · exp(p(t) - z²) with t = 1 / (1 + z/2). Relative error 4.6e-8 before rounding. */
HEP_INLINE vf v_half_erfc(vf z)
{
    z = v_min(v_set(10.0f), z);
    vf t = v_div(v_set(1.0f), v_fma(z, v_set(0.5f), v_set(1.0f)));
    vf p = v_set(0.142193826f);
    p = v_fma(p, t, v_set(-0.666060740f));
    p = v_fma(p, t, v_set(1.12239536f));
    p = v_fma(p, t, v_set(-0.651240891f));
    p = v_fma(p, t, v_set(-0.116793868f));
    p = v_fma(p, t, v_set(2.01993958e-2f));
    p = v_fma(p, t, v_set(2.83559374e-2f));
    p = v_fma(p, t, v_set(0.387899972f));
    p = v_fma(p, t, v_set(0.998492488f));
    p = v_fma(p, t, v_set(-1.26544144f));
    return v_mul(v_mul(t, v_set(0.5f)), v_exp(v_fma(v_sub(v_zero(), z), z, p)));
}

/* 0.5 x (1 + erf(x / √2)), without the cancellation of that formula at negative x. */
HEP_INLINE vf v_gelu(vf x)
{
    vf tail = v_mul(x, v_half_erfc(v_mul(v_abs(x), v_set(0.707106781f))));
    return v_if_less(x, v_zero(), tail, v_sub(x, tail));
}

#endif
