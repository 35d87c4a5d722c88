/* EXIF, XMP and the character sets of the recipes in image files. Called by the encoders and the reader of this folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "instructors/postprocessing/image_codecs.h"

/* The next code point of valid UTF-8. */
static uint32_t next_code_point(const char **at)
{
    utf8proc_int32_t code_point;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)*at, -1, &code_point);
    hep_assert(used > 0);
    *at += used;
    return (uint32_t)code_point;
}

static uint8_t *put_u16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return out + 2;
}

static uint8_t *put_u32(uint8_t *out, uint32_t value)
{
    return put_u16(put_u16(out, value >> 16), value & 0xFFFF);
}

/* One directory entry of a TIFF file. */
static uint8_t *put_entry(uint8_t *out, uint32_t tag, uint32_t type, uint32_t count, uint32_t value)
{
    return put_u32(put_u32(put_u16(put_u16(out, tag), type), count), value);
}

static uint8_t *put_utf16(uint8_t *out, const char *text)
{
    while (*text) {
        uint32_t code_point = next_code_point(&text);
        if (code_point >= 0x10000) {
            out = put_u16(out, 0xD800 | (code_point - 0x10000) >> 10);
            code_point = 0xDC00 | (code_point & 0x3FF);
        }
        out = put_u16(out, code_point);
    }
    return out;
}

enum hep_status image_exif(const char *text, struct image_bytes *exif, struct hep_error *error)
{
    enum {
        HEADER = 8,             /* "MM", 42, offset of the first directory          */
        DIRECTORY = 2 + 12 + 4, /* one entry and the offset of the next, 0          */
        EXIF_POINTER = 0x8769,
        USER_COMMENT = 0x9286, /* tags                                             */
        LONG = 4,
        UNDEFINED = 7,                       /* types                                            */
        COMMENT_AT = HEADER + 2 * DIRECTORY, /* the comment follows both directories             */
        CODE = 8,                            /* bytes of the character code before the comment   */
    };
    size_t room = COMMENT_AT + CODE + 2 * strlen(text); /* UTF-16 takes at most two bytes for one of UTF-8 */
    uint8_t *data = malloc(room);
    if (!data)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for EXIF of %zu bytes", room);
    memcpy(data + COMMENT_AT, "UNICODE", CODE);
    uint8_t *end = put_utf16(data + COMMENT_AT + CODE, text), *out = data;
    memcpy(out, "MM\0*", 4);
    out = put_u32(out + 4, HEADER);
    out = put_u16(out, 1);
    out = put_entry(out, EXIF_POINTER, LONG, 1, HEADER + DIRECTORY);
    out = put_u32(out, 0);
    out = put_u16(out, 1);
    out = put_entry(out, USER_COMMENT, UNDEFINED, (uint32_t)(end - (data + COMMENT_AT)), COMMENT_AT);
    put_u32(out, 0);
    *exif = (struct image_bytes){data, (size_t)(end - data)};
    return HEP_OK;
}

/* XML 1.0 cannot hold most control characters even as references; JSON never holds them raw, so nothing is lost. */
static void put_xml(FILE *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '&')
            fputs("&amp;", out);
        else
            fputc(c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? ' ' : c, out);
    }
}

enum hep_status image_xmp(const char *json, struct image_bytes *xmp, struct hep_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for XMP");
    fputs("<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
          "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
          " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
          "  <rdf:Description rdf:about=\"\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" "
          "xmlns:heptad=\"urn:heptad:recipe:1\">\n"
          "   <xmp:CreatorTool>Heptad " HEP_VERSION "</xmp:CreatorTool>\n"
          "   <heptad:request>",
          out);
    put_xml(out, json);
    fputs("</heptad:request>\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>", out);
    bool written = !ferror(out);
    if (fclose(out) != 0 || !written) {
        free(text);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for XMP");
    }
    *xmp = (struct image_bytes){(uint8_t *)text, size};
    return HEP_OK;
}

enum hep_status image_latin1_from_utf8(const char *text, char **latin1, bool *fits, struct hep_error *error)
{
    char *made = malloc(strlen(text) + 1), *out = made;
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image's recipe");
    while (*text) {
        uint32_t code_point = next_code_point(&text);
        if (code_point > 0xFF) {
            free(made);
            *fits = false;
            return HEP_OK;
        }
        *out++ = (char)code_point;
    }
    *out = '\0';
    *latin1 = made;
    *fits = true;
    return HEP_OK;
}

enum hep_status image_utf8_from_latin1(const char *latin1, size_t size, char **text, struct hep_error *error)
{
    char *made = malloc(2 * size + 1), *out = made;
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a text of %zu bytes", size);
    for (size_t i = 0; i < size; i++)
        out += utf8proc_encode_char((unsigned char)latin1[i], (utf8proc_uint8_t *)out);
    *out = '\0';
    *text = made;
    return HEP_OK;
}
