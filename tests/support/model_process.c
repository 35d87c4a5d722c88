/* The folder, the process and the requests of the tests of heptad-model. */
#include "tests/support/model_process.h"

#include "common/wire.h"
#include "shm/segment.h"
#include "tests/support/check_status.h"

#include <string.h>
#include <unistd.h>

enum { COMMAND_MAX = 2048 };

char folder[64], instance[HEP_INSTANCE_NAME_MAX];

void model_setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(instance, sizeof instance, "mod-%d", (int)getpid());
}

__attribute__((format(printf, 1, 2))) void shell(const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

void model_teardown(void)
{
    struct hep_segment_sweep sweep;
    hep_segment_sweep(instance, NULL, NULL, &sweep, NULL);
    shell("rm -rf '%s'", folder);
}

struct domain_process *start(const char *budget)
{
    char paths[128], memory[64];
    const char *const arguments[] = {"--set", paths, "--set", "models.dtype=f32", "--set", memory, NULL};
    snprintf(paths, sizeof paths, "models.paths=%s", folder);
    snprintf(memory, sizeof memory, "models.memory_budget=%s", budget);
    return domain_start_stdio("model", instance, arguments);
}

json_t *load(struct domain_process *process, const char *model, const char *session)
{
    return domain_call(process, "load", "", false, json_pack("{s:s, s:s}", "model", model, "session", session));
}

int64_t field(struct domain_process *process, const char *name)
{
    json_t *status = domain_status(process);
    int64_t value = hep_json_int(json_object_get(status, "models"), name, -1);
    json_decref(status);
    return value;
}

static bool count_segment(const struct hep_segment_entry *entry, void *context)
{
    (void)entry;
    ++*(int *)context;
    return true;
}

int segments(void)
{
    int count = 0;
    ck_assert_ok(hep_segment_list(instance, count_segment, &count, error));
    return count;
}

enum hep_status try_load(struct domain_process *process, const char *model, struct hep_error *error)
{
    *error = (struct hep_error){0};
    return domain_ask(process, "load", "", false, json_pack("{s:s, s:s}", "model", model, "session", "s"), NULL, error);
}
