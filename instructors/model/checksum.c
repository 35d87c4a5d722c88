/* SHA-256 through libcrypto. Called by the cache (fingerprints) and by model.verify; reads files in large blocks. */
#include "instructors/model/checksum.h"

#include "nn/weights/folder.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 4 << 20 };

static enum hep_status read_all(int file, const char *path, EVP_MD_CTX *context, void (*progress)(void *),
                                void *progress_context, uint64_t *bytes, struct hep_error *error)
{
    unsigned char *block = malloc(BLOCK);
    enum hep_status status = block ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", path);
    ssize_t got = 1;
    while (status == HEP_OK && got > 0) {
        got = read(file, block, BLOCK);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        if (got < 0)
            status = hep_fail_errno(error, errno, "reading %s", path);
        else if (EVP_DigestUpdate(context, block, (size_t)got) != 1)
            status = hep_fail(error, HEP_E_INTERNAL, "SHA-256 of %s failed", path);
        *bytes += got > 0 ? (uint64_t)got : 0;
        if (progress)
            progress(progress_context);
    }
    free(block);
    return status;
}

enum hep_status checksum_file(int folder, const char *path, void (*progress)(void *context), void *progress_context,
                              uint8_t digest[SHA256_BYTES], uint64_t *bytes, struct hep_error *error)
{
    int file;
    uint64_t size = 0;
    HEP_TRY(hep_folder_open_file(folder, path, &file, error));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    enum hep_status status = HEP_OK;
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        status = hep_fail(error, HEP_E_NO_MEMORY, "SHA-256 cannot start");
    else
        status = read_all(file, path, context, progress, progress_context, &size, error);
    if (status == HEP_OK && EVP_DigestFinal_ex(context, digest, NULL) != 1)
        status = hep_fail(error, HEP_E_INTERNAL, "SHA-256 of %s failed", path);
    EVP_MD_CTX_free(context);
    close(file);
    if (status == HEP_OK && bytes)
        *bytes = size;
    return status;
}

void checksum_bytes(const void *data, size_t bytes, uint8_t digest[SHA256_BYTES])
{
    hep_assert(EVP_Digest(data, bytes, digest, NULL, EVP_sha256(), NULL) == 1);
}

const char *checksum_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT])
{
    for (int i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}
