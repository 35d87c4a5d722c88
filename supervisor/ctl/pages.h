/* Files that are generated from tables: completion scripts and manual pages. For hep-pages and the test that compares.
 */
#ifndef HEP_SUPERVISOR_CTL_PAGES_H
#define HEP_SUPERVISOR_CTL_PAGES_H

#include <stdio.h>

struct ctl_page {
    const char *path; /* below the source folder */
    void (*write)(FILE *out);
};
extern const struct ctl_page ctl_pages[]; /* ends with a row whose path is NULL */

#endif
