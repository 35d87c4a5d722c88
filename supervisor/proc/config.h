/*
 * The configuration: one table (config.def), one file (INI), overrides from the command line. A wrong key or value is
 * BAD_CONFIG with file, line and hint; a value that is not given has its default, and paths that are empty in the file
 * are resolved against the state folder and the place of heptad's own binary. Values are constant between reloads.
 */
#ifndef HEP_SUPERVISOR_PROC_CONFIG_H
#define HEP_SUPERVISOR_PROC_CONFIG_H

#include "common/roles.h"
#include "common/status.h"

#include <jansson.h>

enum hep_config_key {
#define HEP_CONFIG(id, section, key, type, min, max, fallback, unit, applies, domains, help) HEP_CONFIG_##id,
#include "supervisor/proc/config.def"
#undef HEP_CONFIG
    HEP_CONFIG_KEY_COUNT
};

struct hep_config;

/* file: NULL for none (defaults), else it must exist. overrides: "section.key=value" texts that win over the file (the
   command line's --set), borrowed during the call. Errors: BAD_CONFIG, NO_MEMORY. Touches nothing but the file. */
enum hep_status hep_config_create(const char *file, const char *const *overrides, size_t override_count,
                                  struct hep_config **config, struct hep_error *error);
void hep_config_destroy(struct hep_config *config);
/* Looks at what the values name: folders that must be there or that can be made, files that can be written, the token
   of an address that others reach, programs, the group. BAD_CONFIG that begins with "FILE:LINE: key: ", "--set key: "
   or, for a default, "key: ". Changes nothing on the disk. */
enum hep_status hep_config_validate(const struct hep_config *config, struct hep_error *error);
/* Reads file and overrides again and validates them. On success the RELOAD and DOMAIN keys have their new values,
   RESTART keys keep the old ones; changed (may be NULL) gets a new array of {key, from, to, waits_for}: waits_for is ""
   if it is in force now, "heptad", or whose next start it waits for: "*" any domain, else their prefixes separated by
   blanks. On failure config is as before. */
enum hep_status hep_config_reload(struct hep_config *config, json_t **changed, struct hep_error *error);

/* Sets a key while the daemon runs, as if --set had said so: reloads keep it. The caller sees to its effect.
   BAD_CONFIG: no such key, or a value that it cannot have; NO_MEMORY; config is as before then. */
enum hep_status hep_config_set(struct hep_config *config, const char *name, const char *text, struct hep_error *error);

/* The value as text (resolved paths, canonical numbers); valid until the next reload. Never NULL. */
const char *hep_config_text(const struct hep_config *config, enum hep_config_key key);
/* The value of an INT or SIZE key. */
int64_t hep_config_int(const struct hep_config *config, enum hep_config_key key);
/* "http.port" */
const char *hep_config_key_name(enum hep_config_key key);
/* True if a reload applies it at once. */
bool hep_config_is_live(enum hep_config_key key);
/* True if a process of this role is started with `--set key=value`. */
bool hep_config_is_for(enum hep_config_key key, enum hep_role role);
/* {"http.port": 7780, …}, for config.get; NULL when out of memory. */
json_t *hep_config_to_json(const struct hep_config *config);

/* What follows from the values. Valid until the config is destroyed. */
const char *hep_config_file(const struct hep_config *config);         /* "" = none was read                        */
const char *hep_config_instance(const struct hep_config *config);     /* <name>-<8 hex digits>: --instance, segments */
const char *hep_config_front_socket(const struct hep_config *config); /* <runtime_dir>/front.sock                  */
const char *hep_config_control_socket(const struct hep_config *config); /* <runtime_dir>/control.sock                */

/* The table as a commented sample (etc/heptad.conf) and as a page (docs/configuration.md); malloc'ed, NULL = no memory.
 */
char *hep_config_sample(void);
char *hep_config_markdown(void);

/* For the parser's fuzz target: as create, from text. */
enum hep_status hep_config_parse(const char *text, size_t bytes, const char *file_name, struct hep_config **config,
                                 struct hep_error *error);

#endif
