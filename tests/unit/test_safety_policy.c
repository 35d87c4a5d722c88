/* What verdicts mean for the images that are written: the policies, the answers that are no verdicts, the blur. */
#include "instructors/postprocessing/safety.h"
#include "tests/support/check_status.h"

#include <stdlib.h>
#include <string.h>

static json_t *verdicts(enum hep_safety_policy policy, bool first, bool second)
{
    struct hep_safety_verdict both[2] = {{.flagged = first}, {.flagged = second}};
    return safety_json(policy, both, 2);
}

START_TEST(the_stricter_of_two_policies_holds)
{
    for (int asked = HEP_SAFETY_FLAG; asked < HEP_SAFETY_POLICY_COUNT; asked++)
        for (int least = HEP_SAFETY_OFF; least < HEP_SAFETY_POLICY_COUNT; least++)
            for (int flagged = 0; flagged < 2; flagged++) {
                enum hep_safety_policy is, should = (enum hep_safety_policy)(asked > least ? asked : least);
                json_t *safety = verdicts((enum hep_safety_policy)asked, false, flagged == 1);
                enum hep_status status = safety_decide(safety, (enum hep_safety_policy)least, 2, &is, NULL);
                ck_assert_int_eq(status, should == HEP_SAFETY_REFUSE && flagged ? HEP_E_UNSAFE : HEP_OK);
                ck_assert_int_eq(is, should);
                ck_assert(!safety_is_flagged(safety, 0) && safety_is_flagged(safety, 1) == (flagged == 1));
                json_decref(safety);
            }
}
END_TEST

START_TEST(images_that_were_not_checked_are_written_only_where_nobody_asks)
{
    enum hep_safety_policy policy;
    struct hep_error failure = {0};
    ck_assert_ok(safety_decide(NULL, HEP_SAFETY_OFF, 2, &policy, error));
    ck_assert_int_eq(policy, HEP_SAFETY_OFF);
    for (int least = HEP_SAFETY_FLAG; least < HEP_SAFETY_POLICY_COUNT; least++) {
        ck_assert_int_eq(safety_decide(NULL, (enum hep_safety_policy)least, 2, &policy, &failure), HEP_E_NOT_ALLOWED);
        ck_assert_str_eq(failure.field, "safety");
    }
}
END_TEST

START_TEST(what_is_no_verdict_on_these_images_is_refused)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"policy\": \"flag\"}",
        "{\"policy\": \"flag\", \"images\": []}",
        "{\"policy\": \"flag\", \"images\": [{\"flagged\": false}]}",
        "{\"policy\": \"flag\", \"images\": [{\"flagged\": false}, {\"flagged\": 0}]}",
        "{\"policy\": \"flag\", \"images\": [{\"flagged\": false}, {}]}",
        "{\"policy\": \"none\", \"images\": [{\"flagged\": false}, {\"flagged\": false}]}",
        "{\"images\": [{\"flagged\": false}, {\"flagged\": false}]}",
        "{\"policy\": \"flag\", \"images\": {\"flagged\": false}}",
    };
    for (size_t i = 0; i < HEP_COUNT_OF(texts); i++) {
        enum hep_safety_policy policy;
        struct hep_error failure = {0};
        json_t *safety = json_loads(texts[i], 0, NULL);
        ck_assert_msg(safety_decide(safety, HEP_SAFETY_OFF, 2, &policy, &failure) == HEP_E_BAD_FIELD, "%s", texts[i]);
        ck_assert_str_eq(failure.field, "safety");
        json_decref(safety);
    }
}
END_TEST

/* Every size, down to one pixel: neighbours hardly differ, and the mean stays. */
START_TEST(a_blurred_image_keeps_its_colour_and_no_detail)
{
    static const int64_t sizes[][2] = {{1, 1}, {1, 40}, {40, 1}, {3, 5}, {64, 64}, {64, 200}, {333, 100}};
    for (size_t i = 0; i < HEP_COUNT_OF(sizes); i++) {
        int64_t height = sizes[i][0], width = sizes[i][1];
        size_t bytes = (size_t)(height * width * 3);
        uint8_t *from = malloc(bytes), *to = malloc(bytes);
        double before = 0, after = 0;
        for (size_t k = 0; k < bytes; k++)
            from[k] = (uint8_t)((k / 3 % 2) * 255); /* stripes */
        safety_blur(from, height, width, to);
        for (size_t k = 0; k < bytes; k++) {
            before += from[k];
            after += to[k];
        }
        ck_assert_msg(height * width < 64 || (before - after) * (before - after) < (double)(bytes * bytes) * 9,
                      "%d x %d: mean %g, then %g", (int)height, (int)width, before / (double)bytes,
                      after / (double)bytes);
        for (size_t k = 3; height > 32 && width > 32 && k < bytes; k++)
            ck_assert_msg(k % (size_t)(width * 3) < 3 || abs((int)to[k] - (int)to[k - 3]) < 40, "%d x %d at %zu",
                          (int)height, (int)width, k);
        free(from);
        free(to);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("safety policy");
    tcase_add_test(tcase, the_stricter_of_two_policies_holds);
    tcase_add_test(tcase, images_that_were_not_checked_are_written_only_where_nobody_asks);
    tcase_add_test(tcase, what_is_no_verdict_on_these_images_is_refused);
    tcase_add_test(tcase, a_blurred_image_keeps_its_colour_and_no_detail);
    return check_status_run("safety policy", tcase);
}
