/* What hep-eval can do besides running networks. Each takes the words after its name; exit codes as hep_status_exit. */
#ifndef HEP_INSTRUCTORS_EVAL_VERBS_H
#define HEP_INSTRUCTORS_EVAL_VERBS_H

#include "common/status.h"

struct eval_verb {
    const char *name;
    const char *usage;
    /* argv[0] is the verb. BAD_FIELD: the words are wrong. */
    enum hep_status (*run)(int argc, char **argv, struct hep_error *error);
};

/* NULL past the end. To add a verb: a row in verbs.c and its function. */
const struct eval_verb *eval_verb_at(size_t index);

enum hep_status eval_scheduler(int argc, char **argv, struct hep_error *error);
enum hep_status eval_tokenize(int argc, char **argv, struct hep_error *error);

#endif
