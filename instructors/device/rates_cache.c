/*
 * Keeps measured rates in a folder of the state folder, as JSON that a person can read. Called around rates.c. A file
 * that is missing, damaged or of another machine costs a measurement, nothing else.
 */
#include "instructors/device/rates.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 2, FILE_BYTES_MAX = 64 << 10 };
#define FILE_NAME "device-rates.json"

const char *device_rates_key(const char *model, const char *isa, int threads, const char *build,
                             char key[DEVICE_RATES_KEY_MAX])
{
    snprintf(key, DEVICE_RATES_KEY_MAX, "%s/%s/%d/%s", model, isa, threads, build);
    return key;
}

static enum hep_status file_path(const char *state_dir, const char *suffix, char path[HEP_PATH_MAX],
                                 struct hep_error *error)
{
    if ((size_t)snprintf(path, HEP_PATH_MAX, "%s/" FILE_NAME "%s", state_dir, suffix) >= HEP_PATH_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "the path of the state folder is too long");
    return HEP_OK;
}

static bool decode_per_dtype(json_t *object, double numbers[HEP_DTYPE_COUNT])
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        enum hep_dtype dtype = hep_dtype_from_name(name);
        double number = json_number_value(value);
        if (dtype == HEP_DTYPE_UNDEF || !json_is_number(value) || !isfinite(number) || number < 0)
            return false;
        numbers[dtype] = number;
    }
    return json_is_object(object);
}

static bool decode(json_t *json, const char **key, struct device_rates *rates)
{
    json_t *gflops, *spread;
    int format, settled;
    if (json_unpack(json, "{s:i, s:s, s:o, s:o, s:F, s:i, s:b}", "format", &format, "key", key, "gflops", &gflops,
                    "spread", &spread, "measured_ms", &rates->measured_ms, "measurements", &rates->measurements,
                    "settled", &settled) != 0 ||
        format != FORMAT || rates->measurements < 1)
        return false;
    rates->settled = settled != 0;
    return decode_per_dtype(gflops, rates->gflops) && decode_per_dtype(spread, rates->spread) &&
           rates->gflops[HEP_F32] > 0;
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = calloc(1, FILE_BYTES_MAX + 1);
    if (text && fread(text, 1, FILE_BYTES_MAX, file) == 0)
        text[0] = '\0';
    fclose(file);
    return text;
}

enum hep_status device_rates_load(const char *state_dir, const char *key, struct device_rates *rates,
                                  struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    HEP_TRY(file_path(state_dir, "", path, error));
    char *text = read_text(path);
    if (!text)
        return hep_fail(error, HEP_E_NOT_FOUND, "no rates are stored in %s", path);
    struct device_rates read = {.measurements = 0};
    const char *stored_key;
    enum hep_status status = HEP_OK;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    if (!json || !decode(json, &stored_key, &read))
        status = hep_fail(error, HEP_E_BAD_FILE, "%s is damaged", path);
    else if (strcmp(stored_key, key) != 0)
        status = hep_fail(error, HEP_E_NOT_FOUND, "%s has the rates of another machine or build", path);
    else
        *rates = read;
    json_decref(json);
    return status;
}

static json_t *encode(const char *key, const struct device_rates *rates)
{
    json_t *gflops = json_object(), *spread = json_object();
    for (int i = 1; i < HEP_DTYPE_COUNT; i++) {
        if (rates->gflops[i] <= 0)
            continue;
        json_object_set_new(gflops, hep_dtype_name((enum hep_dtype)i), json_real(rates->gflops[i]));
        json_object_set_new(spread, hep_dtype_name((enum hep_dtype)i), json_real(rates->spread[i]));
    }
    return json_pack("{s:i, s:s, s:o, s:o, s:f, s:i, s:b}", "format", FORMAT, "key", key, "gflops", gflops, "spread",
                     spread, "measured_ms", rates->measured_ms, "measurements", rates->measurements, "settled",
                     rates->settled);
}

/* text into a new file at path, on the disk when it returns. */
static int write_whole(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    size_t length = strlen(text);
    int reason = 0;
    while (length > 0 && reason == 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0)
            reason = errno == EINTR ? 0 : errno;
        else {
            text += written;
            length -= (size_t)written;
        }
    }
    if (reason == 0 && fsync(fd) != 0)
        reason = errno;
    if (close(fd) != 0 && reason == 0)
        reason = errno;
    return reason;
}

enum hep_status device_rates_store(const char *state_dir, const char *key, const struct device_rates *rates,
                                   struct hep_error *error)
{
    char path[HEP_PATH_MAX], temporary[HEP_PATH_MAX];
    HEP_TRY(file_path(state_dir, "", path, error));
    HEP_TRY(file_path(state_dir, ".new", temporary, error));
    json_t *json = encode(key, rates);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to write %s", path);
    int reason = write_whole(temporary, text);
    free(text);
    if (reason == 0 && rename(temporary, path) != 0)
        reason = errno;
    if (reason != 0) {
        unlink(temporary);
        return hep_fail_errno(error, reason, "writing %s", path);
    }
    return HEP_OK;
}
