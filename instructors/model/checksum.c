/* SHA-256 through libcrypto. Called by the cache (fingerprints) and by model.verify; reads files in large blocks. */
#include "instructors/model/checksum.h"

#include "nn/weights/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4 << 20, AHEAD = 8 * BLOCK };

static enum hep_status read_all(int file, const char *path, EVP_MD_CTX *context, void (*progress)(void *),
                                void *progress_context, uint64_t *bytes, struct hep_error *error)
{
    unsigned char *block = malloc(BLOCK);
    enum hep_status status = block ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", path);
    ssize_t got = 1;
    while (status == HEP_OK && got > 0) {
        posix_fadvise(file, (off_t)*bytes + BLOCK, AHEAD, POSIX_FADV_WILLNEED); /* the disk works while this hashes */
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

/* ---- files that were hashed before ---- */

static bool identify(int folder, const char *path, struct checksum_row *row)
{
    struct stat state;
    if (fstatat(folder, path, &state, 0) != 0)
        return false;
    *row = (struct checksum_row){.device = (uint64_t)state.st_dev,
                                 .inode = (uint64_t)state.st_ino,
                                 .size = (uint64_t)state.st_size,
                                 .seconds = (uint64_t)state.st_mtim.tv_sec,
                                 .nanoseconds = (uint64_t)state.st_mtim.tv_nsec,
                                 .changed = (uint64_t)state.st_ctim.tv_sec,
                                 .changed_nanoseconds = (uint64_t)state.st_ctim.tv_nsec};
    return true;
}

static const struct checksum_row *find_row(const struct checksum_memo *memo, const struct checksum_row *wanted)
{
    for (size_t i = 0; i < HEP_COUNT_OF(memo->rows); i++)
        if (memcmp(&memo->rows[i], wanted, offsetof(struct checksum_row, digest)) == 0)
            return &memo->rows[i];
    return NULL;
}

bool checksum_known(const struct checksum_memo *memo, int folder, const char *path, uint8_t digest[SHA256_BYTES])
{
    struct checksum_row wanted;
    const struct checksum_row *found = identify(folder, path, &wanted) ? find_row(memo, &wanted) : NULL;
    if (found)
        memcpy(digest, found->digest, SHA256_BYTES);
    return found != NULL;
}

enum hep_status checksum_file_once(struct checksum_memo *memo, int folder, const char *path,
                                   uint8_t digest[SHA256_BYTES], struct hep_error *error)
{
    struct checksum_row before, after;
    if (checksum_known(memo, folder, path, digest))
        return HEP_OK;
    bool is_known = identify(folder, path, &before);
    HEP_TRY(checksum_file(folder, path, NULL, NULL, digest, NULL, error));
    if (is_known && identify(folder, path, &after) &&
        memcmp(&before, &after, offsetof(struct checksum_row, digest)) == 0) {
        memcpy(before.digest, digest, SHA256_BYTES);
        memo->rows[memo->next] = before;
        memo->next = (memo->next + 1) % (int)HEP_COUNT_OF(memo->rows);
    }
    return HEP_OK;
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
