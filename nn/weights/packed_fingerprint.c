/* The fingerprint of packing: what a changed pack function, oneDNN or ISA level cannot leave unchanged. */
#include "nn/weights/packed_layout.h"

#include <openssl/evp.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Small, with sizes that are no multiple of any block. */
static const struct hep_weight_key probes[] = {
    {HEP_WEIGHT_PLAIN, HEP_F32, {1, {37}}},           {HEP_WEIGHT_TABLE, HEP_F32, {2, {3, 37}}},
    {HEP_WEIGHT_TABLE, HEP_BF16, {2, {3, 37}}},       {HEP_WEIGHT_CONV, HEP_F32, {4, {40, 24, 3, 3}}},
    {HEP_WEIGHT_CONV, HEP_BF16, {4, {40, 24, 3, 3}}}, {HEP_WEIGHT_CONV, HEP_F32, {4, {72, 4, 3, 3}}},
    {HEP_WEIGHT_CONV, HEP_BF16, {4, {72, 4, 3, 3}}},  {HEP_WEIGHT_LINEAR, HEP_F32, {2, {72, 40}}},
    {HEP_WEIGHT_LINEAR, HEP_BF16, {2, {72, 40}}},
};

/* Digests what packing the probe gives. */
static enum hep_status digest(const struct hep_backend *backend, const struct hep_weight_key *key, EVP_MD_CTX *sha,
                              struct hep_error *error)
{
    struct hep_weight_layout layout = {.key = *key};
    enum hep_status status;
    int64_t elements;
    uint32_t random = 2463534242u;
    unsigned char *packed = NULL;
    float *plain = NULL;
    hep_assert(hep_shape_elements(&key->shape, &elements));
    HEP_TRY(backend->layout_create(&layout, error));
    size_t room = (layout.bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    plain = malloc((size_t)elements * sizeof *plain);
    packed = aligned_alloc(HEP_ALIGN, room);
    if (!plain || !packed) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for the fingerprint of packing");
        goto done;
    }
    for (int64_t i = 0; i < elements; i++) {
        random ^= random << 13; /* xorshift32, Marsaglia 2003 */
        random ^= random >> 17;
        random ^= random << 5;
        plain[i] = (float)(int32_t)random * 0x1p-31f;
    }
    memset(packed, 0, room);
    HEP_TRY_DONE(status, backend->pack(&layout, plain, packed, error));
    EVP_DigestUpdate(sha, layout.id, strlen(layout.id) + 1);
    EVP_DigestUpdate(sha, packed, layout.bytes);
done:
    if (backend->layout_clear)
        backend->layout_clear(&layout);
    free(plain);
    free(packed);
    return status;
}

static enum hep_status compute(const struct hep_backend *backend, uint8_t fingerprint[HEP_SHA256_BYTES],
                               struct hep_error *error)
{
    char text[256];
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    enum hep_status status = HEP_OK;
    if (!sha || EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for the fingerprint of packing");
        goto done;
    }
    backend->build_text(text, sizeof text);
    EVP_DigestUpdate(sha, text, strlen(text) + 1);
    for (size_t i = 0; i < HEP_COUNT_OF(probes); i++)
        if (backend->check_dtype(probes[i].dtype, NULL) == HEP_OK)
            HEP_TRY_DONE(status, digest(backend, &probes[i], sha, error));
    EVP_DigestFinal_ex(sha, fingerprint, NULL);
done:
    EVP_MD_CTX_free(sha);
    return status;
}

enum hep_status hep_packed_fingerprint(const struct hep_backend *backend, uint8_t fingerprint[HEP_SHA256_BYTES],
                                       struct hep_error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct hep_backend *known;
    static uint8_t kept[HEP_SHA256_BYTES];
    enum hep_status status = HEP_OK;
    pthread_mutex_lock(&lock);
    if (known != backend)
        status = compute(backend, kept, error);
    known = status == HEP_OK ? backend : NULL;
    if (status == HEP_OK)
        memcpy(fingerprint, kept, sizeof kept);
    pthread_mutex_unlock(&lock);
    return status;
}
