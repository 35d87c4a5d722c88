/* Files of strangers as pixels: what was written is read, as it is shown; what is damaged is an error; sizes fit. */
#include "instructors/postprocessing/blur.h"
#include "instructors/postprocessing/image_read.h"
#include "instructors/postprocessing/open.h"
#include "instructors/postprocessing/region.h"
#include "tests/support/check_status.h"

#include <math.h>
#include <openssl/evp.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIDTH = 40, HEIGHT = 24 };

static uint8_t picture[WIDTH * HEIGHT * 3], rgba[WIDTH * HEIGHT * 4];
static struct hep_error error;

/* Smooth, so that lossy formats keep it; every corner differs. */
static void draw(void)
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint8_t *pixel = picture + (y * WIDTH + x) * 3;
            pixel[0] = (uint8_t)(40 + 4 * x);
            pixel[1] = (uint8_t)(220 - 7 * y);
            pixel[2] = (uint8_t)(60 + 2 * x + 3 * y);
        }
}

static struct image_bytes encoded(enum image_format format)
{
    static uint16_t deep[sizeof picture];
    for (size_t i = 0; i < sizeof picture; i++)
        deep[i] = (uint16_t)(257 * picture[i]);
    const struct image_source source = {.pixels = picture, .deep = deep, .width = WIDTH, .height = HEIGHT};
    struct image_bytes bytes = {0};
    ck_assert_int_eq(image_encode(format, &source, 100, &bytes, NULL), HEP_OK);
    return bytes;
}

static void read_back(const struct image_bytes *bytes, struct image_about *about)
{
    ck_assert_msg(image_probe(bytes->data, bytes->size, about, &error) == HEP_OK, "%s", error.message);
    ck_assert_int_eq(about->width * about->height, WIDTH * HEIGHT);
    ck_assert_msg(image_read(bytes->data, bytes->size, about, rgba, &error) == HEP_OK, "%s", error.message);
}

static int largest_difference(void)
{
    int largest = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        for (int c = 0; c < 3; c++) {
            int difference = abs(picture[3 * i + c] - rgba[4 * i + c]);
            largest = difference > largest ? difference : largest;
        }
    return largest;
}

START_TEST(what_was_written_is_read)
{
    static const int limits[IMAGE_FORMAT_COUNT] = {[IMAGE_PNG] = 0, [IMAGE_JPEG] = 3, [IMAGE_WEBP] = 0};
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) {
        struct image_bytes bytes = encoded((enum image_format)i);
        struct image_about about;
        read_back(&bytes, &about);
        ck_assert_int_eq(about.format, i == IMAGE_PNG16 ? IMAGE_PNG : i);
        ck_assert_int_eq(about.width, WIDTH);
        ck_assert_int_le(largest_difference(), limits[i]);
        ck_assert_uint_eq(rgba[3], 255);
        image_bytes_clear(&bytes);
    }
}
END_TEST

/* A JPEG with an EXIF segment that says nothing but how it is turned. */
static struct image_bytes turned(int orientation)
{
    const uint8_t segment[] = {0xff, 0xe1, 0, 34, 'E', 'x',  'i',  'f', 0, 0, 'M', 'M', 0, 42, 0,
                               0,    0,    8, 0,  1,   0x01, 0x12, 0,   3, 0, 0,   0,   1, 0,  (uint8_t)orientation,
                               0,    0,    0, 0,  0,   0};
    struct image_bytes plain = encoded(IMAGE_JPEG),
                       bytes = {malloc(plain.size + sizeof segment), plain.size + sizeof segment};
    memcpy(bytes.data, plain.data, 2);
    memcpy(bytes.data + 2, segment, sizeof segment);
    memcpy(bytes.data + 2 + sizeof segment, plain.data + 2, plain.size - 2);
    image_bytes_clear(&plain);
    return bytes;
}

START_TEST(a_photograph_is_shown_as_its_camera_meant)
{
    /* where the stored picture's first pixel and the last one of its first row are shown */
    static const struct {
        bool first_right, first_down, last_right, last_down, is_tall;
    } shown[] = {{0, 0, 1, 0, 0}, {1, 0, 0, 0, 0}, {1, 1, 0, 1, 0}, {0, 1, 1, 1, 0},
                 {0, 0, 0, 1, 1}, {1, 0, 1, 1, 1}, {1, 1, 1, 0, 1}, {0, 1, 0, 0, 1}};
    for (int orientation = 1; orientation <= 8; orientation++) {
        struct image_bytes bytes = turned(orientation);
        struct image_about about;
        read_back(&bytes, &about);
        bool is_tall = shown[orientation - 1].is_tall;
        ck_assert_int_eq(about.width, is_tall ? HEIGHT : WIDTH);
        int right = about.width - 1, down = about.height - 1;
        int first = (shown[orientation - 1].first_down ? down : 0) * about.width +
                    (shown[orientation - 1].first_right ? right : 0),
            last = (shown[orientation - 1].last_down ? down : 0) * about.width +
                   (shown[orientation - 1].last_right ? right : 0);
        ck_assert_int_le(abs(rgba[4 * first] - picture[0]), 3);
        ck_assert_int_le(abs(rgba[4 * first + 1] - picture[1]), 3);
        ck_assert_int_le(abs(rgba[4 * last] - picture[3 * (WIDTH - 1)]), 3);
        ck_assert_int_le(abs(rgba[4 * last + 1] - picture[3 * (WIDTH - 1) + 1]), 3);
        image_bytes_clear(&bytes);
    }
}
END_TEST

START_TEST(what_is_no_image_or_damaged_says_so)
{
    struct image_about about;
    ck_assert_int_eq(image_probe("hello, I am a text", 18, &about, &error), HEP_E_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(error.message, "no image"));
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) {
        struct image_bytes bytes = encoded((enum image_format)i);
        size_t whole = bytes.size;
        for (size_t size = 0; size < whole; size += 1 + size / 8) { /* cut off anywhere */
            enum hep_status status = image_probe(bytes.data, size, &about, &error);
            if (status == HEP_OK && size < whole - 12) /* the last chunk of a PNG holds nothing */
                status = image_read(bytes.data, size, &about, rgba, &error);
            ck_assert_msg(status == HEP_E_BAD_FILE || size >= whole - 12, "%s cut to %zu of %zu: %s",
                          image_format_name((enum image_format)i), size, whole, hep_status_name(status));
        }
        image_bytes_clear(&bytes);
    }
}
END_TEST

START_TEST(more_pixels_than_are_read_are_refused_by_the_header)
{
    struct image_bytes bytes = encoded(IMAGE_PNG);
    struct image_about about;
    uint8_t wide[4] = {0, 0, 0x3f, 0xff}, tall[4] = {0, 0, 0x3f, 0xff};
    memcpy(bytes.data + 16, wide, 4);
    memcpy(bytes.data + 20, tall, 4);
    enum hep_status status = image_probe(bytes.data, bytes.size, &about, &error);
    ck_assert(status == HEP_E_OUT_OF_RANGE || status == HEP_E_BAD_FILE); /* its checksum is wrong, too */
    image_bytes_clear(&bytes);
}
END_TEST

/* ---- other sizes ---------------------------------------------------------------------------------------------------
 */
static void fit(enum fit_mode mode, enum resize_filter filter, int width, int height, int channels, const uint8_t *from,
                int out_width, int out_height, uint8_t *to)
{
    const struct resize resize = {filter, HEP_U8, channels, height, width, out_height, out_width};
    ck_assert_msg(fit_image(&resize, mode, from, to, &error) == HEP_OK, "%s", error.message);
}

START_TEST(a_size_that_is_the_same_changes_nothing)
{
    uint8_t out[sizeof picture];
    for (int mode = 0; mode < FIT_MODE_COUNT; mode++) {
        memset(out, 0, sizeof out);
        fit((enum fit_mode)mode, RESIZE_LANCZOS, WIDTH, HEIGHT, 3, picture, WIDTH, HEIGHT, out);
        ck_assert_int_eq(memcmp(picture, out, sizeof out), 0);
    }
}
END_TEST

START_TEST(modes_stretch_cut_off_or_draw_out)
{
    /* left half 0 with a line in it, right half 200; twice as wide as the size wants */
    static uint8_t wide[64 * 16], out[16 * 16];
    for (int i = 0; i < 64 * 16; i++)
        wide[i] = i % 64 < 32 ? (uint8_t)(i % 64 == 26 ? 100 : 0) : 200;
    fit(FIT_STRETCH, RESIZE_NEAREST, 64, 16, 1, wide, 16, 16, out);
    ck_assert_uint_eq(out[0], 0);
    ck_assert_uint_eq(out[15], 200);
    fit(FIT_CROP, RESIZE_NEAREST, 64, 16, 1, wide, 16, 16, out);
    ck_assert_int_eq(memcmp(out, wide + 24, 16), 0); /* the middle 16 columns, as they are */
    fit(FIT_FILL, RESIZE_NEAREST, 64, 16, 1, wide, 16, 16, out);
    for (int y = 1; y < 16; y++) /* the same in every row: 4 rows of picture, its edges above and below */
        ck_assert_int_eq(memcmp(out, out + 16 * y, 16), 0);
}
END_TEST

START_TEST(a_blur_keeps_the_sum_and_the_middle)
{
    uint8_t plane[31 * 31] = {0};
    unsigned sum = 0;
    for (int y = 11; y < 20; y++)
        memset(plane + y * 31 + 11, 255, 9);
    ck_assert_int_eq(blur_run(plane, 31, 31, 2, &error), HEP_OK);
    for (size_t i = 0; i < sizeof plane; i++) {
        sum += plane[i];
        ck_assert_uint_eq(plane[i], plane[sizeof plane - 1 - i]); /* as it was, the same from both sides */
    }
    ck_assert_int_le(abs((int)sum - 81 * 255), 81 * 255 / 50);
    ck_assert_uint_gt(plane[15 * 31 + 15], 240);
    ck_assert_uint_eq(plane[0], 0);
    memset(plane, 255, sizeof plane);
    ck_assert_int_eq(blur_run(plane, 31, 31, 30, &error), HEP_OK); /* wider than the plane */
    for (size_t i = 0; i < sizeof plane; i++)
        ck_assert_uint_ge(plane[i], 254);
}
END_TEST

START_TEST(a_region_is_what_the_mask_covers_in_the_shape_that_is_worked_at)
{
    enum { W = 100, H = 60 };
    static uint8_t mask[W * H];
    /* from … to of the mask, padding, size that is worked at → the region; the first as A1111 computes them */
    static const struct {
        int left, top, right, bottom, padding, out_width, out_height;
        struct region expected;
    } rows[] = {{40, 20, 50, 30, 4, 64, 64, {36, 16, 18, 18}}, {40, 20, 60, 30, 0, 64, 64, {40, 15, 20, 20}},
                {0, 0, 20, 10, 0, 64, 64, {0, 0, 20, 20}},     {80, 50, 100, 60, 0, 64, 64, {80, 40, 20, 20}},
                {10, 10, 20, 50, 0, 128, 64, {0, 10, 80, 40}}, {0, 0, 100, 60, 32, 64, 64, {0, 0, 100, 60}},
                {50, 30, 51, 31, 0, 64, 128, {50, 30, 1, 2}},  {5, 5, 95, 15, 0, 64, 128, {5, 0, 90, 60}}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct region region;
        memset(mask, 0, sizeof mask);
        for (int y = rows[i].top; y < rows[i].bottom; y++)
            memset(mask + y * W + rows[i].left, 1, (size_t)(rows[i].right - rows[i].left));
        ck_assert_int_eq(
            region_find(mask, W, H, rows[i].padding, rows[i].out_width, rows[i].out_height, &region, &error), HEP_OK);
        ck_assert_msg(memcmp(&region, &rows[i].expected, sizeof region) == 0, "row %zu: %d %d %d %d", i, (int)region.x,
                      (int)region.y, (int)region.width, (int)region.height);
    }
    struct region region = {1, 0, 2, 2};
    const uint8_t image[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, part[8] = {2, 3, 4, 5, 8, 9, 10, 11};
    uint8_t cut[8];
    region_cut(image, 3, 2, &region, cut);
    ck_assert_int_eq(memcmp(cut, part, sizeof cut), 0);
    memset(mask, 0, sizeof mask);
    ck_assert_int_eq(region_find(mask, W, H, 4, 64, 64, &region, &error), HEP_E_OUT_OF_RANGE);
    ck_assert_str_eq(error.field, "mask");
}
END_TEST

/* ---- opening -------------------------------------------------------------------------------------------------------
 */
static char folder[64];

static void make_folder(void)
{
    char path[96];
    snprintf(folder, sizeof folder, "/tmp/hep-open-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/inputs", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    draw();
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void keep(const void *data, size_t size, char name[65])
{
    unsigned char digest[32];
    char path[192];
    ck_assert_int_eq(EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++)
        snprintf(name + 2 * i, 3, "%02x", digest[i]);
    snprintf(path, sizeof path, "%s/inputs/%s", folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* One row of 16 bits a value. */
static void keep_row(const uint16_t *row, uint32_t width, char name[65])
{
    struct spng_ihdr header = {
        .width = width, .height = 1, .bit_depth = 16, .color_type = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA};
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    size_t size;
    int result;
    spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(context, &header);
    ck_assert_int_eq(spng_encode_image(context, row, width * 8, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    void *data = spng_get_png_buffer(context, &size, &result);
    keep(data, size, name);
    free(data);
    spng_ctx_free(context);
}

/* Red that is half there, and black that is all there. */
static void keep_transparent(char name[65])
{
    const uint16_t pixels[8] = {0xffff, 0, 0, 0x8080, 0, 0, 0, 0xffff};
    keep_row(pixels, 2, name);
}

static enum hep_dtype open_as(const char *name, struct open_wish wish, void *pixels)
{
    struct open_file file;
    ck_assert_msg(open_file_load(folder, name, &file, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(open_run(&file, &wish, pixels, &error) == HEP_OK, "%s", error.message);
    uint64_t bytes = 0;
    ck_assert_int_eq(open_memory(&file, &wish, &bytes, &error), HEP_OK);
    ck_assert_uint_ge(bytes, file.bytes.size);
    enum hep_dtype dtype = open_dtype(&file, &wish);
    open_file_clear(&file);
    return dtype;
}

START_TEST(an_input_is_opened_as_image_mask_or_alpha)
{
    char name[65];
    uint8_t pixels[6];
    keep_transparent(name);
    open_as(name, (struct open_wish){.kind = OPEN_IMAGE}, pixels);
    const uint8_t expected[6] = {255, 127, 127, 0, 0, 0}; /* on white */
    ck_assert_int_eq(memcmp(pixels, expected, 6), 0);
    open_as(name, (struct open_wish){.kind = OPEN_MASK}, pixels);
    ck_assert(pixels[0] == 76 && pixels[1] == 0); /* PIL's grey of red */
    open_as(name, (struct open_wish){.kind = OPEN_ALPHA}, pixels);
    ck_assert(pixels[0] == 128 && pixels[1] == 255);
    open_as(name, (struct open_wish){.kind = OPEN_ALPHA, .invert = true}, pixels);
    ck_assert(pixels[0] == 127 && pixels[1] == 0);
}
END_TEST

/* No value of them is one of 8 bits; half of a red is on white; masks, and files of 8 bits, stay bytes. */
START_TEST(an_input_of_16_bits_keeps_them_where_they_are_wanted)
{
    enum { WIDE = 5 };
    const struct open_wish deep = {.kind = OPEN_IMAGE, .deep = true};
    const uint16_t row[4 * WIDE] = {1,     2,     65534, 0xffff, 257 * 7 + 100, 40503, 300, 0xffff, 65535, 0, 0, 32768,
                                    12345, 54321, 0,     0,      0xaaaa,        129,   31,  0xffff};
    char name[65];
    float levels[3 * WIDE];
    keep_row(row, WIDE, name);
    ck_assert_int_eq(open_as(name, deep, levels), HEP_F32);
    for (int i = 0; i < 3 * WIDE; i++) {
        double alpha = row[i / 3 * 4 + 3] / 65535.0, shown = row[i / 3 * 4 + i % 3] * alpha + 65535 * (1 - alpha);
        ck_assert_msg(fabs((double)levels[i] * 257 - shown) < 0.01, "value %d is %f", i, (double)levels[i] * 257);
    }
    struct open_wish fitted = {.kind = OPEN_IMAGE, .deep = true, .width = 10, .height = 2, .mode = FIT_STRETCH};
    float larger[10 * 2 * 3];
    ck_assert_int_eq(open_as(name, fitted, larger), HEP_F32);
    ck_assert_mem_eq(larger, larger + 30, 30 * sizeof *larger); /* two rows of what was one */
    uint8_t mask[WIDE], bytes_of[WIDTH * HEIGHT * 3];
    ck_assert_int_eq(open_as(name, (struct open_wish){.kind = OPEN_MASK, .deep = true}, mask), HEP_U8);
    struct image_bytes bytes = encoded(IMAGE_PNG);
    keep(bytes.data, bytes.size, name);
    image_bytes_clear(&bytes);
    ck_assert_int_eq(open_as(name, deep, bytes_of), HEP_U8);
    ck_assert_mem_eq(bytes_of, picture, sizeof picture);
}
END_TEST

START_TEST(an_input_is_brought_to_a_size)
{
    char name[65];
    static uint8_t pixels[20 * 12 * 3];
    struct image_bytes bytes = encoded(IMAGE_PNG);
    keep(bytes.data, bytes.size, name);
    image_bytes_clear(&bytes);
    open_as(name, (struct open_wish){.kind = OPEN_IMAGE, .width = 20, .height = 12}, pixels);
    for (int y = 2; y < 10; y++)
        for (int x = 2; x < 18; x++)
            ck_assert_int_le(abs(pixels[(y * 20 + x) * 3] - (40 + 8 * x + 2)), 2); /* the slope stays */
}
END_TEST

START_TEST(what_cannot_be_opened_says_why)
{
    struct open_file file;
    char name[65], path[192];
    ck_assert_int_eq(open_file_load(folder, "apple.png", &file, &error), HEP_E_BAD_FIELD);
    memset(name, 'a', 64);
    name[64] = '\0';
    ck_assert_int_eq(open_file_load(folder, name, &file, &error), HEP_E_NOT_FOUND);
    keep("no image at all", 15, name);
    ck_assert_int_eq(open_file_load(folder, name, &file, &error), HEP_E_BAD_FILE);
    ck_assert_str_eq(error.field, "input");
    ck_assert_ptr_nonnull(strstr(error.message, "no image"));
    struct image_bytes bytes = encoded(IMAGE_PNG); /* another one's bytes under this name */
    snprintf(path, sizeof path, "%s/inputs/%s", folder, name);
    FILE *out = fopen(path, "wb");
    fwrite(bytes.data, 1, bytes.size, out);
    fclose(out);
    image_bytes_clear(&bytes);
    ck_assert_int_eq(open_file_load(folder, name, &file, &error), HEP_E_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(error.message, "damaged"));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("image_read");
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, what_was_written_is_read);
    tcase_add_test(tcase, a_photograph_is_shown_as_its_camera_meant);
    tcase_add_test(tcase, what_is_no_image_or_damaged_says_so);
    tcase_add_test(tcase, more_pixels_than_are_read_are_refused_by_the_header);
    tcase_add_test(tcase, a_size_that_is_the_same_changes_nothing);
    tcase_add_test(tcase, modes_stretch_cut_off_or_draw_out);
    tcase_add_test(tcase, a_blur_keeps_the_sum_and_the_middle);
    tcase_add_test(tcase, a_region_is_what_the_mask_covers_in_the_shape_that_is_worked_at);
    tcase_add_test(tcase, an_input_is_opened_as_image_mask_or_alpha);
    tcase_add_test(tcase, an_input_of_16_bits_keeps_them_where_they_are_wanted);
    tcase_add_test(tcase, an_input_is_brought_to_a_size);
    tcase_add_test(tcase, what_cannot_be_opened_says_why);
    return check_status_run("image_read", tcase);
}
