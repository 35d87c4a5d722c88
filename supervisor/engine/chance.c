/* What is drawn by chance: ids and seeds. Called by what accepts sessions and batches, and by webhooks.c. */
#include "common/clock.h"
#include "supervisor/engine/core.h"

#include <sys/random.h>

void hep_make_id(char kind, char id[HEP_SESSION_ID_MAX])
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t time = (uint64_t)hep_wall_ms(), chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        chance = (uint64_t)hep_now_us() * UINT64_C(0x9e3779b97f4a7c15);
    id[0] = kind;
    for (int i = 9; i > 0; i--, time >>= 5)
        id[i] = letters[time & 31];
    for (int i = 17; i > 9; i--, chance >>= 5)
        id[i] = letters[chance & 31];
    id[18] = '\0';
}

uint64_t hep_choose_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint32_t)hep_now_us();
    return seed;
}
