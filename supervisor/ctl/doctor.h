/* Inside `heptctl doctor`: a check looks at one thing and says what it found. */
#ifndef HEP_SUPERVISOR_CTL_DOCTOR_H
#define HEP_SUPERVISOR_CTL_DOCTOR_H

#include "supervisor/ctl/ctl.h"
#include "supervisor/proc/config.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_finding {
    enum doctor_level level;
    char text[320]; /* what was found                                    */
    char todo[320]; /* what a person can do; "" = nothing is to be done  */
};

/* What the checks know beforehand. */
struct doctor {
    struct ctl *ctl;
    struct hep_config *config; /* NULL: it is wrong, see config_error                       */
    struct hep_error config_error;
    json_t *running; /* config.get of the daemon that runs: config, file, waiting; NULL: it does not say */
    json_t *status;  /* of the daemon; NULL: it does not answer, see status_error */
    struct hep_error status_error;
};

__attribute__((format(printf, 3, 4))) void doctor_say(struct doctor_finding *finding, enum doctor_level level,
                                                      const char *format, ...);
__attribute__((format(printf, 2, 3))) void doctor_todo(struct doctor_finding *finding, const char *format, ...);

/* The value of a key as the daemon that runs has it, else as it would be configured; "" = not known. */
const char *doctor_setting(const struct doctor *doctor, enum hep_config_key key);

/* One thing to look at. Starts with the level OK and no text. */
typedef void doctor_check(const struct doctor *doctor, struct doctor_finding *finding);
/* doctor_machine.c */
doctor_check doctor_processor, doctor_memory, doctor_shared_memory, doctor_huge_pages, doctor_limits, doctor_packets,
    doctor_confinement, doctor_clock;
/* doctor_instance.c */
doctor_check doctor_daemon, doctor_configuration, doctor_programs, doctor_state_folder, doctor_disk, doctor_images,
    doctor_segments;

#endif
