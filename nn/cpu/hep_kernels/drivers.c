/*
 * The problems that hep-kernels runs for each operator: tails around the tiles (tile - 1, tile, tile + 1, a prime), the
 * shapes that networks have, adversarial numbers; and the shapes that are timed.
 * To add an operator: its check_<op>() in a drivers_*.c, its rows here, its tolerances in tolerances.def.
 */
#include "nn/cpu/hep_kernels/check.h"

#include <string.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const attention_checks[] = {"b1h1q1k1d1",
                                               "b2h3q5k1d8",
                                               "b1h1q6k16d40",
                                               "b1h2q7k17d5",
                                               "b2h2q5k15d2",
                                               "b1h1q49k255d4",
                                               "b1h1q13k256d16",
                                               "b1h1q12k257d24",
                                               "b2h2q50k77d40",
                                               "b1h2q97k64d64",
                                               "b1h1q31k63d80",
                                               "b1h1q29k65d160",
                                               "b1h1q11k129d128",
                                               "b1h1q17k300d512",
                                               "b1h3q23k101d7",
                                               "b1h1q8k513d33",
                                               "b1h1q48k49d127",
                                               "b1h2q77k77d64causal1",
                                               "b2h2q5k5d8causal1",
                                               "b1h1q300k300d16causal1",
                                               "b1h1q1k1d3causal1",
                                               "b1h2q33k100d40:wide",
                                               "b1h1q20k70d64:wide",
                                               "b1h1q9k260d16:wide",
                                               "b1h1q9k33d20:constant",
                                               "b1h1q9k33d20:integers",
                                               "b1h1q70k70d10causal1:wide",
                                               NULL};
static const char *const attention_benches[] = {"b2h8q4096k4096d40",     "b2h8q1024k1024d80",  "b2h8q256k256d160",
                                                "b2h8q4096k77d40",       "b1h10q2048k2048d64", "b1h8q1024k1024d128",
                                                "b2h12q77k77d64causal1", "b1h1q1024k1024d512", NULL};

static const char *const group_norm_checks[] = {"n1p1c1g1",
                                                "n1p1c4g2",
                                                "n2p63c32g32",
                                                "n2p64c33g11",
                                                "n1p65c320g32",
                                                "n3p131c30g3",
                                                "n2p37c7g7",
                                                "n1p4099c8g4",
                                                "n1p9000c6g2",
                                                "n2p16c37g1",
                                                "n1p70c20g4:offset",
                                                "n1p300c32g32:offset",
                                                "n1p130c24g4:constant",
                                                "n1p40c31g1:wide",
                                                NULL};
static const char *const group_norm_benches[] = {"n2p4096c320g32", "n2p1024c640g32", "n2p64c1280g32",
                                                 "n1p262144c128g32", NULL};
static const char *const layer_norm_checks[] = {"r1c1",    "r2c2",          "r3c7",           "r5c8",       "r2c9",
                                                "r7c31",   "r2c32",         "r3c33",          "r2c63",      "r4c320",
                                                "r3c1283", "r4c100:offset", "r2c77:constant", "r5c40:wide", NULL};
static const char *const layer_norm_benches[] = {"r8192c320", "r2048c640", "r512c1280", "r154c768", NULL};

static const char *const map_checks[] = {
    "r1c1",      "r1c7",    "r1c8",    "r1c9",    "r1c15",           "r1c16",        "r3c17gap3", "r5c31gap1",
    "r2c64gap5", "r1c4096", "r3c4099", "r7c5000", "r4c101gap2:wide", "r9c1003:wide", NULL};
static const char *const map_benches[] = {"r8192c320", "r2048c2560", NULL};
static const char *const convert_checks[] = {
    "r1c1", "r1c7", "r1c8", "r1c17", "r3c31gap3", "r3c4099", "r5c211gap1:edges", "r2c1001:edges", "r2c300:wide", NULL};
static const char *const add_checks[] = {"r1c1",
                                         "r1c15",
                                         "r3c17gap2",
                                         "r5c4001",
                                         "r6c33brows3",
                                         "r6c31gap1brows3",
                                         "r12c19brows4repeat3",
                                         "r2c9brows1repeat2",
                                         "r30c8brows2repeat15",
                                         NULL};
static const char *const add_benches[] = {"r8192c320", "r8192c320brows2repeat4096", NULL};

/* Every operator of kernels.def, or the link fails or a row is not found. */
static const struct driver drivers[] = {
    {"attention", check_attention, attention_checks, attention_benches},
    {"group_norm", check_group_norm, group_norm_checks, group_norm_benches},
    {"group_norm_silu", check_group_norm_silu, group_norm_checks, group_norm_benches},
    {"layer_norm", check_layer_norm, layer_norm_checks, layer_norm_benches},
    {"silu", check_silu, map_checks, map_benches},
    {"quick_gelu", check_quick_gelu, map_checks, map_benches},
    {"gelu", check_gelu, map_checks, map_benches},
    {"relu", check_relu, map_checks, map_benches},
    {"leaky_relu", check_leaky_relu, map_checks, map_benches},
    {"geglu", check_geglu, map_checks, map_benches},
    {"scale", check_scale, map_checks, map_benches},
    {"copy", check_copy, map_checks, map_benches},
    {"to_f32", check_to_f32, convert_checks, map_benches},
    {"from_f32", check_from_f32, convert_checks, map_benches},
    {"add", check_add, add_checks, add_benches},
    {"resize", check_resize,
     LIST("n1h1w1oh1ow1c1", "n2h3w4oh6ow8c5", "n1h5w3oh9ow5c7gap2", "n2h4w4oh7ow9c3", "n1h8w6oh5ow4c2"),
     LIST("n2h32w32oh64ow64c640")},
    {"pad", check_pad, LIST("n1h1w1c1", "n2h3w5c4bottom1right1", "n1h4w2c3top1left2", "n2h2w3c5top1left1bottom2right1"),
     LIST("n1h512w512c128bottom1right1")},
    {"transpose", check_transpose, LIST("n1r1c1", "n2r3c35", "n1r16c16", "n2r17c15", "n1r4c1025", "n3r100c3"),
     LIST("n2r4c4096", "n1r262144c3")},
    {"embedding", check_embedding, LIST("n1c1rows1", "n77c33rows50", "n5c64rows3"), LIST("n154c768rows49408")},
    {"pool_eos", check_pool_eos, LIST("n1t1c1", "n5t12c7", "n9t11c5eos3", "n4t2c3eos8"), LIST("n2t77c768")},
    {"timestep", check_timestep, LIST("n1c2", "n3c320flip1", "n2c256flip1shift1", "n5c34", "n2c10shift1"),
     LIST("n2c320flip1")},
    {"update", check_update, LIST("n1s1", "n1023s1noise1", "n1025s2", "n4099s3noise1", "n20000s5", "n100s8noise1"),
     LIST("n16384s3noise1")},
    {"guidance", check_guidance, LIST("n1", "n1024", "n1025", "n40001"), LIST("n16384")},
};

const struct driver *driver_of(const char *op)
{
    for (size_t i = 0; i < HEP_COUNT_OF(drivers); i++)
        if (strcmp(drivers[i].op, op) == 0)
            return &drivers[i];
    return NULL;
}
