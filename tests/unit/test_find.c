/*
 * Where models are looked for: the folders of ComfyUI and A1111 by their names, links, names of files in folders, and
 * what is passed over. The trees are made of empty files: places and names are all that is looked at.
 */
#include "instructors/model/catalogue.h"
#include "instructors/model/find.h"
#include "tests/support/check_status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];
static char found[8192]; /* "kind name\n" of each, in order */

static void setup(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    found[0] = '\0';
}

static void teardown(void)
{
    check_shell("rm -rf '%s'", folder);
}

static void make(const char *file)
{
    check_shell("mkdir -p \"$(dirname '%s/%s')\" && touch '%s/%s'", folder, file, folder, file);
}

static enum hep_status note(void *context, const struct find_item *item, struct hep_error *error)
{
    (void)context;
    (void)error;
    size_t used = strlen(found);
    snprintf(found + used, sizeof found - used, "%s%s %s%s\n", hep_model_kind_name(item->kind),
             item->kind_is_open ? "?" : "", item->name, item->is_folder ? "/" : "");
    ck_assert_int_eq(item->path[0], '/');
    return HEP_OK;
}

static void find(const char *below)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s", folder, below);
    ck_assert_ok(find_models(path, note, NULL, error));
}

START_TEST(the_trees_of_comfyui_and_of_a1111_are_known_by_their_folders)
{
    static const char *const files[] = {"comfy/models/checkpoints/a.safetensors",
                                        "comfy/models/checkpoints/xl/deep/b.safetensors",
                                        "comfy/models/checkpoints/put_checkpoints_here",
                                        "comfy/models/diffusers/c/model_index.json",
                                        "comfy/models/vae/v.safetensors",
                                        "comfy/models/loras/l.safetensors",
                                        "comfy/models/loras/l.png",
                                        "comfy/models/controlnet/n/config.json",
                                        "comfy/models/upscale_models/u.pth",
                                        "comfy/models/embeddings/e.safetensors",
                                        "comfy/models/text_encoders/t.safetensors",
                                        "comfy/output/o.safetensors",
                                        "a1111/models/Stable-diffusion/d.safetensors",
                                        "a1111/models/Stable-diffusion/d.vae.pt",
                                        "a1111/models/VAE/w.safetensors",
                                        "a1111/models/Lora/m.safetensors",
                                        "a1111/models/ControlNet/o.safetensors",
                                        "a1111/models/ESRGAN/x.safetensors",
                                        "a1111/embeddings/f.safetensors"};
    for (size_t i = 0; i < HEP_COUNT_OF(files); i++)
        make(files[i]);
    find("/comfy");
    ck_assert_str_eq(found, "checkpoint a\ncheckpoint xl/deep/b\ncontrolnet n/\ncheckpoint c/\nembedding e\n"
                            "lora l\nupscaler u\nvae v\n");
    found[0] = '\0';
    find("/a1111");
    ck_assert_str_eq(found, "embedding f\ncontrolnet o\nupscaler x\nlora m\ncheckpoint d\ncheckpoint d.vae\nvae w\n");
    found[0] = '\0';
    find("/comfy/models/loras/"); /* the folder of one kind */
    ck_assert_str_eq(found, "lora l\n");
}
END_TEST

START_TEST(a_folder_of_a_kind_may_be_the_only_one_of_that_kind)
{
    make("one/safety_checker/config.json");
    make("one/safety_checker/model.safetensors");
    make("more/safety_checker/a/config.json");
    make("more/safety_checker/b/config.json");
    find("/one");
    find("/one/safety_checker");
    find("/more");
    ck_assert_str_eq(found, "safety_checker safety_checker/\nsafety_checker safety_checker/\n"
                            "safety_checker a/\nsafety_checker b/\n");
}
END_TEST

START_TEST(links_to_a_tree_are_followed_and_circles_end)
{
    char here[96], there[96];
    make("elsewhere/loras/a.safetensors");
    make("elsewhere/loras/sub/b.safetensors");
    make("kept/c.safetensors");
    check_shell(
        "cd '%s' && mkdir path && ln -s ../elsewhere/loras path/loras && ln -s .. elsewhere/loras/sub/up &&"
        " ln -s . elsewhere/loras/self && ln -s ../kept/c.safetensors path/d.safetensors && ln -s nowhere path/gone",
        folder);
    find("/path");
    ck_assert_str_eq(found, "checkpoint? d\nlora a\nlora sub/b\n");
    struct catalogue catalogue;
    snprintf(here, sizeof here, "%s/path", folder);
    catalogue_init(&catalogue, here);
    ck_assert_ok(catalogue_scan(&catalogue, NULL, NULL, error));
    snprintf(there, sizeof there, "%s/kept/c.safetensors", folder);
    ck_assert_str_eq(catalogue.entries[0].path, there);
    catalogue_clear(&catalogue);
}
END_TEST

START_TEST(what_cannot_be_read_is_listed_with_what_to_do)
{
    static const struct {
        const char *file, *word;
    } rows[] = {{"checkpoints/a.ckpt", "pickle"},     {"loras/b.pt", "pickle"},
                {"upscale_models/c.PTH", "pickle"},   {"embeddings/d.bin", "pickle"},
                {"checkpoints/e.gguf", "GGUF"},       {"vae/f.onnx", "ONNX"},
                {"controlnet/g.safetensors", "bytes"}};
    struct catalogue catalogue;
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        make(rows[i].file);
    make("checkpoints/h.ckpt"); /* its converted twin is the one that is listed */
    make("checkpoints/h.safetensors");
    catalogue_init(&catalogue, folder);
    ck_assert_ok(catalogue_scan(&catalogue, NULL, NULL, error));
    ck_assert_int_eq(catalogue.count, HEP_COUNT_OF(rows) + 1);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        const char *slash = strchr(rows[i].file, '/');
        const struct catalogue_entry *entry;
        enum hep_model_kind kind;
        char folder_name[32], name[2] = {slash[1], '\0'};
        struct hep_error error = {0};
        snprintf(folder_name, sizeof folder_name, "%.*s", (int)(slash - rows[i].file), rows[i].file);
        ck_assert(hep_model_kind_of_folder(folder_name, &kind));
        ck_assert_int_ne(catalogue_find(&catalogue, kind, name, &entry, &error), HEP_OK);
        ck_assert_msg(strstr(error.message, rows[i].word) && strstr(error.message, slash + 1), "%s", error.message);
        ck_assert_msg(strcmp(rows[i].word, "pickle") != 0 || strstr(error.hint, "pickle-to-safetensors"), "%s",
                      error.hint);
    }
    for (int i = 0; i < catalogue.count; i++)
        ck_assert(strcmp(catalogue.entries[i].name, "h") != 0 || strstr(catalogue.entries[i].path, ".safetensors"));
    catalogue_clear(&catalogue);
}
END_TEST

START_TEST(a_model_is_not_called_as_a_file_of_another_kind_is_published)
{
    static const struct {
        const char *name;
        bool is_taken;
    } rows[] = {{"controlnet:x", true}, {"vae:", true}, {"xl:x", false}, {"x/controlnet:x", false}};
    struct catalogue catalogue;
    make("models/controlnet:x/model_index.json");
    make("checkpoints/vae:.safetensors");
    make("checkpoints/xl:x.safetensors");
    make("checkpoints/x/controlnet:x.safetensors");
    make("controlnet/vae:x.safetensors");
    catalogue_init(&catalogue, folder);
    ck_assert_ok(catalogue_scan(&catalogue, NULL, NULL, error));
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        const struct catalogue_entry *entry;
        struct hep_error said = {0};
        ck_assert_int_ne(catalogue_find(&catalogue, HEP_MODEL_CHECKPOINT, rows[i].name, &entry, &said), HEP_OK);
        ck_assert_msg((strstr(said.message, "published") != NULL) == rows[i].is_taken, "%s", said.message);
        ck_assert_msg((strstr(said.hint, "rename") != NULL) == rows[i].is_taken, "%s", said.hint);
    }
    ck_assert_ptr_null(strstr(catalogue.entries[catalogue.count - 1].problem.message, "published"));
    ck_assert_str_eq(catalogue.entries[catalogue.count - 1].name, "vae:x");
    catalogue_clear(&catalogue);
}
END_TEST

START_TEST(a_name_that_is_not_there_names_those_that_are)
{
    struct catalogue catalogue;
    const struct catalogue_entry *entry;
    struct hep_error said = {0};
    make("loras/a.safetensors");
    make("loras/xl/b.safetensors");
    catalogue_init(&catalogue, folder);
    ck_assert_ok(catalogue_scan(&catalogue, NULL, NULL, error));
    ck_assert_int_eq(catalogue_find(&catalogue, HEP_MODEL_LORA, "b", &entry, &said), HEP_E_NOT_FOUND);
    ck_assert_str_eq(said.field, "lora");
    ck_assert_msg(strstr(said.hint, "a, xl/b"), "%s", said.hint);
    ck_assert_int_eq(catalogue_find(&catalogue, HEP_MODEL_VAE, "a", &entry, &said), HEP_E_NOT_FOUND);
    ck_assert_str_eq(said.field, "vae");
    ck_assert_int_eq(catalogue_count(&catalogue, HEP_MODEL_LORA, false), 2);
    catalogue_clear(&catalogue);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("find");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_folder_of_a_kind_may_be_the_only_one_of_that_kind);
    tcase_add_test(tcase, the_trees_of_comfyui_and_of_a1111_are_known_by_their_folders);
    tcase_add_test(tcase, links_to_a_tree_are_followed_and_circles_end);
    tcase_add_test(tcase, what_cannot_be_read_is_listed_with_what_to_do);
    tcase_add_test(tcase, a_model_is_not_called_as_a_file_of_another_kind_is_published);
    tcase_add_test(tcase, a_name_that_is_not_there_names_those_that_are);
    return check_status_run("find", tcase);
}
