/* The table of families and what tells them apart; called by checkpoint.c. It reads one weight's values, for SD 2.x. */
#include "nn/weights/control_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BETAS                                                                                                          \
    "\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\","                              \
    " \"num_train_timesteps\": 1000, \"clip_sample\": false, \"set_alpha_to_one\": false, \"steps_offset\": 1,"        \
    " \"skip_prk_steps\": true, \"prediction_type\": \"epsilon\""
#define EULER                                                                                                          \
    "{\"_class_name\": \"EulerDiscreteScheduler\", \"interpolation_type\": \"linear\","                                \
    " \"timestep_spacing\": \"leading\", \"use_karras_sigmas\": false, " BETAS "}"
#define END_TOKEN "<|endoftext|>"

/* To add a family: a row; its keys in ldm_keys.c. */
static const struct hep_family families[] = {
    {.name = "sd1",
     .mark = "cond_stage_model.transformer.",
     .pipeline = "StableDiffusionPipeline",
     .encoders = {"text_encoder CLIPTextModel", NULL},
     .pads = {END_TOKEN, NULL},
     .scheduler = "{\"_class_name\": \"PNDMScheduler\", " BETAS "}",
     .heads = 8,
     .sample_size = 64,
     .scaling_factor = 0.18215},
    {.name = "sd2",
     .mark = "cond_stage_model.model.",
     .pipeline = "StableDiffusionPipeline",
     .encoders = {"text_encoder CLIPTextModel", NULL},
     .pads = {"!", NULL},
     .scheduler = "{\"_class_name\": \"DDIMScheduler\", " BETAS "}",
     .sample_size = 64,
     .sample_size_v = 96,
     .last_block_unused = true,
     .scaling_factor = 0.18215},
    {.name = "sdxl",
     .mark = "conditioner.embedders.1.model.",
     .pipeline = "StableDiffusionXLPipeline",
     .encoders = {"text_encoder CLIPTextModel", "text_encoder_2 CLIPTextModelWithProjection"},
     .pads = {END_TOKEN, "!"},
     .scheduler = EULER,
     .sample_size = 128,
     .time_ids = 6,
     .zeros_for_empty = true,
     .scaling_factor = 0.13025},
    {.name = "sdxl_refiner",
     .mark = "conditioner.embedders.0.model.",
     .pipeline = "StableDiffusionXLImg2ImgPipeline",
     .encoders = {NULL, "text_encoder_2 CLIPTextModelWithProjection"},
     .pads = {NULL, "!"},
     .scheduler = EULER,
     .sample_size = 128,
     .time_ids = 5,
     .scaling_factor = 0.13025},
};

/* Files that are no whole model of a family. To add one: a row; the first that fits is told. */
static const struct other_row {
    const char *mark; /* beginning of a key */
    enum hep_model_kind kind;
    const char *what, *hint;
} other_rows[] = {
    {"scaled_fp8", HEP_MODEL_CHECKPOINT, "fp8 weights with scales of their own",
     "use a file of fp16, bf16 or plain fp8"},
    {"model.diffusion_model.joint_blocks.", HEP_MODEL_CHECKPOINT, "Stable Diffusion 3", HEP_FAMILY_HINT},
    {"joint_blocks.", HEP_MODEL_CHECKPOINT, "Stable Diffusion 3", HEP_FAMILY_HINT},
    {"model.diffusion_model.double_blocks.", HEP_MODEL_CHECKPOINT, "Flux", HEP_FAMILY_HINT},
    {"double_blocks.", HEP_MODEL_CHECKPOINT, "Flux", HEP_FAMILY_HINT},
    {"control_model.", HEP_MODEL_CONTROLNET, "a ControlNet", "put it into a folder controlnet"},
    {"controlnet_cond_embedding.", HEP_MODEL_CONTROLNET, "a ControlNet", "put it into a folder controlnet"},
    {"input_hint_block.", HEP_MODEL_CONTROLNET, "a ControlNet", "put it into a folder controlnet"},
    {"lora_unet_", HEP_MODEL_LORA, "a LoRA", "put it into a folder loras"},
    {"lora_te", HEP_MODEL_LORA, "a LoRA", "put it into a folder loras"},
    {"unet.", HEP_MODEL_LORA, "a LoRA", "put it into a folder loras"},
    {"text_encoder.", HEP_MODEL_LORA, "a LoRA", "put it into a folder loras"},
    {"emb_params", HEP_MODEL_EMBEDDING, "a textual inversion", "put it into a folder embeddings"},
    {"clip_l", HEP_MODEL_EMBEDDING, "a textual inversion", "put it into a folder embeddings"},
    {"conv_first.", HEP_MODEL_UPSCALER, "an upscaler", "put it into a folder upscale_models"},
    {"model.0.weight", HEP_MODEL_UPSCALER, "an upscaler", "put it into a folder upscale_models"},
    {"model.diffusion_model.", HEP_MODEL_CHECKPOINT, "a UNet without its text encoders", "use the whole model's file"},
    {"decoder.mid", HEP_MODEL_VAE, "a VAE", "put it into a folder vae"},
    {"first_stage_model.decoder.mid", HEP_MODEL_VAE, "a VAE", "put it into a folder vae"},
    {"input_blocks.", HEP_MODEL_CHECKPOINT, "a UNet without its text encoders", "use the whole model's file"},
    {"down_blocks.", HEP_MODEL_CHECKPOINT, "one network of a diffusers folder", "fetch the folder as a whole"},
};

const struct hep_family *hep_family_find(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(families); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

static bool has_key(const struct hep_safetensors *file, const char *mark)
{
    size_t length = strlen(mark);
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        if (strncmp(hep_safetensors_at(file, i)->name, mark, length) == 0)
            return true;
    return false;
}

enum hep_status hep_family_recognise(const struct hep_safetensors *file, const struct hep_family **family,
                                     enum hep_model_kind *kind, struct hep_error *error)
{
    const char *name = hep_safetensors_name(file);
    bool has_unet = has_key(file, "model.diffusion_model.input_blocks."), is_scaled = has_key(file, "scaled_fp8");
    *kind = HEP_MODEL_CHECKPOINT;
    for (size_t i = 0; has_unet && !is_scaled && i < HEP_COUNT_OF(families); i++)
        if (has_key(file, families[i].mark)) {
            *family = &families[i];
            return HEP_OK;
        }
    const struct hep_control_other *control = hep_control_other(file);
    if (control) {
        *kind = HEP_MODEL_CONTROLNET;
        return hep_control_refuse(file, control, error);
    }
    for (size_t i = 0; i < HEP_COUNT_OF(other_rows); i++)
        if (has_key(file, other_rows[i].mark)) {
            *kind = other_rows[i].kind;
            hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is %s", name, other_rows[i].what);
            return hep_hint(error, "%s", other_rows[i].hint), HEP_E_UNSUPPORTED;
        }
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' has no keys of a model that is known here", name);
    return hep_hint(error, "%s", HEP_FAMILY_HINT), HEP_E_UNSUPPORTED;
}

/* ---- the diffusion scheduler ---- */

/* Standard deviation of the weight, or -1. */
static double spread(const struct hep_weight_table *table, const char *name)
{
    enum { MOST = 1 << 16 };
    const struct hep_weight *weight = hep_weight_table_find(table, name);
    int64_t count = 0;
    if (!weight || !hep_shape_elements(&weight->shape, &count) || count < 1 || count > MOST)
        return -1;
    float *values = malloc((size_t)count * sizeof *values);
    double sum = 0, squares = 0;
    bool read = values && table->source.ops->read_f32(&table->source, name, values, count, NULL) == HEP_OK;
    for (int64_t i = 0; read && i < count; i++)
        sum += (double)values[i];
    for (int64_t i = 0; read && i < count; i++)
        squares += ((double)values[i] - sum / (double)count) * ((double)values[i] - sum / (double)count);
    free(values);
    return read ? sqrt(squares / (double)count) : -1;
}

/* The published SD 2.x models of 768 pixels predict v; the spread of this bias tells them from those of 512, as ComfyUI
   found (supported_models.py, SD20.model_type). Inpainting models predict noise. */
static bool sd2_predicts_v(const struct hep_weight_table *unet)
{
    static const char bias[] = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
    const struct hep_weight *in = hep_weight_table_find(unet, "conv_in.weight");
    double deviation = spread(unet, bias);
    if (in && in->shape.rank == 4 && in->shape.dims[1] != 4)
        return false;
    return deviation < 0 || deviation > 0.09;
}

static bool predicts_v(const struct hep_family *family, const struct hep_safetensors *file,
                       const struct hep_weight_table *unet)
{
    const char *type = hep_safetensors_metadata(file, "modelspec.prediction_type"),
               *architecture = hep_safetensors_metadata(file, "modelspec.architecture");
    if (hep_safetensors_find(file, "v_pred"))
        return true;
    if (type)
        return type[0] == 'v';
    if (architecture && strncmp(architecture, "stable-diffusion-v2-768-v", 25) == 0)
        return true;
    return family->last_block_unused && sd2_predicts_v(unet);
}

json_t *hep_family_scheduler(const struct hep_family *family, const struct hep_safetensors *file,
                             const struct hep_weight_table *unet)
{
    json_t *config = json_loads(family->scheduler, 0, NULL);
    if (config && predicts_v(family, file, unet))
        json_object_set_new(config, "prediction_type", json_string("v_prediction"));
    if (config && hep_safetensors_find(file, "ztsnr")) {
        json_object_set_new(config, "rescale_betas_zero_snr", json_true());
        json_object_set_new(config, "timestep_spacing", json_string("trailing"));
    }
    return config;
}
