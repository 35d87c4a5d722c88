/*
 * Vectors from and to memory of a dtype that is a constant where these are inlined: f32 or bf16, computed in f32
 * between. Included after one of the level's headers.
 */
#ifndef HEP_NN_CPU_SIMD_DTYPE_H
#define HEP_NN_CPU_SIMD_DTYPE_H

/* LANES elements at index i of base. */
HEP_INLINE vf v_get(const void *base, int64_t i, enum hep_dtype dtype)
{
    if (dtype == HEP_BF16)
        return v_load_bf16((const uint16_t *)base + i);
    return v_load((const float *)base + i);
}
HEP_INLINE void v_put(void *base, int64_t i, vf v, enum hep_dtype dtype)
{
    if (dtype == HEP_BF16)
        v_store_bf16((uint16_t *)base + i, v);
    else
        v_store((float *)base + i, v);
}
/* n elements, 0 < n ≤ LANES. */
HEP_INLINE vf v_get_n(const void *base, int64_t i, int64_t n, enum hep_dtype dtype)
{
    if (n == LANES)
        return v_get(base, i, dtype);
    if (dtype == HEP_BF16)
        return v_load_bf16_n((const uint16_t *)base + i, n);
    return v_load_n((const float *)base + i, n);
}
HEP_INLINE void v_put_n(void *base, int64_t i, vf v, int64_t n, enum hep_dtype dtype)
{
    if (n == LANES)
        v_put(base, i, v, dtype);
    else if (dtype == HEP_BF16)
        v_store_bf16_n((uint16_t *)base + i, v, n);
    else
        v_store_n((float *)base + i, v, n);
}
/* How many of the LANES elements from i on are before end. */
HEP_INLINE int64_t v_left(int64_t i, int64_t end)
{
    return end - i < LANES ? end - i : LANES;
}
/* Address of element i. */
HEP_INLINE const void *v_at(const void *base, int64_t i, enum hep_dtype dtype)
{
    return (const char *)base + i * (dtype == HEP_BF16 ? 2 : 4);
}
HEP_INLINE void *v_at_out(void *base, int64_t i, enum hep_dtype dtype)
{
    return (char *)base + i * (dtype == HEP_BF16 ? 2 : 4);
}

#endif
