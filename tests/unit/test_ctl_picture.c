/* Images on a terminal: what is drawn of a few pixels, what is read of files, and what is refused. */
#include "supervisor/ctl/show.h"

#include "tests/unit/ctl_test.h"

#include <spng.h>
#include <unistd.h>

/* red green / blue white / black */
static unsigned char pixels[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 10, 20, 30};
static const struct ctl_picture tiny = {.width = 2, .height = 3, .pixels = pixels};

static char *draw(void (*drawing)(const struct ctl_picture *picture, FILE *out))
{
    FILE *out = ctl_catch();
    drawing(&tiny, out);
    return ctl_caught(out);
}

START_TEST(two_pixels_are_one_half_block)
{
    char *text = draw(ctl_draw_blocks);
    ck_assert_str_eq(text, "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;255;255;255m▀\x1b[0m\n"
                           "\x1b[0;38;2;0;0;0m▀\x1b[0;38;2;10;20;30m▀\x1b[0m\n");
    free(text);
}
END_TEST

START_TEST(kitty_gets_the_pixels_in_base64)
{
    char *text = draw(ctl_draw_kitty);
    ck_assert_str_eq(text, "\x1b_Ga=T,q=2,f=24,s=2,v=3,m=0;/wAAAP8AAAD/////AAAAChQe\x1b\\\n");
    free(text);
}
END_TEST

START_TEST(kitty_gets_large_images_in_chunks)
{
    static unsigned char grey[64 * 64 * 3];
    struct ctl_picture picture = {64, 64, grey};
    FILE *out = ctl_catch();
    int chunks = 0;
    ctl_draw_kitty(&picture, out);
    char *text = ctl_caught(out);
    for (const char *at = text; (at = strstr(at, "\x1b_G")) != NULL; at++, chunks++) {
        size_t length = strcspn(strchr(at, ';') + 1, "\x1b");
        ck_assert_uint_le(length, 4096);
    }
    ck_assert_int_eq(chunks, 4);
    ck_assert_ptr_nonnull(strstr(text, "m=1;"));
    ck_assert_ptr_nonnull(strstr(text, "\x1b_Gm=0;"));
    free(text);
}
END_TEST

START_TEST(sixels_have_a_band_of_each_colour)
{
    char *text = draw(ctl_draw_sixel);
    ck_assert_msg(strncmp(text, "\x1bPq\"1;1;2;3#0;2;0;0;0", 20) == 0, "%.40s", text + 1);
    const char *band = strstr(text, "#215;2;100;100;100") + strlen("#215;2;100;100;100");
    /* black below on the left, dark blue beside it, blue in the middle, green, red, white */
    ck_assert_str_eq(band, "#0C?$#1?C$#5A?$#30?@$#180@?$#215?A$-\x1b\\\n");
    free(text);
}
END_TEST

/* Reads a sixel picture back into colours of the palette; enough of the protocol for what draw.c writes. */
static void read_sixel(const char *text, int width, int height, unsigned char *seen)
{
    int palette[256][3] = {{0}}, colour = 0, x = 0, y = 0;
    const char *at = strchr(text + 4, '#');
    while (*at && *at != '\x1b') {
        int r, g, b, used = 0, count = 1;
        if (sscanf(at, "#%d;2;%d;%d;%d%n", &colour, &r, &g, &b, &used) == 4) {
            palette[colour][0] = r * 255 / 100, palette[colour][1] = g * 255 / 100, palette[colour][2] = b * 255 / 100;
        } else if (sscanf(at, "#%d%n", &colour, &used) == 1) {
            x = 0;
        } else if (*at == '$' || *at == '-') {
            x = 0;
            y += *at == '-' ? 6 : 0;
            used = 1;
        } else {
            if (*at == '!')
                ck_assert_int_eq(sscanf(at, "!%d%n", &count, &used), 1);
            int bits = at[used] - 63;
            for (int end = x + count; x < end; x++)
                for (int row = 0; row < 6; row++)
                    if (bits >> row & 1) {
                        ck_assert(x < width && y + row < height);
                        for (int c = 0; c < 3; c++)
                            seen[((y + row) * width + x) * 3 + c] = (unsigned char)palette[colour][c];
                    }
            used++;
        }
        at += used;
    }
}

START_TEST(sixels_keep_the_mean_colour)
{
    enum { SIDE = 40 };
    static unsigned char flat[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
    const struct ctl_picture picture = {SIDE, SIDE, flat};
    const int wanted[3] = {128, 70, 240};
    for (size_t i = 0; i < sizeof flat; i++)
        flat[i] = (unsigned char)wanted[i % 3];
    FILE *out = ctl_catch();
    ctl_draw_sixel(&picture, out);
    char *text = ctl_caught(out);
    read_sixel(text, SIDE, SIDE, seen);
    for (int c = 0; c < 3; c++) {
        int sum = 0;
        for (size_t i = (size_t)c; i < sizeof seen; i += 3)
            sum += seen[i];
        ck_assert_int_le(abs(sum / (SIDE * SIDE) - wanted[c]), 1);
    }
    free(text);
}
END_TEST

START_TEST(a_large_image_is_averaged_until_it_fits)
{
    struct ctl_picture fitted;
    ck_assert_int_eq(ctl_picture_fit(&tiny, 1, 10, &fitted, NULL), HEP_OK);
    ck_assert_int_eq(fitted.width, 1);
    ck_assert_int_eq(fitted.height, 2);
    ck_assert_int_eq(fitted.pixels[0], 128); /* red + white over four, rounded */
    ck_assert_int_eq(fitted.pixels[3], 5);
    ctl_picture_clear(&fitted);
}
END_TEST

START_TEST(da1_answers_are_understood)
{
    ck_assert(ctl_answer_has_sixel("\x1b[?62;4;6c"));
    ck_assert(ctl_answer_has_sixel("\x1b[?63;1;2;4c"));
    ck_assert(!ctl_answer_has_sixel("\x1b[?4;6c")); /* a VT132 */
    ck_assert(!ctl_answer_has_sixel("\x1b[?62;14;44c"));
    ck_assert(!ctl_answer_has_sixel("\x1b[?62;4"));
    ck_assert(!ctl_answer_has_sixel(""));
}
END_TEST

START_TEST(the_environment_says_what_a_terminal_can)
{
    unsetenv("TMUX");
    unsetenv("KITTY_WINDOW_ID");
    unsetenv("TERM_PROGRAM");
    setenv("TERM", "xterm-kitty", 1);
    ck_assert_int_eq(ctl_terminal_graphics(), CTL_GRAPHICS_KITTY);
    setenv("TMUX", "/tmp/x", 1);
    ck_assert_int_eq(ctl_terminal_graphics(), CTL_GRAPHICS_BLOCKS);
    unsetenv("TMUX");
    setenv("TERM", "linux", 1);
    ck_assert_int_eq(ctl_terminal_graphics(), CTL_GRAPHICS_BLOCKS);
    setenv("TERM", "xterm", 1);
    setenv("TERM_PROGRAM", "WezTerm", 1);
    ck_assert_int_eq(ctl_terminal_graphics(), CTL_GRAPHICS_KITTY);
}
END_TEST

/* ---- files ------------------------------------------------------------------------------------------------------- */
static void write_file(char *path, const void *bytes, size_t size)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void *encode_png(size_t *size)
{
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr header = {.width = 2, .height = 3, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    int result = 0;
    spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
    spng_set_ihdr(context, &header);
    ck_assert_int_eq(spng_encode_image(context, pixels, sizeof pixels, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    void *png = spng_get_png_buffer(context, size, &result);
    spng_ctx_free(context);
    return png;
}

START_TEST(a_png_is_read_as_it_was_written)
{
    char path[] = "/tmp/test_ctl_picture.XXXXXX";
    size_t size;
    void *png = encode_png(&size);
    struct ctl_picture picture;
    write_file(path, png, size);
    ck_assert_int_eq(ctl_picture_read(path, &picture, NULL), HEP_OK);
    ck_assert_int_eq(picture.width, 2);
    ck_assert_int_eq(picture.height, 3);
    ck_assert_mem_eq(picture.pixels, pixels, sizeof pixels);
    ctl_picture_clear(&picture);
    unlink(path);
    free(png);
}
END_TEST

START_TEST(a_file_that_is_no_image_is_an_error_that_says_so)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum hep_status status;
    } files[] = {
        {"hello", 5, HEP_E_UNSUPPORTED},
        {"", 0, HEP_E_UNSUPPORTED},
        {"\x89PNG\r\n\x1a\n", 8, HEP_E_BAD_FILE},
        {"\xff\xd8\xff\xe0 this is no JPEG", 20, HEP_E_BAD_FILE},
        {"RIFF\x10\0\0\0WEBPVP8 \0\0\0\0", 20, HEP_E_BAD_FILE},
    };
    char path[] = "/tmp/test_ctl_picture.XXXXXX";
    struct ctl_picture picture = {0};
    struct hep_error error;
    write_file(path, files[_i].bytes, files[_i].size);
    ck_assert_int_eq(ctl_picture_read(path, &picture, &error), files[_i].status);
    ck_assert_ptr_null(picture.pixels);
    unlink(path);
}
END_TEST

START_TEST(a_truncated_png_is_refused)
{
    char path[] = "/tmp/test_ctl_picture.XXXXXX";
    size_t size;
    void *png = encode_png(&size);
    struct ctl_picture picture = {0};
    write_file(path, png, size - 20);
    ck_assert_int_eq(ctl_picture_read(path, &picture, NULL), HEP_E_BAD_FILE);
    unlink(path);
    free(png);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, two_pixels_are_one_half_block);
    tcase_add_test(tests, kitty_gets_the_pixels_in_base64);
    tcase_add_test(tests, kitty_gets_large_images_in_chunks);
    tcase_add_test(tests, sixels_have_a_band_of_each_colour);
    tcase_add_test(tests, sixels_keep_the_mean_colour);
    tcase_add_test(tests, a_large_image_is_averaged_until_it_fits);
    tcase_add_test(tests, da1_answers_are_understood);
    tcase_add_test(tests, the_environment_says_what_a_terminal_can);
    tcase_add_test(tests, a_png_is_read_as_it_was_written);
    tcase_add_loop_test(tests, a_file_that_is_no_image_is_an_error_that_says_so, 0, 5);
    tcase_add_test(tests, a_truncated_png_is_refused);
}

int main(void)
{
    return ctl_run_tests("ctl_picture", add);
}
