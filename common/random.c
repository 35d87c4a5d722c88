/*
 * Philox4x32-10 and torch's CPU generator, each to standard normal values by Box-Muller. Called for initial latents and
 * for the noise of stochastic schedulers. Logarithm, sine and cosine are our own, from additions, multiplications,
 * divisions and square roots in double, because libm chooses its code by the processor and so does not promise its
 * bits.
 */
#include "common/random.h"

#include <math.h>
#include <string.h>

enum { MT_WORDS = 624, MT_MIDDLE = 397, BLOCK = 16 };

/* ln x for normal x > 0, within 1 ulp or so: x = 2^e · m, m in [√½, √2), ln m = 2 artanh((m − 1) / (m + 1)). */
static double natural_log(double x)
{
    static const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        exponent++;
    }
    double s = (m - 1.0) / (m + 1.0), z = s * s, sum = 0.0;
    for (int k = 23; k >= 3; k -= 2)
        sum = (sum + 1.0 / k) * z;
    return exponent * ln2_high + (2.0 * s + (2.0 * s * sum + exponent * ln2_low));
}

/* sin x and cos x for 0 ≤ x < 7: the quarter turn nearest to x is taken off in two parts, the rest is a Taylor series.
 */
static void sine_cosine(double x, double *sine, double *cosine)
{
    static const double quarter_high = 1.57079632673412561417, quarter_low = 6.07710050650619224932e-11;
    int quarter = (int)(x * 0.63661977236758134308 + 0.5);
    double r = (x - quarter * quarter_high) - quarter * quarter_low, z = r * r;
    double s = 1.0, c = 1.0;
    for (int k = 20; k >= 2; k -= 2) {
        s = 1.0 - s * z / (k * (k + 1));
        c = 1.0 - c * z / (k * (k - 1));
    }
    s *= r;
    switch (quarter & 3) {
    case 0:
        *sine = s, *cosine = c;
        break;
    case 1:
        *sine = c, *cosine = -s;
        break;
    case 2:
        *sine = -s, *cosine = -c;
        break;
    default:
        *sine = -c, *cosine = s;
        break;
    }
}

void hep_philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xd2511f53u, p1 = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    result[0] = c0, result[1] = c1, result[2] = c2, result[3] = c3;
}

void hep_philox_normal(uint64_t seed, uint32_t draw, uint64_t first_element, size_t count, float *out)
{
    /* f32 constants in f64 arithmetic, as the published generator has them */
    const double unit = (double)(float)2.3283064e-10, turn = (double)(float)(2.3283064e-10 * 6.2831855);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (size_t i = 0; i < count; i++) {
        uint64_t element = first_element + i;
        const uint32_t counter[4] = {draw, 0, (uint32_t)element, (uint32_t)(element >> 32)};
        uint32_t random[4];
        double sine, cosine;
        hep_philox4x32_10(counter, key, random);
        sine_cosine(random[1] * turn + turn / 2, &sine, &cosine);
        out[i] = (float)(sqrt(-2.0 * natural_log(random[0] * unit + unit / 2)) * sine);
    }
}

void hep_torch_cpu_seed(struct hep_torch_cpu *generator, uint64_t seed)
{
    *generator = (struct hep_torch_cpu){.next = MT_WORDS};
    generator->words[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_WORDS; i++) {
        uint32_t last = generator->words[i - 1];
        generator->words[i] = 1812433253u * (last ^ (last >> 30)) + i;
    }
}

static void renew(uint32_t words[MT_WORDS])
{
    for (int i = 0; i < MT_WORDS; i++) {
        uint32_t joined = (words[i] & 0x80000000u) | (words[(i + 1) % MT_WORDS] & 0x7fffffffu);
        words[i] = words[(i + MT_MIDDLE) % MT_WORDS] ^ (joined >> 1) ^ (0x9908b0dfu & (0u - (joined & 1u)));
    }
}

uint32_t hep_torch_cpu_word(struct hep_torch_cpu *generator)
{
    if (generator->next == MT_WORDS) {
        renew(generator->words);
        generator->next = 0;
    }
    uint32_t word = generator->words[generator->next++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
}

static double uniform53(struct hep_torch_cpu *generator)
{
    uint64_t high = hep_torch_cpu_word(generator), low = hep_torch_cpu_word(generator);
    return (double)(((high << 32) | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* 24-bit uniforms to normals in place: the first half of the block are radii, the second half angles. */
static void normal_block(float *block)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        double sine, cosine;
        double radius = sqrt(-2.0 * natural_log(1.0 - (double)block[i]));
        sine_cosine(6.283185307179586477 * (double)block[i + BLOCK / 2], &sine, &cosine);
        block[i] = (float)(radius * cosine);
        block[i + BLOCK / 2] = (float)(radius * sine);
    }
}

static void uniforms24(struct hep_torch_cpu *generator, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(hep_torch_cpu_word(generator) & 0xffffffu) * 0x1p-24f;
}

static float normal_by_pair(struct hep_torch_cpu *generator)
{
    if (generator->has_kept) {
        generator->has_kept = false;
        return (float)generator->kept;
    }
    double sine, cosine;
    double angle = uniform53(generator), radius = uniform53(generator);
    radius = sqrt(-2.0 * natural_log(1.0 - radius)); /* 1 - radius is exact */
    sine_cosine(6.283185307179586477 * angle, &sine, &cosine);
    generator->kept = radius * sine;
    generator->has_kept = true;
    return (float)(radius * cosine);
}

void hep_torch_cpu_normal(struct hep_torch_cpu *generator, size_t count, float *out)
{
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++)
            out[i] = normal_by_pair(generator);
        return;
    }
    uniforms24(generator, count, out);
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK)
        normal_block(out + i);
    if (count % BLOCK != 0) {
        uniforms24(generator, BLOCK, out + count - BLOCK);
        normal_block(out + count - BLOCK);
    }
}

void hep_torch_cpu_skip(struct hep_torch_cpu *generator, size_t count)
{
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++)
            (void)normal_by_pair(generator);
        return;
    }
    size_t words = count + (count % BLOCK != 0 ? BLOCK : 0);
    for (size_t i = 0; i < words; i++)
        (void)hep_torch_cpu_word(generator);
}

void hep_torch_cpu_draw(uint64_t seed, uint32_t draw, size_t count, float *out)
{
    struct hep_torch_cpu generator;
    hep_torch_cpu_seed(&generator, seed);
    for (uint32_t i = 0; i < draw; i++)
        hep_torch_cpu_skip(&generator, count);
    hep_torch_cpu_normal(&generator, count, out);
}
