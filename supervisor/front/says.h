/*
 * Tables that describe what replies of several operations hold; each ends with HEP_END_OF_FIELDS. A test compares what
 * the engine says with them.
 */
#ifndef HEP_FRONT_SAYS_H
#define HEP_FRONT_SAYS_H

#include "common/operation.h"

extern const struct hep_field hep_session_error_says[]; /* one of a session's errors, or of a step's         */
extern const struct hep_field hep_problem_says[];       /* one of all that is wrong                          */
extern const struct hep_field hep_hand_says[];          /* an operation that a process has in hand           */
extern const struct hep_field hep_obituary_says[];      /* what is said of a dead process                    */
extern const struct hep_field hep_webhook_says[];       /* one that is not delivered                         */
extern const struct hep_field hep_file_says[];          /* a finished image                                  */
extern const struct hep_field hep_text_says[];          /* a text, as element of a list or member of a map   */
extern const struct hep_field hep_object_says[];        /* any object, as element of a list                  */
extern const char *const hep_domain_choices[];          /* names of the domains                              */
extern const char *const hep_session_choices[];         /* states of a session                               */

#endif
