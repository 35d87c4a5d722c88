/* The identity of this build: processes of different builds refuse each other, saved steps of another build are redone.
 */
#ifndef HEP_COMMON_BUILD_H
#define HEP_COMMON_BUILD_H

/* Hex text, the same for all binaries of one build tree and source state. */
const char *hep_build_id(void);

#endif
