/* main() of hep-pages: writes the generated files into the source folder that is its argument. Run after a change of a
   table; never installed. */
#include "supervisor/ctl/pages.h"

#include <stdlib.h>

static int write_page(const char *folder, const struct ctl_page *page)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, page->path);
    FILE *out = fopen(path, "we");
    if (!out) {
        perror(path);
        return EXIT_FAILURE;
    }
    page->write(out);
    if (fclose(out) != 0) {
        perror(path);
        return EXIT_FAILURE;
    }
    printf("%s\n", path);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    int status = EXIT_SUCCESS;
    if (argc != 2) {
        fputs("usage: hep-pages SOURCE_FOLDER\n", stderr);
        return 2;
    }
    for (const struct ctl_page *page = ctl_pages; page->path && status == EXIT_SUCCESS; page++)
        status = write_page(argv[1], page);
    return status;
}
