/* Frames to names: the test's own file is the program whose addresses are looked up. */
#include "supervisor/ctl/symbols.h"

#include "common/build.h"
#include "common/clock.h"
#include "tests/unit/ctl_test.h"

#include <link.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

/* Somewhere to point to. */
__attribute__((noinline)) static int a_function_to_find(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x * 3 + 1;
}

static void *inlined_address;
__attribute__((always_inline)) static inline void note_where_it_is(void)
{
    __asm__ volatile("1: lea 1b(%%rip), %0" : "=r"(inlined_address));
}

__attribute__((noinline)) static void a_function_that_has_another(void)
{
    note_where_it_is();
    __asm__ volatile("");
}

static int take_bias(struct dl_phdr_info *info, size_t size, void *bias)
{
    (void)size;
    *(uintptr_t *)bias = info->dlpi_addr; /* the first one is the program */
    return 1;
}

/* As common/crash.c writes it. */
static void frame_of(uintptr_t address, char *path, char *frame, size_t size)
{
    uintptr_t bias = 0;
    dl_iterate_phdr(take_bias, &bias);
    ssize_t length = readlink("/proc/self/exe", path, 1023);
    ck_assert_int_gt(length, 0);
    path[length] = '\0';
    snprintf(frame, size, "%s+0x%lx", path, (unsigned long)(address - bias));
}

static char *name_of(const char *build, int64_t time_ms, const char *frame)
{
    struct ctl_symbols *symbols = ctl_symbols_create(build, time_ms);
    char *first = ctl_symbol(symbols, frame), *again = ctl_symbol(symbols, frame);
    ck_assert_str_eq(first, again);
    free(again);
    ctl_symbols_destroy(symbols);
    return first;
}

static void expect(const char *build, int64_t time_ms, const char *frame, const char *part)
{
    char *name = name_of(build, time_ms, frame);
    ck_assert_msg(strstr(name, part) != NULL, "%s has no %s", name, part);
    free(name);
}

START_TEST(an_address_is_a_function_and_a_line)
{
    char path[1024], frame[1200];
    ck_assert_int_eq(a_function_to_find(1), 4);
    frame_of((uintptr_t)a_function_to_find, path, frame, sizeof frame);
    expect(hep_build_id(), 0, frame, "a_function_to_find at tests/unit/test_ctl_symbols.c:");
    expect("", hep_wall_ms(), frame, "a_function_to_find at ");
}
END_TEST

START_TEST(an_inlined_function_is_named_with_the_one_that_has_it)
{
    char path[1024], frame[1200];
    a_function_that_has_another();
    frame_of((uintptr_t)inlined_address, path, frame, sizeof frame);
    expect(hep_build_id(), 0, frame, "note_where_it_is at tests/unit/test_ctl_symbols.c:");
    expect(hep_build_id(), 0, frame, ", inlined in a_function_that_has_another at tests/unit/test_ctl_symbols.c:");
}
END_TEST

START_TEST(a_library_without_lines_gives_the_function)
{
    char frame[1200] = "", line[1200];
    FILE *maps = fopen("/proc/self/maps", "r");
    uintptr_t bias = 0;
    char path[1024] = "";
    while (fgets(line, sizeof line, maps) && !bias) {
        unsigned long begin;
        if (strstr(line, "/libc.so.6") && sscanf(line, "%lx-%*x %*s %*s %*s %*s %1023s", &begin, path) == 2)
            bias = begin;
    }
    fclose(maps);
    ck_assert_uint_ne(bias, 0);
    snprintf(frame, sizeof frame, "%s+0x%lx", path, (unsigned long)((uintptr_t)a64l - bias));
    expect("", hep_wall_ms(), frame, "a64l"); /* one that no sanitizer stands before */
}
END_TEST

/* A text that is not in this file. */
static const char *strrev_of(const char *text)
{
    static char reversed[64];
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        reversed[i] = text[length - 1 - i];
    return reversed;
}

START_TEST(a_frame_that_cannot_be_named_says_why)
{
    char path[1024], frame[1200], other[] = "/tmp/heptad-symbols-XXXXXX", command[1200];
    frame_of((uintptr_t)a_function_to_find, path, frame, sizeof frame);
    expect("", 1, frame, "(the file was replaced since)");
    expect("", 1, frame, frame);
    expect("", 0, "/nonexistent/heptad-model+0x10", "/nonexistent/heptad-model+0x10 (the file is gone)");
    expect("", 0, "?+0x7f0000000000", "(it lies in no file)");
    expect("", 0, "/bin/sh+", "(it lies in no file)");
    expect("", 0, "/bin/sh", "(it lies in no file)");
    expect("", 0, "/bin/sh+0xzz", "(it lies in no file)");
    expect("", 0, "", "(it lies in no file)");
    expect("", hep_wall_ms(), "/etc/passwd+0x10", "(the file is no program)");
    expect("", hep_wall_ms(), "/tmp+0x10", "(it is no file)");
    close(mkstemp(other));
    snprintf(command, sizeof command, "cp %s %s", path, other);
    ck_assert_int_eq(system(command), 0);
    char *offset = strdup(strrchr(frame, '+'));
    snprintf(frame, sizeof frame, "%s%s", other, offset);
    free(offset);
    expect(strrev_of(hep_build_id()), hep_wall_ms() + 1000, frame, "(the file is of another build)");
    expect(hep_build_id(), 1, frame, "a_function_to_find"); /* the build is the truth, not the file's age */
    unlink(other);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, an_address_is_a_function_and_a_line);
    tcase_add_test(tests, an_inlined_function_is_named_with_the_one_that_has_it);
    tcase_add_test(tests, a_library_without_lines_gives_the_function);
    tcase_add_test(tests, a_frame_that_cannot_be_named_says_why);
}

int main(void)
{
    return ctl_run_tests("ctl_symbols", add);
}
