/*
 * All that is wrong with something, not only the first of it: a JSON array of {code, message, hint, severity, step?,
 * field?}, in the order in which a person would mend it. What has the severity "warning" keeps nothing from being
 * accepted.
 */
#ifndef HEP_SUPERVISOR_ENGINE_PROBLEM_H
#define HEP_SUPERVISOR_ENGINE_PROBLEM_H

#include "common/status.h"

#include <jansson.h>

/* Appends one (printf). step: id of the workflow step that it is about, field: what is to be changed; "" = none. */
__attribute__((format(printf, 5, 6))) void hep_problem_add(json_t *problems, const char *step, const char *field,
                                                           enum hep_status code, const char *format, ...);
/* Appends an error as it is. */
void hep_problem_add_error(json_t *problems, const char *step, const struct hep_error *error);
/* Appends it unless its code is OK; *first becomes the code of the first, and error (may be NULL) keeps the first. */
void hep_problem_note(const struct hep_error *problem, enum hep_status *first, json_t *problems,
                      struct hep_error *error);
/* Appends it as a warning. */
void hep_problem_add_warning(json_t *problems, const char *step, const struct hep_error *error);
/* Whether there is more than warnings. */
bool hep_problems_have_error(const json_t *problems);
/* The first one as an error: its code, message, hint and field; how many more there are stands in the message. Returns
   its code, HEP_OK if there is none. */
enum hep_status hep_problem_first(const json_t *problems, struct hep_error *error);
/* Message of number index; "" if there is none. */
const char *hep_problem_text(const json_t *problems, size_t index);
/* For a problem's text: appends a name to the list (a string, "" at first) of what there is. One that does not fit is
   left out, and the list says so. */
void hep_problem_list(char *list, size_t size, const char *name);

#endif
