/* heptad-model as a process over a folder of models below /tmp: what its tests share. Every failure ends the test. */
#ifndef HEP_TESTS_MODEL_PROCESS_H
#define HEP_TESTS_MODEL_PROCESS_H

#include "shm/names.h"
#include "tests/support/domain_process.h"

extern char folder[64], instance[HEP_INSTANCE_NAME_MAX];

/* A fixture: makes the folder and names the instance; removes it and all segments of the instance. */
void model_setup(void);
void model_teardown(void);
/* A command for sh, which must succeed. */
__attribute__((format(printf, 1, 2))) void shell(const char *format, ...);
/* The process with models.paths=folder, to compute in f32; budget: of its memory, "0" for the usual one. */
struct domain_process *start(const char *budget);
/* model.load, which must succeed: its reply. */
json_t *load(struct domain_process *process, const char *model, const char *session);
enum hep_status try_load(struct domain_process *process, const char *model, struct hep_error *error);
/* A number of get_status's "models". */
int64_t field(struct domain_process *process, const char *name);
/* Segments of the instance that there are. */
int segments(void);

#endif
