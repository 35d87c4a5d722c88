/* JSON values never fail for want of memory: see json_memory.c. */
#ifndef HEP_COMMON_JSON_MEMORY_H
#define HEP_COMMON_JSON_MEMORY_H

/* At the very start of a program that stays: before any JSON value and any thread. */
void hep_json_memory_begin(void);

#endif
