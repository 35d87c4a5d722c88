/* Both ways between bytes and base64. Called where bytes ride in JSON; refuses whatever an encoder would not write. */
#include "common/base64.h"

#include <stdint.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hep_base64_encode(const void *data, size_t bytes, char *text)
{
    const uint8_t *from = data;
    for (; bytes > 0; from += 3, text += 4) {
        uint32_t group = (uint32_t)from[0] << 16 | (bytes > 1 ? (uint32_t)from[1] << 8 : 0) | (bytes > 2 ? from[2] : 0);
        text[0] = letters[group >> 18];
        text[1] = letters[group >> 12 & 63];
        text[2] = '=';
        text[3] = '=';
        if (bytes > 1)
            text[2] = letters[group >> 6 & 63];
        if (bytes > 2)
            text[3] = letters[group & 63];
        bytes -= bytes > 3 ? 3 : bytes;
    }
    *text = '\0';
}

/* -1: it is no letter of the alphabet. */
static int value_of(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Four letters, of which the last `padding` are "=". */
static bool decode_group(const char *text, int padding, uint8_t *to)
{
    uint32_t group = 0;
    for (int i = 0; i < 4; i++) {
        int value = i < 4 - padding ? value_of(text[i]) : 0;
        if (value < 0)
            return false;
        group = group << 6 | (uint32_t)value;
    }
    if ((group & ((1u << 8 * padding) - 1)) != 0)
        return false;
    for (int i = 0; i < 3 - padding; i++)
        to[i] = (uint8_t)(group >> (16 - 8 * i));
    return true;
}

bool hep_base64_decode(const char *text, size_t length, void *data, size_t *bytes)
{
    uint8_t *to = data;
    if (length % 4 != 0)
        return false;
    int padding = length == 0 ? 0 : (text[length - 1] == '=') + (text[length - 1] == '=' && text[length - 2] == '=');
    for (size_t at = 0; at < length; at += 4, to += 3)
        if (!decode_group(text + at, at + 4 == length ? padding : 0, to))
            return false;
    *bytes = length / 4 * 3 - (size_t)padding;
    return true;
}
