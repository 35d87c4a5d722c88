/*
 * When an instructor is confined, and what it says about it. Called by main.c: once before any thread exists, once more
 * before READY. A process that is started without the setting domains.confine, as by hand, is as free as its shell.
 */
#include "instructors/skeleton/internal.h"

#include <fcntl.h>

static const char *setting(const void *self, const char *key)
{
    return hep_instructor_setting(self, key);
}

enum hep_status confinement_begin(struct hep_instructor *self, struct hep_error *error)
{
    struct hep_confine_order order = {.role = self->spec->role,
                                      .socket = self->options.socket,
                                      .state_dir = self->options.state_dir,
                                      .setting = setting,
                                      .context = self};
    const char *mode = hep_instructor_setting(self, "domains.confine");
    self->memory_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC); /* read each second; no path leads to it later */
    if (mode && !hep_confine_mode_from_name(mode, &order.mode))
        return hep_fail(error, HEP_E_BAD_CONFIG, "domains.confine is \"%.20s\", not on, off or log", mode);
    return hep_confine(&order, &self->confinement, error);
}

enum hep_status confinement_serve(struct hep_instructor *self, struct hep_error *error)
{
    return hep_confine_serve(self->spec->role, &self->confinement, error);
}

json_t *confinement_json(const struct hep_instructor *self)
{
    const struct hep_confinement *confinement = &self->confinement;
    return json_pack("{s:s, s:b, s:i, s:b}", "mode", hep_confine_mode_name(confinement->mode), "seccomp",
                     confinement->seccomp, "landlock_abi", confinement->landlock_abi, "no_new_privs",
                     confinement->no_new_privs);
}
