/* What is generated from the tables is what is in the tree: run build/bin/hep-pages after a change of a table. */
#include "supervisor/ctl/pages.h"

#include "tests/unit/ctl_test.h"

static char *read_all(const char *path)
{
    char *text = NULL, full[1024];
    size_t room = 0;
    snprintf(full, sizeof full, "%s/%s", HEP_SOURCE_DIR, path);
    FILE *file = fopen(full, "r");
    ck_assert_msg(file != NULL, "%s is not there", full);
    ck_assert_int_ge(getdelim(&text, &room, '\0', file), 0);
    fclose(file);
    return text;
}

START_TEST(the_tree_has_what_the_tables_say)
{
    FILE *out = ctl_catch();
    ctl_pages[_i].write(out);
    char *made = ctl_caught(out);
    char *there = read_all(ctl_pages[_i].path);
    ck_assert_msg(strcmp(made, there) == 0, "%s is old: run build/bin/hep-pages in the source folder",
                  ctl_pages[_i].path);
    free(there);
    free(made);
}
END_TEST

static void add(TCase *tests)
{
    int count = 0;
    while (ctl_pages[count].path)
        count++;
    tcase_add_loop_test(tests, the_tree_has_what_the_tables_say, 0, count);
}

int main(void)
{
    return ctl_run_tests("ctl_pages", add);
}
