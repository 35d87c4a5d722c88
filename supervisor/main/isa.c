/* compute.isa reaches the domains as the environment variable HEP_ISA, which every process inherits. Called at the
   start and by device.optimize, on the loop thread. */
#include "supervisor/main/isa.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "HEP_ISA"

enum hep_status hep_isa_choose(const char *level, struct hep_error *error)
{
    static char *inherited; /* as heptad was started with it; kept for the process's life */
    static bool asked;
    const char *now = getenv(VARIABLE);
    if (!asked && now && !(inherited = strdup(now)))
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the environment");
    asked = true;
    const char *wanted = strcmp(level, "auto") == 0 ? inherited : level;
    int wrong = wanted ? setenv(VARIABLE, wanted, 1) : unsetenv(VARIABLE);
    return wrong == 0 ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for the environment");
}
