/* The operation `open`: an input to a tensor. Its row is in ops.c. */
#include "instructors/postprocessing/open_ops.h"

#include "common/crash_point.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/postprocessing/open.h"
#include "instructors/postprocessing/state.h"
#include "instructors/skeleton/instructor.h"

#include <string.h>

const struct hep_field open_fields[OPEN_FIELDS] = {
    HEP_FIELD(STR, open_request, input, REQUIRED, .min = 64, .max = 64,
              .help = "name of a file that a client gave (input.put): its SHA-256"),
    HEP_FIELD(STR, open_request, as, DEFAULTED, .fallback_text = "image", .choices = open_kind_names,
              .help = "image: RGB, on white where it is transparent; mask: its grey; alpha: its alpha"),
    HEP_FIELD(I32, open_request, width, OPTIONAL, .max = HEP_IMAGE_SIDE_MAX, .help = "pixels; 0 = the file's own"),
    HEP_FIELD(I32, open_request, height, OPTIONAL, .max = HEP_IMAGE_SIDE_MAX, .help = "pixels; 0 = the file's own"),
    HEP_FIELD(STR, open_request, resize, DEFAULTED, .fallback_text = "crop", .choices = fit_mode_names,
              .help = "another shape: stretch each side, crop what stands out, fill what is missing with its edge"),
    HEP_FIELD(BOOL, open_request, invert, OPTIONAL, .help = "mask, alpha: white for black"),
    HEP_FIELD(F64, open_request, blur, OPTIONAL, .max = 256, .help = "mask, alpha: sigma in the file's pixels"),
    HEP_FIELD(STR, open_request, format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
              .help = "of the files that the image is for; for png16 one of 16 bits is f32, every other u8"),
    HEP_FIELD(REF, open_request, image, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [1, height, width, 3], of a mask [1, height, width, 1]; u8, or f32 in levels of 255"),
};
const struct hep_field open_reply_fields[OPEN_REPLY_FIELDS] = {
    HEP_FIELD(I32, open_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, open_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, open_reply, source_width, REQUIRED, .help = "of the file, pixels"),
    HEP_FIELD(I32, open_reply, source_height, REQUIRED, .help = "of the file, pixels"),
    HEP_FIELD(STR, open_reply, format, REQUIRED, .help = "of the file: png, jpeg, webp"),
    HEP_FIELD(I32, open_reply, bits, REQUIRED, .help = "of a value in the file: 8 or 16"),
};

/* Index of one of a field's choices. */
static int choice(const char *const *names, struct hep_str text)
{
    int index = 0;
    while (strcmp(names[index], text.data) != 0)
        index++;
    return index;
}

static struct open_wish wish_of(const struct open_request *request)
{
    return (struct open_wish){.kind = (enum open_kind)choice(open_kind_names, request->as),
                              .width = request->width,
                              .height = request->height,
                              .mode = (enum fit_mode)choice(fit_mode_names, request->resize),
                              .invert = request->invert,
                              .blur = request->blur,
                              .deep = image_format_is_deep(request->format.data)};
}

static enum hep_status load(struct hep_call *call, const struct open_request *request, struct open_file *file,
                            struct hep_error *error)
{
    return open_file_load(hep_instructor_state_dir(hep_call_instructor(call)), request->input.data, file, error);
}

enum hep_status open_measure(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                             struct hep_error *error)
{
    const struct open_request *request = request_;
    const struct open_wish wish = wish_of(request);
    struct open_file file;
    HEP_TRY(load(call, request, &file, error));
    hep_output_add(outputs, "image", open_dtype(&file, &wish), open_shape(&file, &wish));
    enum hep_status status = open_memory(&file, &wish, &outputs->memory_bytes, error);
    open_file_clear(&file);
    return status;
}

static enum hep_status run(struct hep_call *call, const struct open_request *request, const struct open_file *file,
                           struct open_reply *reply, struct hep_error *error)
{
    const struct open_wish wish = wish_of(request);
    struct hep_tensor image = hep_call_map(call, &request->image);
    struct hep_shape wanted = open_shape(file, &wish);
    if (!hep_shape_equal(&image.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image", "image does not have the shape that this input has");
    HEP_TRY(levels_check_same("image", open_dtype(file, &wish), image.dtype, error));
    HEP_TRY(open_run(file, &wish, image.data, error));
    HEP_CRASH_POINT("postprocessing.input_opened");
    *reply = (struct open_reply){.width = (int32_t)wanted.dims[2],
                                 .height = (int32_t)wanted.dims[1],
                                 .source_width = file->about.width,
                                 .source_height = file->about.height,
                                 .format = hep_str_of(image_format_name(file->about.format)),
                                 .bits = file->about.bits};
    return HEP_OK;
}

enum hep_status open_input(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct open_file file;
    HEP_TRY(load(call, request, &file, error));
    enum hep_status status = run(call, request, &file, reply, error);
    open_file_clear(&file);
    return status;
}
