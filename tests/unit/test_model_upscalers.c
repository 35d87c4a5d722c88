/* heptad-model as a process, on upscaler files: which it lists and refuses, what it publishes and who holds it. */
#include "common/wire.h"
#include "shm/segment.h"
#include "tests/support/check_status.h"
#include "tests/support/domain_process.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define FILES HEP_SOURCE_DIR "/tests/golden/data/models/tiny-esrgan"

static char folder[64], instance[HEP_INSTANCE_NAME_MAX];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(instance, sizeof instance, "ups-%d", (int)getpid());
    check_shell(
        "mkdir '%s/upscalers' '%s/ESRGAN' && cp '%s/tiny-esrgan-x4.safetensors' '%s/upscalers/four.safetensors' && "
        "cp '%s/tiny-esrgan-x2.safetensors' '%s/ESRGAN/two.safetensors' && chmod -R u+w '%s'",
        folder, folder, FILES, folder, FILES, folder, folder);
}

static void teardown(void)
{
    struct hep_segment_sweep sweep;
    hep_segment_sweep(instance, NULL, NULL, &sweep, NULL);
    check_shell("rm -rf '%s'", folder);
}

static struct domain_process *start(void)
{
    char paths[128];
    const char *const arguments[] = {"--set", paths, "--set", "models.dtype=f32", NULL};
    snprintf(paths, sizeof paths, "models.paths=%s", folder);
    return domain_start_stdio("model", instance, arguments);
}

static json_t *load(struct domain_process *process, const char *name, const char *session)
{
    return domain_call(process, "load_upscaler", "", false,
                       json_pack("{s:s, s:s}", "upscaler", name, "session", session));
}

static int64_t field(struct domain_process *process, const char *name)
{
    json_t *status = domain_status(process);
    int64_t value = hep_json_int(json_object_get(status, "models"), name, -1);
    json_decref(status);
    return value;
}

static json_t *info(struct domain_process *process, const char *name)
{
    return domain_call(process, "info", "", false, json_pack("{s:s, s:s}", "model", name, "kind", "upscaler"));
}

START_TEST(upscalers_are_listed_with_their_scale)
{
    struct domain_process *process = start();
    json_t *reply = domain_call(process, "list", "", false, json_pack("{s:s}", "kind", "upscaler"));
    json_t *list = json_object_get(reply, "models"), *four = json_array_get(list, 0), *two = json_array_get(list, 1);
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(hep_json_str(four, "name", ""), "four");
    ck_assert_int_eq(hep_json_int(four, "scale", 0), 4);
    ck_assert_str_eq(hep_json_str(four, "dtype", ""), "f16");
    ck_assert(hep_json_bool(four, "usable", false) && !hep_json_bool(four, "loaded", true));
    ck_assert_str_eq(hep_json_str(two, "name", ""), "two");
    ck_assert_int_eq(hep_json_int(two, "scale", 0), 2);
    json_decref(reply);
    domain_end(process);
}
END_TEST

START_TEST(loading_twice_packs_once_and_a_new_process_packs_nothing)
{
    struct domain_process *process = start();
    json_t *first = load(process, "four", "s"), *second = load(process, "four", ""), *about;
    ck_assert(json_equal(first, second));
    ck_assert_int_eq(hep_json_int(first, "scale", 0), 4);
    ck_assert_int_eq(field(process, "packed"), 1);
    domain_signal(process, SIGKILL);
    domain_end(process);
    process = start();
    json_t *adopted = load(process, "four", "");
    ck_assert(json_equal(first, adopted));
    ck_assert_int_eq(field(process, "packed"), 0);
    about = info(process, "four");
    ck_assert(hep_json_bool(about, "loaded", false));
    domain_end(process);
    json_decref(about);
    json_decref(adopted);
    json_decref(first);
    json_decref(second);
}
END_TEST

START_TEST(an_upscaler_that_a_session_holds_stays)
{
    struct domain_process *process = start();
    json_decref(load(process, "two", "s"));
    ck_assert_fails(domain_ask(process, "unload", "", false, json_pack("{s:s}", "model", "upscaler:two"), NULL, error),
                    HEP_E_NOT_NOW);
    json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", "s")));
    json_decref(domain_call(process, "unload", "", false, json_pack("{s:s}", "model", "upscaler:two")));
    ck_assert_int_eq(field(process, "components"), 0);
    domain_end(process);
}
END_TEST

static const struct {
    const char *make; /* a shell command with the folder as %s */
    const char *name;
    enum hep_status code;
    const char *words;
} broken[] = {
    {"cp '" FILES "/tiny-esrgan-x4.safetensors' '%s/ESRGAN/old.pth'", "old", HEP_E_UNSUPPORTED, "old.pth"},
    {"head -c 5000 '" FILES "/tiny-esrgan-x4.safetensors' > '%s/ESRGAN/cut.safetensors'", "cut", HEP_E_BAD_FILE,
     "cut.safetensors"},
    {"cp '" HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15/vae/diffusion_pytorch_model.safetensors' "
     "'%s/ESRGAN/vae.safetensors'",
     "vae", HEP_E_UNSUPPORTED, "conv_first.weight"},
    {"install -D /dev/null '%s/ESRGAN/dir/config.json'", "dir", HEP_E_UNSUPPORTED, "one safetensors file"},
};

START_TEST(what_is_no_upscaler_is_listed_with_its_reason)
{
    struct hep_error why = {0};
    check_shell(broken[_i].make, folder); /* NOLINT: the table's */
    struct domain_process *process = start();
    json_t *about = info(process, "four");
    ck_assert(hep_json_bool(about, "usable", false));
    json_decref(about);
    ck_assert_int_eq(
        domain_ask(process, "load_upscaler", "", false, json_pack("{s:s}", "upscaler", broken[_i].name), NULL, &why),
        broken[_i].code);
    ck_assert_msg(strstr(why.message, broken[_i].words) != NULL, "%s", why.message);
    domain_end(process);
}
END_TEST

START_TEST(a_file_that_changes_is_published_anew)
{
    struct domain_process *process = start();
    json_t *before = load(process, "four", ""), *after;
    check_shell("cp '%s/tiny-esrgan-x2.safetensors' '%s/upscalers/four.safetensors'", FILES, folder);
    json_decref(domain_call(process, "scan", "", false, json_object()));
    after = load(process, "four", "");
    ck_assert_int_eq(hep_json_int(after, "scale", 0), 2);
    ck_assert_str_ne(hep_json_str(before, "fingerprint", ""), hep_json_str(after, "fingerprint", ""));
    ck_assert_int_eq(field(process, "components"), 1);
    json_decref(before);
    json_decref(after);
    domain_end(process);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model_upscalers");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, upscalers_are_listed_with_their_scale);
    tcase_add_test(tcase, loading_twice_packs_once_and_a_new_process_packs_nothing);
    tcase_add_test(tcase, an_upscaler_that_a_session_holds_stays);
    tcase_add_loop_test(tcase, what_is_no_upscaler_is_listed_with_its_reason, 0, (int)HEP_COUNT_OF(broken));
    tcase_add_test(tcase, a_file_that_changes_is_published_anew);
    return check_status_run("model_upscalers", tcase);
}
