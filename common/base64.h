/* Base64 (RFC 4648, section 4) for bytes that ride in JSON: pieces of files that clients give. */
#ifndef HEP_COMMON_BASE64_H
#define HEP_COMMON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Characters of so many bytes, without the NUL. */
#define HEP_BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

/* text: HEP_BASE64_LENGTH(bytes) + 1, ends with NUL. */
void hep_base64_encode(const void *data, size_t bytes, char *text);
/* data: length / 4 * 3 bytes at least. False for what is not base64: another character, a length that is no multiple of
   4, padding that is missing, or bits behind the last byte. */
bool hep_base64_decode(const char *text, size_t length, void *data, size_t *bytes);

#endif
