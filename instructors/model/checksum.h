/* SHA-256 of files and bytes (OpenSSL's libcrypto), as hex text where a person reads it. */
#ifndef HEP_INSTRUCTORS_MODEL_CHECKSUM_H
#define HEP_INSTRUCTORS_MODEL_CHECKSUM_H

#include "common/status.h"

enum { SHA256_BYTES = 32, SHA256_TEXT = 65 };

/* Digest of a file below the folder descriptor; *bytes (may be NULL) is its size. NOT_FOUND, BAD_MODEL, IO. progress
   (may be NULL) is called now and then while it reads. */
enum hep_status checksum_file(int folder, const char *path, void (*progress)(void *context), void *context,
                              uint8_t digest[SHA256_BYTES], uint64_t *bytes, struct hep_error *error);
/* Digests of files that were hashed: a single file is part of several components. Plain data, zero is empty. */
struct checksum_memo {
    int next; /* row that the next one takes */
    struct checksum_row {
        uint64_t device, inode, size, seconds, nanoseconds, changed, changed_nanoseconds;
        uint8_t digest[SHA256_BYTES];
    } rows[64];
};
/* The same as checksum_file, from the memo if size, times and inode are what they were then. */
enum hep_status checksum_file_once(struct checksum_memo *memo, int folder, const char *path,
                                   uint8_t digest[SHA256_BYTES], struct hep_error *error);
/* The digest of a file that the memo knows; false if it does not. */
bool checksum_known(const struct checksum_memo *memo, int folder, const char *path, uint8_t digest[SHA256_BYTES]);
void checksum_bytes(const void *data, size_t bytes, uint8_t digest[SHA256_BYTES]);
/* Lower-case hex into text; returns text. */
const char *checksum_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_TEXT]);

#endif
