/* The rows of config.def as data, and the struct behind struct hep_config. Included by config*.c only. */
#ifndef HEP_SUPERVISOR_PROC_CONFIG_TABLE_H
#define HEP_SUPERVISOR_PROC_CONFIG_TABLE_H

#include "supervisor/proc/config.h"

enum hep_config_type {
    HEP_CONFIG_TEXT,
    HEP_CONFIG_NAME,
    HEP_CONFIG_PATH,
    HEP_CONFIG_PATHS,
    HEP_CONFIG_INT,
    HEP_CONFIG_SIZE,
    HEP_CONFIG_CHOICE,
    HEP_CONFIG_ADDRESS
};
enum hep_config_applies { HEP_CONFIG_RELOAD, HEP_CONFIG_DOMAIN, HEP_CONFIG_RESTART };

struct hep_config_row {
    const char *section, *key; /* "http", "port"                                                     */
    const char *name;          /* "http.port"                                                        */
    enum hep_config_type type;
    int64_t min, max;     /* numbers: the value; TEXT and NAME: bytes                            */
    const char *fallback; /* as it would stand in the file                                      */
    const char *unit;     /* CHOICE: "a|b|c"; else "" or the unit                                */
    enum hep_config_applies applies;
    const char *domains; /* who is started with it: "", "*", or prefixes separated by blanks    */
    const char *help;
};
extern const struct hep_config_row hep_config_rows[HEP_CONFIG_KEY_COUNT];

const char *hep_config_type_name(enum hep_config_type type);
const char *hep_config_applies_name(enum hep_config_applies applies);

struct hep_config {
    char *file;       /* "" = none                                               */
    char **overrides; /* "section.key=value"                                     */
    size_t override_count;
    struct hep_config_value {
        char *text;     /* NULL until given or defaulted                           */
        int64_t number; /* INT and SIZE                                            */
        int line;       /* of the file; 0 = not from there                         */
        int override;   /* 1 + index in overrides; 0 = not from there              */
    } values[HEP_CONFIG_KEY_COUNT];
    char instance[32];
    char *front_socket, *control_socket;
};

/* Parses text as the value of key and stores it; PATHS: append adds to what is there. Where it came from is the
   caller's to note. BAD_CONFIG, NO_MEMORY. */
enum hep_status hep_config_assign(struct hep_config *config, enum hep_config_key key, const char *text, bool append,
                                  struct hep_error *error);
/* Gives every key that has no value its default, resolves empty paths and checks what depends on several keys. */
enum hep_status hep_config_resolve(struct hep_config *config, struct hep_error *error);

#endif
