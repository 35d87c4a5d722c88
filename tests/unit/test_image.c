/*
 * Image files are decoded again by the libraries and compared: pixels, the recipe in each format's metadata, the same
 * bytes for the same input. The infotext is compared with what stable-diffusion-webui 1.10 writes.
 */
#include <check.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jpeglib.h>
#include <spng.h>
#include <webp/decode.h>
#include <webp/mux.h>

#include "instructors/postprocessing/image_file.h"
#include "instructors/postprocessing/recipe.h"

enum { WIDTH = 61, HEIGHT = 47, SIZE = WIDTH * HEIGHT * 3 };

/* A picture with smooth parts, an edge and some noise. */
static void paint(uint8_t *pixels)
{
    uint32_t state = 1;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            state = state * 1664525u + 1013904223u;
            uint8_t *p = pixels + (y * WIDTH + x) * 3;
            p[0] = (uint8_t)(4 * x);
            p[1] = (uint8_t)(5 * y + (state >> 29));
            p[2] = x > y ? 200 : 30;
        }
}

static double mean_error(const uint8_t *a, const uint8_t *b)
{
    double sum = 0;
    for (int i = 0; i < SIZE; i++)
        sum += abs(a[i] - b[i]);
    return sum / SIZE;
}

static const char *const ascii = "a red apple\nNegative prompt: blurry\nSteps: 20, Size: 61x47";
static const char *const latin = "caf\xc3\xa9";
static const char *const wide = "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 <b>&\"'";
static const char *const request = "{\"prompt\": \"a <red> & \xe6\x97\xa5 apple\", \"steps\": 20}";

static struct image_bytes encode(enum image_format format, const uint8_t *pixels, const char *parameters,
                                 const char *json, int quality)
{
    struct image_bytes bytes = {0};
    struct hep_error error = {0};
    static uint16_t deep[SIZE];
    for (int i = 0; i < SIZE; i++)
        deep[i] = (uint16_t)(257 * pixels[i]);
    struct image_source source = {pixels, deep, WIDTH, HEIGHT, parameters, json};
    ck_assert_msg(image_encode(format, &source, quality, &bytes, &error) == HEP_OK, "%s", error.message);
    return bytes;
}

/* --- decoding by the libraries --- */

static void decode_png(const struct image_bytes *bytes, uint8_t *pixels)
{
    spng_ctx *context = spng_ctx_new(0);
    size_t size = 0;
    ck_assert_int_eq(spng_set_png_buffer(context, bytes->data, bytes->size), 0);
    ck_assert_int_eq(spng_decoded_image_size(context, SPNG_FMT_RGB8, &size), 0);
    ck_assert_uint_eq(size, SIZE);
    ck_assert_int_eq(spng_decode_image(context, pixels, size, SPNG_FMT_RGB8, 0), 0);
    spng_ctx_free(context);
}

/* Pixels, and a copy of the first two APP1 segments. */
static void decode_jpeg(const struct image_bytes *bytes, uint8_t *pixels, struct image_bytes segments[2])
{
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr manager;
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, bytes->data, bytes->size);
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    ck_assert_int_eq(jpeg_read_header(&jpeg, TRUE), JPEG_HEADER_OK);
    int found = 0;
    for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker && found < 2; marker = marker->next, found++) {
        segments[found] = (struct image_bytes){malloc(marker->data_length), marker->data_length};
        memcpy(segments[found].data, marker->data, marker->data_length);
    }
    jpeg_start_decompress(&jpeg);
    ck_assert_uint_eq(jpeg.output_width, WIDTH);
    ck_assert_uint_eq(jpeg.output_height, HEIGHT);
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row = pixels + jpeg.output_scanline * WIDTH * 3;
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
}

static void decode_webp(const struct image_bytes *bytes, uint8_t *pixels)
{
    int width = 0, height = 0;
    uint8_t *decoded = WebPDecodeRGB(bytes->data, bytes->size, &width, &height);
    ck_assert_ptr_nonnull(decoded);
    ck_assert_int_eq(width, WIDTH);
    ck_assert_int_eq(height, HEIGHT);
    memcpy(pixels, decoded, SIZE);
    WebPFree(decoded);
}

/* UserComment of EXIF, which must be "UNICODE\0" and UTF-16BE, as UTF-8. The caller frees it. */
static char *user_comment(const uint8_t *exif, size_t size)
{
    ck_assert_mem_eq(exif, "MM\0*\0\0\0\10\0\1\x87\x69\0\4\0\0\0\1\0\0\0\32\0\0\0\0\0\1\x92\x86\0\7", 32);
    size_t count = (size_t)exif[32] << 24 | (size_t)exif[33] << 16 | (size_t)exif[34] << 8 | exif[35];
    size_t at = (size_t)exif[36] << 24 | (size_t)exif[37] << 16 | (size_t)exif[38] << 8 | exif[39];
    ck_assert_uint_eq(at + count, size);
    ck_assert_mem_eq(exif + at, "UNICODE", 8);
    char *text = calloc(2 * count, 1), *out = text;
    for (size_t i = at + 8; i + 1 < size; i += 2) {
        uint32_t c = (uint32_t)exif[i] << 8 | exif[i + 1];
        if (c >= 0xD800 && c < 0xDC00) {
            uint32_t low = (uint32_t)exif[i + 2] << 8 | exif[i + 3];
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
            *out++ = (char)(0xF0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        } else if (c >= 0x800) {
            *out++ = (char)(0xE0 | c >> 12);
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        } else if (c >= 0x80) {
            *out++ = (char)(0xC0 | c >> 6);
            *out++ = (char)(0x80 | (c & 63));
        } else {
            *out++ = (char)c;
        }
    }
    return text;
}

static void check_xmp(const uint8_t *xmp, size_t size)
{
    static const char expected[] =
        "<heptad:request>{\"prompt\": \"a &lt;red&gt; &amp; \xe6\x97\xa5 apple\", \"steps\": 20}"
        "</heptad:request>";
    ck_assert_ptr_nonnull(memmem(xmp, size, expected, sizeof expected - 1));
    ck_assert_mem_eq(xmp, "<?xpacket begin=", 16);
    ck_assert_mem_eq(xmp + size - 19, "<?xpacket end=\"r\"?>", 19);
}

/* --- formats --- */

START_TEST(png_is_exact_and_carries_the_recipe)
{
    static uint8_t pixels[SIZE], decoded[SIZE];
    static const char *const texts[] = {"ascii", "latin", "wide"};
    const char *const values[] = {ascii, latin, wide};
    paint(pixels);
    for (size_t i = 0; i < HEP_COUNT_OF(texts); i++) {
        struct image_bytes bytes = encode(IMAGE_PNG, pixels, values[i], request, 0);
        decode_png(&bytes, decoded);
        ck_assert_mem_eq(pixels, decoded, SIZE);
        char *text = NULL, *json = NULL;
        ck_assert_int_eq(image_png_read_text(bytes.data, bytes.size, "parameters", &text, NULL), HEP_OK);
        ck_assert_int_eq(image_png_read_text(bytes.data, bytes.size, "heptad", &json, NULL), HEP_OK);
        ck_assert_str_eq(text, values[i]);
        ck_assert_str_eq(json, request);
        ck_assert_int_eq(image_png_read_text(bytes.data, bytes.size, "other", &text, NULL), HEP_E_NOT_FOUND);
        /* as PIL writes it: tEXt where Latin-1 holds the text */
        ck_assert((memmem(bytes.data, bytes.size, "tEXtparameters", 14) != NULL) == (i < 2));
        ck_assert((memmem(bytes.data, bytes.size, "iTXtparameters", 14) != NULL) == (i == 2));
        free(text);
        free(json);
        image_bytes_clear(&bytes);
    }
}
END_TEST

START_TEST(jpeg_is_close_and_carries_the_recipe)
{
    static uint8_t pixels[SIZE], decoded[SIZE];
    struct image_bytes segments[2] = {{0}};
    paint(pixels);
    struct image_bytes bytes = encode(IMAGE_JPEG, pixels, wide, request, 95);
    decode_jpeg(&bytes, decoded, segments);
    ck_assert_double_lt(mean_error(pixels, decoded), 3);
    ck_assert_mem_eq(segments[0].data, "Exif\0", 6);
    char *comment = user_comment(segments[0].data + 6, segments[0].size - 6);
    ck_assert_str_eq(comment, wide);
    ck_assert_mem_eq(segments[1].data, "http://ns.adobe.com/xap/1.0/", 29);
    check_xmp(segments[1].data + 29, segments[1].size - 29);
    free(comment);
    image_bytes_clear(&segments[0]);
    image_bytes_clear(&segments[1]);
    image_bytes_clear(&bytes);
}
END_TEST

static struct image_bytes webp_chunk(const struct image_bytes *bytes, const char *fourcc)
{
    WebPData file = {bytes->data, bytes->size}, chunk = {0};
    WebPMux *mux = WebPMuxCreate(&file, 1);
    ck_assert_ptr_nonnull(mux);
    ck_assert_int_eq(WebPMuxGetChunk(mux, fourcc, &chunk), WEBP_MUX_OK);
    struct image_bytes copy = {malloc(chunk.size), chunk.size};
    memcpy(copy.data, chunk.bytes, chunk.size);
    WebPMuxDelete(mux);
    return copy;
}

START_TEST(webp_is_exact_at_100_and_close_below_and_carries_the_recipe)
{
    static uint8_t pixels[SIZE], decoded[SIZE];
    paint(pixels);
    static const int qualities[] = {100, 90};
    for (size_t i = 0; i < HEP_COUNT_OF(qualities); i++) {
        struct image_bytes bytes = encode(IMAGE_WEBP, pixels, wide, request, qualities[i]);
        decode_webp(&bytes, decoded);
        if (qualities[i] == 100)
            ck_assert_mem_eq(pixels, decoded, SIZE);
        else
            ck_assert_double_lt(mean_error(pixels, decoded), 8);
        struct image_bytes exif = webp_chunk(&bytes, "EXIF"), xmp = webp_chunk(&bytes, "XMP ");
        char *comment = user_comment(exif.data, exif.size);
        ck_assert_str_eq(comment, wide);
        check_xmp(xmp.data, xmp.size);
        free(comment);
        image_bytes_clear(&exif);
        image_bytes_clear(&xmp);
        image_bytes_clear(&bytes);
    }
}
END_TEST

START_TEST(a_jpeg_of_many_kilobytes_is_whole)
{
    enum { SIDE = 512 };
    static uint8_t noise[SIDE * SIDE * 3];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    struct image_source source = {noise, NULL, SIDE, SIDE, ascii, NULL};
    struct image_bytes bytes = {0};
    ck_assert_int_eq(image_encode(IMAGE_JPEG, &source, 95, &bytes, NULL), HEP_OK);
    ck_assert_uint_gt(bytes.size, 300000);
    ck_assert_mem_eq(bytes.data, "\xFF\xD8\xFF\xE0", 4);
    ck_assert_mem_eq(bytes.data + bytes.size - 2, "\xFF\xD9", 2);
    image_bytes_clear(&bytes);
}
END_TEST

START_TEST(the_same_input_gives_the_same_bytes)
{
    static uint8_t pixels[SIZE];
    paint(pixels);
    for (int format = 0; format < IMAGE_FORMAT_COUNT; format++)
        for (int quality = 50; quality <= 100; quality += 50) {
            struct image_bytes a = encode((enum image_format)format, pixels, ascii, request, quality);
            struct image_bytes b = encode((enum image_format)format, pixels, ascii, request, quality);
            ck_assert_uint_eq(a.size, b.size);
            ck_assert_mem_eq(a.data, b.data, a.size);
            image_bytes_clear(&a);
            image_bytes_clear(&b);
        }
}
END_TEST

START_TEST(images_without_a_recipe_are_fine)
{
    static uint8_t pixels[SIZE], decoded[SIZE];
    paint(pixels);
    for (int format = 0; format < IMAGE_FORMAT_COUNT; format++) {
        struct image_bytes a = encode((enum image_format)format, pixels, NULL, "", 0);
        ck_assert_uint_gt(a.size, 100);
        image_bytes_clear(&a);
    }
    struct image_bytes png = encode(IMAGE_PNG, pixels, NULL, NULL, 0);
    char *text = NULL;
    decode_png(&png, decoded);
    ck_assert_mem_eq(pixels, decoded, SIZE);
    ck_assert_int_eq(image_png_read_text(png.data, png.size, "parameters", &text, NULL), HEP_E_NOT_FOUND);
    image_bytes_clear(&png);
}
END_TEST

/* Every bit is there: the values are no multiples of 257, as widened bytes would be. */
START_TEST(png16_keeps_sixteen_bits_and_the_recipe)
{
    static uint16_t deep[SIZE], back[SIZE];
    struct image_bytes bytes = {0};
    struct hep_error error = {0};
    struct spng_ihdr header;
    size_t size = 0;
    char *text = NULL;
    for (int i = 0; i < SIZE; i++)
        deep[i] = (uint16_t)(i * 40503);
    struct image_source source = {NULL, deep, WIDTH, HEIGHT, ascii, request};
    ck_assert_msg(image_encode(IMAGE_PNG16, &source, 0, &bytes, &error) == HEP_OK, "%s", error.message);
    spng_ctx *context = spng_ctx_new(0);
    ck_assert_int_eq(spng_set_png_buffer(context, bytes.data, bytes.size), 0);
    ck_assert_int_eq(spng_get_ihdr(context, &header), 0);
    ck_assert_int_eq(header.bit_depth, 16);
    ck_assert_int_eq(spng_decoded_image_size(context, SPNG_FMT_PNG, &size), 0);
    ck_assert_uint_eq(size, sizeof back);
    ck_assert_int_eq(spng_decode_image(context, back, size, SPNG_FMT_PNG, 0), 0);
    ck_assert_mem_eq(back, deep, sizeof back);
    ck_assert_int_eq(image_png_read_text(bytes.data, bytes.size, "heptad", &text, &error), HEP_OK);
    ck_assert_str_eq(text, request);
    ck_assert_str_eq(image_format_name(IMAGE_PNG16), "png16");
    ck_assert_str_eq(image_format_extension(IMAGE_PNG16), "png");
    free(text);
    spng_ctx_free(context);
    image_bytes_clear(&bytes);
}
END_TEST

START_TEST(bad_sources_are_errors)
{
    static uint8_t pixels[SIZE];
    static char large[70000];
    memset(large, 'x', sizeof large - 1);
    const struct {
        struct image_source source;
        int quality;
        enum image_format format;
        enum hep_status status;
    } rows[] = {
        {{pixels, NULL, 0, 1, NULL, NULL}, 0, IMAGE_PNG, HEP_E_OUT_OF_RANGE},
        {{pixels, NULL, 1, -1, NULL, NULL}, 0, IMAGE_JPEG, HEP_E_OUT_OF_RANGE},
        {{pixels, NULL, HEP_IMAGE_FILE_SIDE_MAX + 1, 1, NULL, NULL}, 0, IMAGE_WEBP, HEP_E_OUT_OF_RANGE},
        {{pixels, NULL, 8, 8, NULL, NULL}, 101, IMAGE_WEBP, HEP_E_OUT_OF_RANGE},
        {{pixels, NULL, 8, 8, NULL, NULL}, -1, IMAGE_JPEG, HEP_E_OUT_OF_RANGE},
        {{pixels, NULL, 8, 8, "\xff", NULL}, 0, IMAGE_PNG, HEP_E_BAD_FIELD},
        {{pixels, NULL, 8, 8, NULL, "\xed\xa0\x80"}, 0, IMAGE_PNG, HEP_E_BAD_FIELD},
        {{pixels, NULL, 8, 8, large, NULL}, 0, IMAGE_JPEG, HEP_E_TOO_LARGE},
        {{pixels, NULL, 8, 8, NULL, large}, 0, IMAGE_JPEG, HEP_E_TOO_LARGE},
        {{pixels, NULL, 8, 8, large, large}, 0, IMAGE_PNG, HEP_OK},
        {{pixels, NULL, 8, 8, large, large}, 0, IMAGE_WEBP, HEP_OK},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct image_bytes bytes = {0};
        struct hep_error error = {0};
        enum hep_status status = image_encode(rows[i].format, &rows[i].source, rows[i].quality, &bytes, &error);
        ck_assert_msg(status == rows[i].status, "row %zu: %s %s", i, hep_status_name(status), error.message);
        ck_assert(status == HEP_OK || bytes.data == NULL);
        image_bytes_clear(&bytes);
    }
}
END_TEST

START_TEST(a_damaged_png_is_an_error)
{
    static uint8_t pixels[SIZE];
    paint(pixels);
    struct image_bytes png = encode(IMAGE_PNG, pixels, ascii, request, 0);
    char *text = NULL;
    ck_assert_int_eq(image_png_read_text("no PNG", 6, "parameters", &text, NULL), HEP_E_BAD_FILE);
    for (size_t size = 0; size < 60; size += 7) /* cut inside the first text */
        ck_assert_int_ne(image_png_read_text(png.data, size, "parameters", &text, NULL), HEP_OK);
    image_bytes_clear(&png);
}
END_TEST

START_TEST(formats_are_found_by_name)
{
    static const struct {
        const char *name;
        bool found;
        enum image_format format;
    } rows[] = {
        {"png", true, IMAGE_PNG},  {"png16", true, IMAGE_PNG16}, {"jpeg", true, IMAGE_JPEG}, {"jpg", true, IMAGE_JPEG},
        {"JPG", true, IMAGE_JPEG}, {"WebP", true, IMAGE_WEBP},   {"gif", false, 0},          {"", false, 0}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        enum image_format format = IMAGE_FORMAT_COUNT;
        ck_assert_msg(image_format_from_name(rows[i].name, &format) == rows[i].found, "%s", rows[i].name);
        if (rows[i].found)
            ck_assert_int_eq(format, rows[i].format);
    }
    ck_assert_str_eq(image_format_extension(IMAGE_JPEG), "jpg");
    ck_assert_str_eq(image_format_mime(IMAGE_JPEG), "image/jpeg");
}
END_TEST

/* --- the recipe --- */

START_TEST(the_recipe_reads_as_a1111_writes_it)
{
    struct image_recipe recipe = {.prompt = hep_str_of("a (red:1.2) apple,\non a table"),
                                  .negative_prompt = hep_str_of("blurry, bad"),
                                  .steps = 20,
                                  .sampler = hep_str_of("DPM++ 2M"),
                                  .schedule_type = hep_str_of("Karras"),
                                  .guidance_scale = 7.5,
                                  .guidance_rescale = 0.7,
                                  .subseed = 9,
                                  .subseed_strength = 0.25,
                                  .seed = 18446744073709551615u,
                                  .width = 512,
                                  .height = 768,
                                  .model_hash = hep_str_of("6ce0161689"),
                                  .model = hep_str_of("v1-5, pruned: \"x\""),
                                  .strength = 1.0 / 3,
                                  .clip_skip = 2,
                                  .mask_mode = hep_str_of("Inpaint not masked"),
                                  .mask_blur = 4,
                                  .inpaint_area = hep_str_of("Only masked"),
                                  .masked_content = hep_str_of("latent noise"),
                                  .refiner = hep_str_of("xl-refiner [0123456789]"),
                                  .refiner_switch = 0.8,
                                  .upscale = 2.5,
                                  .upscaler = hep_str_of("x4plus"),
                                  .rng = hep_str_of("CPU")};
    char *text = NULL;
    ck_assert_int_eq(image_recipe_parameters(&recipe, &text, NULL), HEP_OK);
    ck_assert_str_eq(
        text, "a (red:1.2) apple,\non a table\n"
              "Negative prompt: blurry, bad\n"
              "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, "
              "Guidance rescale: 0.7, Seed: 18446744073709551615, Size: 512x768, Model hash: 6ce0161689, "
              "Model: \"v1-5, pruned: \\\"x\\\"\", Variation seed: 9, Variation seed strength: 0.25, "
              "Denoising strength: 0.3333333333333333, Clip skip: 2, Mask mode: Inpaint not masked, Mask blur: 4, "
              "Inpaint area: Only masked, Masked area padding: 0, Masked content: latent noise, RNG: CPU, "
              "Refiner: xl-refiner [0123456789], Refiner switch at: 0.8, "
              "Postprocess upscale by: 2.5, Postprocess upscaler: x4plus, "
              "Version: Heptad " HEP_VERSION);
    free(text);
}
END_TEST

START_TEST(what_is_not_said_is_left_out_of_the_recipe)
{
    struct image_recipe recipe = {.prompt = hep_str_of("apple"),
                                  .steps = 4,
                                  .sampler = hep_str_of("Euler"),
                                  .guidance_scale = 3,
                                  .seed = 7,
                                  .subseed = 8,
                                  .width = 64,
                                  .height = 64,
                                  .masked_area_padding = 32,
                                  .clip_skip = 1};
    char *text = NULL;
    ck_assert_int_eq(image_recipe_parameters(&recipe, &text, NULL), HEP_OK);
    ck_assert_str_eq(
        text, "apple\nSteps: 4, Sampler: Euler, CFG scale: 3, Seed: 7, Size: 64x64, Version: Heptad " HEP_VERSION);
    free(text);
    text = NULL;
    recipe.model = (struct hep_str){"\xff,", 2};
    ck_assert_int_eq(image_recipe_parameters(&recipe, &text, NULL), HEP_E_BAD_FIELD);
    ck_assert_ptr_null(text);
}
END_TEST

/* --- files --- */

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/heptad-test-image-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[512];
    DIR *listing = opendir(folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(listing);
    rmdir(folder);
}

/* Size of folder/name; -1 if it is not there. All of its bytes must be `byte`. */
static long size_of(const char *name, int byte)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    long size = 0, other = 0;
    for (int c; (c = fgetc(file)) != EOF; size++)
        other += c != byte;
    ck_assert_int_eq(other, 0);
    fclose(file);
    return size;
}

START_TEST(a_file_is_saved_whole_and_nothing_else_is_left)
{
    char data[1000];
    memset(data, 'a', sizeof data);
    ck_assert_int_eq(image_save_file(folder, "0.png", data, sizeof data, NULL), HEP_OK);
    ck_assert_int_eq(size_of("0.png", 'a'), 1000);
    memset(data, 'b', sizeof data);
    ck_assert_int_eq(image_save_file(folder, "0.png", data, 10, NULL), HEP_OK);
    ck_assert_int_eq(size_of("0.png", 'b'), 10);
    ck_assert_int_eq(size_of(".0.png.part", 'b'), -1);
}
END_TEST

START_TEST(bad_names_and_folders_are_errors)
{
    static const char *const names[] = {"", ".", "..", ".x", "a/b", "../x", "/x"};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
        ck_assert_int_eq(image_save_file(folder, names[i], "x", 1, NULL), HEP_E_BAD_FIELD);
    struct hep_error error = {0};
    ck_assert_int_eq(image_save_file("/nonexistent/folder", "x", "x", 1, &error), HEP_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent/folder"));
    ck_assert_int_ne(image_save_file("/proc", "x", "x", 1, &error), HEP_OK);
}
END_TEST

START_TEST(a_file_that_does_not_fit_is_an_error_and_leaves_nothing)
{
    static char data[1 << 16];
    struct hep_error error = {0};
    struct rlimit limit = {1000, 1000}; /* stands in for a full disk; this test runs in a process of its own */
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_ne(image_save_file(folder, "x.png", data, sizeof data, &error), HEP_OK);
    ck_assert_ptr_nonnull(strstr(error.message, "x.png"));
    ck_assert_int_eq(size_of("x.png", 0), -1);
    ck_assert_int_eq(size_of(".x.png.part", 0), -1);
}
END_TEST

START_TEST(a_link_in_the_way_is_not_followed)
{
    char part[512], target[512];
    snprintf(part, sizeof part, "%s/.x.png.part", folder);
    snprintf(target, sizeof target, "%s/target", folder);
    ck_assert_int_eq(symlink(target, part), 0);
    ck_assert_int_ne(image_save_file(folder, "x.png", "x", 1, NULL), HEP_OK);
    ck_assert_int_eq(size_of("target", 'x'), -1);
}
END_TEST

START_TEST(a_kill_leaves_the_old_file_or_the_new_one)
{
    enum { OLD = 3 << 20, NEW = 4 << 20 };
    char *data = malloc(NEW);
    memset(data, 'a', NEW);
    ck_assert_int_eq(image_save_file(folder, "k.png", data, OLD, NULL), HEP_OK);
    for (int wait_us = 0; wait_us < 6000; wait_us += 500) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                image_save_file(folder, "k.png", data, NEW, NULL);
        usleep((useconds_t)wait_us);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        long size = size_of("k.png", 'a');
        ck_assert(size == OLD || size == NEW);
    }
    ck_assert_int_eq(image_save_file(folder, "k.png", data, 5, NULL), HEP_OK); /* over what the kills left */
    ck_assert_int_eq(size_of("k.png", 'a'), 5);
    ck_assert_int_eq(size_of(".k.png.part", 'a'), -1);
    free(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *formats = tcase_create("formats"), *files = tcase_create("files");
    tcase_add_test(formats, png_is_exact_and_carries_the_recipe);
    tcase_add_test(formats, jpeg_is_close_and_carries_the_recipe);
    tcase_add_test(formats, webp_is_exact_at_100_and_close_below_and_carries_the_recipe);
    tcase_add_test(formats, a_jpeg_of_many_kilobytes_is_whole);
    tcase_add_test(formats, the_same_input_gives_the_same_bytes);
    tcase_add_test(formats, images_without_a_recipe_are_fine);
    tcase_add_test(formats, png16_keeps_sixteen_bits_and_the_recipe);
    tcase_add_test(formats, bad_sources_are_errors);
    tcase_add_test(formats, a_damaged_png_is_an_error);
    tcase_add_test(formats, formats_are_found_by_name);
    tcase_add_test(formats, the_recipe_reads_as_a1111_writes_it);
    tcase_add_test(formats, what_is_not_said_is_left_out_of_the_recipe);
    tcase_add_checked_fixture(files, make_folder, remove_folder);
    tcase_add_test(files, a_file_is_saved_whole_and_nothing_else_is_left);
    tcase_add_test(files, bad_names_and_folders_are_errors);
    tcase_add_test(files, a_file_that_does_not_fit_is_an_error_and_leaves_nothing);
    tcase_add_test(files, a_link_in_the_way_is_not_followed);
    tcase_add_test(files, a_kill_leaves_the_old_file_or_the_new_one);
    tcase_set_timeout(files, 30);
    suite_add_tcase(suite, formats);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
