/* Names as people write them: "DPM++ 2M Karras", "dpmpp_2m_karras" and "DPMPP-2M-karras" are one. */
#ifndef HEP_COMMON_NAME_H
#define HEP_COMMON_NAME_H

#include <stdbool.h>

/* Whether a and b are the same name: case, blanks, '_' and '-' do not count, and '+' is 'p'. */
bool hep_name_is(const char *a, const char *b);
/* How many single letters must change to get from a to b, by their first 48 bytes. */
unsigned hep_name_distance(const char *a, const char *b);

#endif
