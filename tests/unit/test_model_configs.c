/*
 * Config files of networks: what the published ones mean, and that a value which would change the result is refused
 * with its key and value. Weight counts and sizes are those of the published models.
 */
#include "nn/eval/arch.h"
#include "nn/models/networks.h"
#include "nn/weights/family.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hep_error error;

static union hep_any_config read_arch(const char *arch, const char *network)
{
    const struct hep_network_kind *kind = hep_network_kind_find(network);
    const struct hep_arch_component *component = hep_arch_component(hep_arch_find(arch), kind->component);
    json_t *json = json_loads(component->config, 0, NULL);
    union hep_any_config config;
    ck_assert_ptr_nonnull(json);
    ck_assert_msg(kind->read_config(json, component->name, &config, &error) == HEP_OK, "%s", error.message);
    json_decref(json);
    return config;
}

/* Published parameter counts: elements of all tensors of the released files. */
static const struct {
    const char *arch, *network;
    size_t tensors;
    uint64_t elements;
} published[] = {
    {"sd15", "unet", 686, 859520964},         {"sd21", "unet", 686, 865910724},
    {"sdxl", "unet", 1680, 2567463684},       {"sd15", "text_encoder", 196, 123060480},
    {"sd21", "text_encoder", 372, 340387840}, {"sdxl", "text_encoder_2", 517, 694659840},
    {"sd15", "vae_encoder", 108, 34163664},   {"sd15", "vae_decoder", 140, 49490199},
    {"sd15", "controlnet", 340, 361279120},
};

START_TEST(a_published_network_has_its_published_weights)
{
    union hep_any_config config = read_arch(published[_i].arch, published[_i].network);
    struct hep_graph *graph;
    struct hep_shape shape;
    size_t count = 0;
    uint64_t elements = 0;
    ck_assert_msg(hep_network_kind_graph(hep_network_kind_find(published[_i].network), &config,
                                         &(struct hep_network_size){1, 64, 64, 77}, (struct hep_stages){0},
                                         hep_no_weights(), &graph, &error) == HEP_OK,
                  "%s", error.message);
    for (; hep_graph_weight(graph, count, &shape); count++) {
        int64_t n;
        ck_assert(hep_shape_elements(&shape, &n));
        elements += (uint64_t)n;
    }
    ck_assert_uint_eq(count, published[_i].tensors);
    ck_assert_uint_eq(elements, published[_i].elements);
    hep_graph_destroy(graph);
}
END_TEST

START_TEST(attention_head_dim_holds_the_number_of_heads)
{
    union hep_any_config sd15 = read_arch("sd15", "unet"), sd21 = read_arch("sd21", "unet");
    ck_assert_int_eq(sd15.unet.attention_head_dim[0], 8);
    ck_assert_int_eq(sd15.unet.attention_head_dim[3], 8);
    ck_assert_int_eq(sd21.unet.attention_head_dim[0], 5);
    ck_assert_int_eq(sd21.unet.attention_head_dim[2], 20);
}
END_TEST

/* One key of a published config replaced; what must be refused, and with which words. */
static const struct {
    const char *network, *key, *value;
    enum hep_status code;
    const char *words[2];
} changes[] = {
    {"unet", "class_embed_type", "\"timestep\"", HEP_E_UNSUPPORTED, {"'class_embed_type'", "timestep"}},
    {"unet", "time_cond_proj_dim", "256", HEP_E_UNSUPPORTED, {"'time_cond_proj_dim'", "256"}},
    {"unet",
     "resnet_time_scale_shift",
     "\"scale_shift\"",
     HEP_E_UNSUPPORTED,
     {"'resnet_time_scale_shift'", "scale_shift"}},
    {"unet", "mid_block_type", "\"UNetMidBlock2D\"", HEP_E_UNSUPPORTED, {"'mid_block_type'", "UNetMidBlock2D"}},
    {"unet", "act_fn", "\"mish\"", HEP_E_UNSUPPORTED, {"'act_fn'", "mish"}},
    {"unet", "addition_embed_type", "\"image\"", HEP_E_UNSUPPORTED, {"'addition_embed_type'", "image"}},
    {"unet",
     "down_block_types",
     "[\"DownBlock2D\", \"DownBlock2D\", \"SkipDownBlock2D\", \"DownBlock2D\"]",
     HEP_E_UNSUPPORTED,
     {"'down_block_types'", "SkipDownBlock2D"}},
    {"unet", "down_block_types", "[\"DownBlock2D\"]", HEP_E_BAD_MODEL, {"'down_block_types'", "per level"}},
    {"unet",
     "transformer_layers_per_block",
     "[[1,2],1,1,1]",
     HEP_E_UNSUPPORTED,
     {"'transformer_layers_per_block'", "[1,2]"}},
    {"unet", "attention_head_dim", "7", HEP_E_BAD_MODEL, {"'attention_head_dim' 7", "320"}},
    {"unet", "norm_num_groups", "7", HEP_E_BAD_MODEL, {"'norm_num_groups' 7", "320"}},
    {"unet", "layers_per_block", "0", HEP_E_BAD_MODEL, {"'layers_per_block'", "0"}},
    {"unet", "layers_per_block", "\"2\"", HEP_E_BAD_MODEL, {"'layers_per_block'", "\"2\""}},
    {"unet", "block_out_channels", "[]", HEP_E_BAD_MODEL, {"'block_out_channels'", "[]"}},
    {"unet", "block_out_channels", "[320,640,1280,1280,1,1,1,1,1]", HEP_E_BAD_MODEL, {"'block_out_channels'", "1 … 8"}},
    {"unet", "norm_eps", "-1", HEP_E_BAD_MODEL, {"'norm_eps'", "-1"}},
    {"unet", "use_linear_projection", "1", HEP_E_BAD_MODEL, {"'use_linear_projection'", "true or false"}},
    {"controlnet", "controlnet_conditioning_channel_order", "\"bgr\"", HEP_E_UNSUPPORTED, {"channel_order'", "bgr"}},
    {"controlnet", "global_pool_conditions", "true", HEP_E_UNSUPPORTED, {"'global_pool_conditions'", "true"}},
    {"controlnet", "class_embed_type", "\"timestep\"", HEP_E_UNSUPPORTED, {"'class_embed_type'", "timestep"}},
    {"controlnet", "conditioning_channels", "0", HEP_E_BAD_MODEL, {"'conditioning_channels'", "0"}},
    {"controlnet", "conditioning_embedding_out_channels", "[]", HEP_E_BAD_MODEL, {"embedding_out_channels'", "[]"}},
    {"controlnet", "down_block_types", "[\"DownBlock2D\"]", HEP_E_BAD_MODEL, {"'down_block_types'", "per level"}},
    {"text_encoder", "hidden_act", "\"relu\"", HEP_E_UNSUPPORTED, {"'hidden_act'", "relu"}},
    {"text_encoder", "num_attention_heads", "7", HEP_E_BAD_MODEL, {"'num_attention_heads' 7", "768"}},
    {"vae_decoder", "act_fn", "\"gelu\"", HEP_E_UNSUPPORTED, {"'act_fn'", "gelu"}},
    {"vae_decoder", "latents_mean", "[0.1]", HEP_E_UNSUPPORTED, {"'latents_mean'", "0.1"}},
    {"vae_decoder",
     "up_block_types",
     "[\"UpDecoderBlock2D\",\"AttnUpDecoderBlock2D\",\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"]",
     HEP_E_UNSUPPORTED,
     {"'up_block_types'", "AttnUpDecoderBlock2D"}},
};

START_TEST(a_value_that_would_change_the_result_is_refused_by_name)
{
    const struct hep_network_kind *kind = hep_network_kind_find(changes[_i].network);
    json_t *json = json_loads(hep_arch_component(hep_arch_find("sd15"), kind->component)->config, 0, NULL);
    union hep_any_config config;
    json_object_set_new(json, changes[_i].key, json_loads(changes[_i].value, JSON_DECODE_ANY, NULL));
    enum hep_status status = kind->read_config(json, "x/config.json", &config, &error);
    ck_assert_msg(status == changes[_i].code, "%s: %s", hep_status_name(status), error.message);
    ck_assert_ptr_nonnull(strstr(error.message, "x/config.json"));
    for (int w = 0; w < 2; w++)
        ck_assert_msg(strstr(error.message, changes[_i].words[w]), "no \"%s\" in: %s", changes[_i].words[w],
                      error.message);
    json_decref(json);
}
END_TEST

START_TEST(keys_that_change_nothing_are_ignored)
{
    const struct hep_network_kind *kind = hep_network_kind_find("unet");
    json_t *json = json_loads(hep_arch_component(hep_arch_find("sd15"), "unet")->config, 0, NULL);
    union hep_any_config config;
    json_object_set_new(json, "dropout", json_real(0.1));
    json_object_set_new(json, "_diffusers_version", json_string("9"));
    json_object_set_new(json, "mid_block_scale_factor", json_real(1.0));
    json_object_set_new(json, "norm_eps", json_real(1e-5));
    ck_assert_msg(kind->read_config(json, "unet", &config, &error) == HEP_OK, "%s", error.message);
    json_decref(json);
}
END_TEST

/* A text encoder of the published shape, asked for what it cannot give. */
static enum hep_status build_clip(struct hep_clip_build build)
{
    union hep_any_config config = read_arch("sd15", "text_encoder");
    struct hep_graph *graph;
    ck_assert_int_eq(hep_graph_create("text_encoder", hep_no_weights(), &graph, &error), HEP_OK);
    hep_clip_build(graph, &config.clip, &build);
    enum hep_status status = hep_graph_finish(graph, &error);
    hep_graph_destroy(graph);
    return status;
}

START_TEST(clip_skip_counts_from_the_last_layer_and_has_a_range)
{
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 77, HEP_CLIP_CONTEXT, 1, false, {0}}), HEP_OK);
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 77, HEP_CLIP_CONTEXT, 13, false, {0}}), HEP_OK);
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 77, HEP_CLIP_CONTEXT, 14, false, {0}}), HEP_E_OUT_OF_RANGE);
    ck_assert_ptr_nonnull(strstr(error.message, "clip_skip 14"));
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 77, HEP_CLIP_CONTEXT, 0, false, {0}}), HEP_E_OUT_OF_RANGE);
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 78, HEP_CLIP_CONTEXT, 1, false, {0}}), HEP_E_OUT_OF_RANGE);
    ck_assert_int_eq(build_clip((struct hep_clip_build){1, 77, HEP_CLIP_TEXT_EMBEDS, 1, false, {0}}),
                     HEP_E_UNSUPPORTED);
}
END_TEST

/* ---- configurations that follow from the shapes of a single file ---- */

static const struct {
    const char *arch, *family, *component, *networks[2];
    int text_embeds;
} derived[] = {
    {"sd15", "sd1", "unet", {"unet"}, 0},
    {"sd15", "sd1", "vae", {"vae_encoder", "vae_decoder"}, 0},
    {"sd15", "sd1", "text_encoder", {"text_encoder"}, 0},
    {"sd21", "sd2", "unet", {"unet"}, 0},
    {"sd21", "sd2", "text_encoder", {"text_encoder"}, 0},
    {"sdxl", "sdxl", "unet", {"unet"}, 1280},
    {"sdxl", "sdxl", "vae", {"vae_encoder", "vae_decoder"}, 0},
    {"sdxl", "sdxl", "text_encoder", {"text_encoder"}, 0},
    {"sdxl", "sdxl", "text_encoder_2", {"text_encoder_2"}, 0},
};

/* The names and shapes of the published network's weights. */
static void add_shapes(struct hep_weight_table *table, const char *arch, const char *network)
{
    union hep_any_config config = read_arch(arch, network);
    struct hep_graph *graph;
    struct hep_weight weight = {0};
    ck_assert_int_eq(hep_network_kind_graph(hep_network_kind_find(network), &config,
                                            &(struct hep_network_size){1, 64, 64, 77}, (struct hep_stages){0},
                                            hep_no_weights(), &graph, &error),
                     HEP_OK);
    for (size_t i = 0; (weight.name = (char *)(uintptr_t)hep_graph_weight(graph, i, &weight.shape)); i++)
        ck_assert_int_eq(hep_weight_table_add(table, &weight, &error), HEP_OK);
    hep_graph_destroy(graph);
}

START_TEST(the_shapes_of_a_published_network_give_its_configuration)
{
    const struct hep_family *family = hep_family_find(derived[_i].family);
    const struct hep_network_kind *kind = hep_network_kind_find(derived[_i].networks[0]);
    const char *component = derived[_i].component;
    struct hep_weight_table table;
    union hep_any_config expected, got;
    json_t *config = NULL;
    hep_weight_table_init(&table, component);
    for (int i = 0; i < 2 && derived[_i].networks[i]; i++)
        add_shapes(&table, derived[_i].arch, derived[_i].networks[i]);
    ck_assert_int_eq(hep_weight_table_seal(&table, &error), HEP_OK);
    enum hep_status status = strcmp(component, "unet") == 0
                                 ? hep_family_unet_config(family, &table, derived[_i].text_embeds, &config, &error)
                             : strcmp(component, "vae") == 0 ? hep_family_vae_config(family, &table, &config, &error)
                                                             : hep_family_clip_config(family, &table, &config, &error);
    ck_assert_msg(status == HEP_OK, "%s", error.message);
    memset(&expected, 0, sizeof expected);
    memset(&got, 0, sizeof got);
    const struct hep_arch_component *published_one = hep_arch_component(hep_arch_find(derived[_i].arch), component);
    json_t *json = json_loads(published_one->config, 0, NULL);
    ck_assert_int_eq(kind->read_config(json, component, &expected, &error), HEP_OK);
    ck_assert_msg(kind->read_config(config, component, &got, &error) == HEP_OK, "%s", error.message);
    char *text = json_dumps(config, JSON_SORT_KEYS);
    ck_assert_msg(memcmp(&expected, &got, sizeof got) == 0, "%s of %s: %s", component, derived[_i].arch, text);
    free(text);
    json_decref(json);
    json_decref(config);
    hep_weight_table_clear(&table);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model configs");
    TCase *tcase = tcase_create("configs");
    tcase_add_loop_test(tcase, a_published_network_has_its_published_weights, 0, (int)HEP_COUNT_OF(published));
    tcase_add_test(tcase, attention_head_dim_holds_the_number_of_heads);
    tcase_add_loop_test(tcase, a_value_that_would_change_the_result_is_refused_by_name, 0, (int)HEP_COUNT_OF(changes));
    tcase_add_test(tcase, keys_that_change_nothing_are_ignored);
    tcase_add_loop_test(tcase, the_shapes_of_a_published_network_give_its_configuration, 0, (int)HEP_COUNT_OF(derived));
    tcase_add_test(tcase, clip_skip_counts_from_the_last_layer_and_has_a_range);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
