/* What an image file says of how it was made, out of files that heptad-postprocessing's own encoders wrote. */
#include "instructors/postprocessing/image_file.h"
#include "supervisor/ctl/recipe.h"
#include "tests/support/check_status.h"

#include <string.h>

static const char request[] =
    "{\"count\":1,\"dtype\":\"bf16\",\"fingerprint\":\"ab\",\"negative_prompt\":\"\",\"prompt\":\"a <red> & "
    "\\\"big\\\" "
    "\xe6\x97\xa5 &lt; "
    "apple\",\"seed\":\"18446744073709551615\",\"upscale\":2,\"version\":\"0.1.0\",\"workflow_id\":\"it\"}";

static struct image_bytes encode(enum image_format format, const char *text)
{
    static uint8_t pixels[16 * 16 * 3];
    static uint16_t deep[16 * 16 * 3];
    struct image_bytes bytes = {0};
    struct image_source source = {pixels, deep, 16, 16, text ? "a red apple\nSteps: 4" : NULL, text};
    ck_assert_ok(image_encode(format, &source, 90, &bytes, error));
    return bytes;
}

START_TEST(a_recipe_is_read_as_it_was_written)
{
    struct image_bytes file = encode((enum image_format)_i, request);
    json_t *recipe = NULL, *written = json_loads(request, 0, NULL);
    ck_assert_ptr_nonnull(written);
    ck_assert_ok(ctl_recipe_parse(file.data, file.size, &recipe, error));
    ck_assert(json_equal(recipe, written));
    json_decref(recipe);
    json_decref(written);
    image_bytes_clear(&file);
}
END_TEST

START_TEST(the_request_holds_what_the_workflow_takes_and_nothing_else)
{
    json_t *recipe = json_loads(request, 0, NULL), *made = ctl_recipe_request(recipe, "webp");
    json_t *configuration = json_object_get(made, "configuration"), *with = json_object_get(made, "made_with");
    ck_assert_str_eq(json_string_value(json_object_get(made, "workflow_id")), "it");
    ck_assert_uint_eq(json_object_size(configuration), 6); /* count, negative_prompt, prompt, seed, upscale, format */
    ck_assert_str_eq(json_string_value(json_object_get(configuration, "format")), "webp");
    ck_assert_str_eq(json_string_value(json_object_get(configuration, "seed")), "18446744073709551615");
    ck_assert_uint_eq(json_object_size(with), 3);
    ck_assert_str_eq(json_string_value(json_object_get(with, "fingerprint")), "ab");
    json_decref(made);
    json_decref(recipe);
}
END_TEST

START_TEST(a_file_without_one_says_so)
{
    struct image_bytes file = encode((enum image_format)_i, NULL);
    json_t *recipe = NULL;
    ck_assert_fails(ctl_recipe_parse(file.data, file.size, &recipe, error), HEP_E_NOT_FOUND);
    image_bytes_clear(&file);
}
END_TEST

START_TEST(what_is_damaged_is_refused)
{
    struct image_bytes jpeg = encode(IMAGE_JPEG, request), png = encode(IMAGE_PNG, request);
    json_t *recipe = NULL;
    char *at = memmem(jpeg.data, jpeg.size, "</heptad:request>", 17);
    ck_assert_fails(ctl_recipe_parse("no image at all", 15, &recipe, error), HEP_E_BAD_FILE);
    at[2] = 'x';
    ck_assert_fails(ctl_recipe_parse(jpeg.data, jpeg.size, &recipe, error), HEP_E_BAD_FILE);
    at[2] = 'h';
    at[-1] = '{';
    ck_assert_fails(ctl_recipe_parse(jpeg.data, jpeg.size, &recipe, error), HEP_E_BAD_FILE);
    ck_assert_fails(ctl_recipe_parse(png.data, 60, &recipe, error), HEP_E_BAD_FILE);
    image_bytes_clear(&jpeg);
    image_bytes_clear(&png);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ctl_recipe");
    tcase_add_loop_test(tcase, a_recipe_is_read_as_it_was_written, 0, IMAGE_FORMAT_COUNT);
    tcase_add_test(tcase, the_request_holds_what_the_workflow_takes_and_nothing_else);
    tcase_add_loop_test(tcase, a_file_without_one_says_so, 0, IMAGE_FORMAT_COUNT);
    tcase_add_test(tcase, what_is_damaged_is_refused);
    return check_status_run("ctl_recipe", tcase);
}
