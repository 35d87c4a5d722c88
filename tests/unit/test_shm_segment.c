/* Names of segments, and their life without a mapping: create, publish, list, sweep, a full /dev/shm. */
#include "tests/unit/shm_test.h"

#include "shm/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

START_TEST(a_name_survives_being_written_and_parsed)
{
    struct hep_segment_name name, parsed;
    char text[HEP_SEGMENT_NAME_MAX];
    ck_assert_ok(hep_segment_name_make("main", HEP_SEGMENT_ARENA, "s_01-AZ", 18, &name, error));
    ck_assert_str_eq(hep_segment_name_text(&name, text), "/hep.main.arena.s_01-AZ.18");
    ck_assert_ok(hep_segment_name_parse(text, &parsed, error));
    ck_assert_mem_eq(&name, &parsed, sizeof name);
}
END_TEST

START_TEST(the_longest_name_fits)
{
    struct hep_segment_name name, parsed;
    char instance[HEP_INSTANCE_NAME_MAX], id[HEP_SEGMENT_ID_MAX], text[HEP_SEGMENT_NAME_MAX];
    memset(instance, 'i', sizeof instance);
    memset(id, 'd', sizeof id);
    instance[sizeof instance - 1] = id[sizeof id - 1] = '\0';
    ck_assert_ok(hep_segment_name_make(instance, HEP_SEGMENT_WEIGHTS, id, UINT64_MAX, &name, error));
    ck_assert_ok(hep_segment_name_parse(hep_segment_name_text(&name, text), &parsed, error));
    ck_assert_mem_eq(&name, &parsed, sizeof name);
}
END_TEST

START_TEST(a_part_with_a_wrong_character_or_length_is_refused)
{
    struct hep_segment_name name;
    static const char *const bad[] = {"", "a.b", "a/b", "..", "a b", "ü", "0123456789012345678901234567890123456789"};
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++) {
        ck_assert_fails(hep_segment_name_make(bad[i], HEP_SEGMENT_ARENA, "s", 1, &name, error), HEP_E_BAD_FIELD);
        ck_assert_fails(hep_segment_name_make("main", HEP_SEGMENT_ARENA, bad[i], 1, &name, error), HEP_E_BAD_FIELD);
    }
}
END_TEST

START_TEST(a_text_that_is_no_name_is_refused)
{
    static const char *const bad[] = {
        "",
        "/",
        "hep.main.arena.s.1",
        "/hep",
        "/hep.",
        "/hep.main",
        "/hep.main.arena.s",
        "/hep.main.arena.s.",
        "/hep.main.arena..1",
        "/hep..arena.s.1",
        "/hep.main.other.s.1",
        "/hep.main.arena.s.1.2",
        "/hep.main.arena.s.01",
        "/hep.main.arena.s.-1",
        "/hep.main.arena.s.+1",
        "/hep.main.arena.s. 1",
        "/hep.main.arena.s.1x",
        "/hep.main.arena.s.18446744073709551616",
        "/hep.main.arena.../etc.1",
        "/hep.main.arena.a/b.1",
        "/hep.main.arenaarenaarena.s.1",
        "/hep.0123456789012345678901234567890123456789.arena.s.1",
        "/hep.main.arena.0123456789012345678901234567890123456789.1",
    };
    struct hep_segment_name name;
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++)
        ck_assert_fails(hep_segment_name_parse(bad[i], &name, error), HEP_E_BAD_REFERENCE);
}
END_TEST

START_TEST(a_new_segment_is_zeros_private_and_fully_allocated)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "new", 1);
    struct stat st;
    char bytes[16] = {1};
    int fd;
    umask(0777); /* whatever it is */
    ck_assert_ok(hep_segment_create(&name, 100001, &fd, error));
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(st.st_size, 100001);
    ck_assert_int_ge(st.st_blocks * 512, 100001);
    ck_assert_int_eq(pread(fd, bytes, sizeof bytes, 100001 - 16), 16);
    for (size_t i = 0; i < sizeof bytes; i++)
        ck_assert_int_eq(bytes[i], 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
}
END_TEST

START_TEST(a_name_is_never_used_twice)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "twice", 1);
    int fd, second = -7;
    ck_assert_ok(hep_segment_create(&name, 4096, &fd, error));
    ck_assert_fails(hep_segment_create(&name, 4096, &second, error), HEP_E_CONFLICT);
    ck_assert_int_eq(second, -7);
    ck_assert_ok(hep_segment_unlink(&name, error));
    ck_assert_fails(hep_segment_unlink(&name, error), HEP_E_NOT_FOUND);
    close(fd);
}
END_TEST

START_TEST(a_size_that_cannot_be_is_refused)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "size", 1);
    int fd;
    ck_assert_fails(hep_segment_create(&name, 0, &fd, error), HEP_E_OUT_OF_RANGE);
    ck_assert_fails(hep_segment_create(&name, UINT64_MAX, &fd, error), HEP_E_OUT_OF_RANGE);
    ck_assert_fails(hep_segment_create(&name, INT64_MAX, &fd, error), HEP_E_NO_SHM);
    ck_assert_fails(hep_segment_unlink(&name, error), HEP_E_NOT_FOUND);
}
END_TEST

/* In a mount namespace of its own. Exit status: 0 right, 77 not possible here, else the line that failed. */
static int child_with_little_shm(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", HEP_SHM_DIRECTORY, "tmpfs", 0, "size=1m") != 0)
        return 77;
    struct hep_error error;
    struct hep_shm_usage usage;
    struct hep_segment_name small = shm_test_name(HEP_SEGMENT_ARENA, "small", 1),
                            large = shm_test_name(HEP_SEGMENT_ARENA, "large", 1);
    struct hep_weights *weights;
    int fd;
    if (hep_segment_create(&small, 512 << 10, &fd, &error) != HEP_OK)
        return 1;
    if (hep_segment_create(&large, 768 << 10, &fd, &error) != HEP_E_NO_SHM || !strstr(error.message, "786432") ||
        !strstr(error.message, "1048576") || error.final) /* it may fit later */
        return 2;
    if (hep_segment_create(&large, 2 << 20, &fd, &error) != HEP_E_NO_SHM || !error.final)
        return 5;
    large.kind = HEP_SEGMENT_WEIGHTS;
    if (hep_weights_create(&large, 768 << 10, &weights, &error) != HEP_E_NO_SHM)
        return 3;
    if (hep_shm_usage(shm_instance, &usage, &error) != HEP_OK || usage.segments != 1 || usage.total != 1 << 20 ||
        usage.free != 512 << 10 || usage.instance != 512 << 10)
        return 4;
    hep_segment_unlink(&small, NULL);
    close(fd);
    return 0;
}

START_TEST(a_full_dev_shm_is_an_error_with_sizes_and_leaves_nothing)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(child_with_little_shm());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        fprintf(stderr, "skipped: no right to mount a small /dev/shm\n");
    else
        ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

START_TEST(weights_are_closed_until_published_and_read_only_after)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_WEIGHTS, "w", 3);
    struct hep_weights *weights;
    uint64_t bytes;
    int fd;
    ck_assert_ok(hep_weights_create(&name, 8192, &weights, error));
    memset(hep_weights_data(weights), 0x5a, 8192);
    ck_assert_fails(hep_segment_open(&name, false, &fd, &bytes, error), HEP_E_NOT_NOW);
    ck_assert_ok(hep_weights_publish(weights, error));
    ck_assert_fails(hep_segment_open(&name, true, &fd, &bytes, error), HEP_E_NOT_ALLOWED);
    ck_assert_ok(hep_segment_open(&name, false, &fd, &bytes, error));
    ck_assert_uint_eq(bytes, 8192);
    hep_weights_destroy(weights); /* what is published stays */
    unsigned char last;
    ck_assert_int_eq(pread(fd, &last, 1, 8191), 1);
    ck_assert_int_eq(last, 0x5a);
    close(fd);
}
END_TEST

START_TEST(writing_to_published_weights_is_a_fault)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_WEIGHTS, "fault", 1);
    struct hep_weights *weights;
    int status;
    ck_assert_ok(hep_weights_create(&name, 4096, &weights, error));
    ck_assert_ok(hep_weights_publish(weights, error));
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
        hep_weights_data(weights)[0] = 1;
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    hep_weights_destroy(weights);
}
END_TEST

START_TEST(weights_that_are_never_published_disappear)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_WEIGHTS, "dropped", 1);
    struct hep_weights *weights;
    ck_assert_ok(hep_weights_create(&name, 4096, &weights, error));
    hep_weights_destroy(weights);
    ck_assert_fails(hep_segment_unlink(&name, error), HEP_E_NOT_FOUND);
    hep_weights_destroy(NULL);
}
END_TEST

START_TEST(a_segment_of_another_mode_or_no_size_is_not_opened)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "mode", 1);
    char text[HEP_SEGMENT_NAME_MAX];
    uint64_t bytes;
    int fd;
    ck_assert_fails(hep_segment_open(&name, true, &fd, &bytes, error), HEP_E_NOT_FOUND);
    int made = shm_open(hep_segment_name_text(&name, text), O_RDWR | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(made, 0);
    ck_assert_fails(hep_segment_open(&name, true, &fd, &bytes, error), HEP_E_BAD_REFERENCE);
    ck_assert_int_eq(ftruncate(made, 4096), 0);
    ck_assert_ok(hep_segment_open(&name, true, &fd, &bytes, error));
    close(fd);
    ck_assert_int_eq(fchmod(made, 0666), 0);
    ck_assert_fails(hep_segment_open(&name, true, &fd, &bytes, error), HEP_E_NOT_ALLOWED);
    if (geteuid() == 0) {
        ck_assert_int_eq(fchmod(made, 0600), 0);
        ck_assert_int_eq(fchown(made, 12345, (gid_t)-1), 0);
        ck_assert_fails(hep_segment_open(&name, false, &fd, &bytes, error), HEP_E_NOT_ALLOWED);
        ck_assert_int_eq(fchown(made, 0, (gid_t)-1), 0);
    }
    close(made);
}
END_TEST

static void create_closed(const struct hep_segment_name *name)
{
    int fd;
    ck_assert_ok(hep_segment_create(name, 4096, &fd, error));
    close(fd);
}

static bool keep_generation_2(const struct hep_segment_entry *entry, void *context)
{
    ++*(int *)context;
    return entry->name.generation == 2;
}

static bool count_visits(const struct hep_segment_entry *entry, void *context)
{
    ck_assert_uint_eq(entry->bytes, 4096);
    ck_assert_uint_eq(entry->allocated, 4096);
    ++*(int *)context;
    return true;
}

START_TEST(a_sweep_takes_its_own_prefix_only_and_keeps_what_it_is_told_to)
{
    struct hep_segment_name first = shm_test_name(HEP_SEGMENT_ARENA, "a", 1), kept = first, weights = first,
                            neighbour = first;
    struct hep_segment_sweep sweep;
    char foreign[HEP_SEGMENT_NAME_MAX];
    int asked = 0, listed = 0;
    kept.generation = 2;
    weights.kind = HEP_SEGMENT_WEIGHTS;
    neighbour.instance[strlen(neighbour.instance)] = 'x'; /* the array is zeros to its end */
    create_closed(&first);
    create_closed(&kept);
    create_closed(&weights);
    create_closed(&neighbour);
    snprintf(foreign, sizeof foreign, "/hep.%s.of-an-older-build", shm_instance);
    close(shm_open(foreign, O_RDWR | O_CREAT, 0600));

    ck_assert_ok(hep_segment_list(shm_instance, count_visits, &listed, error));
    ck_assert_int_eq(listed, 3);
    ck_assert_ok(hep_segment_sweep(shm_instance, keep_generation_2, &asked, &sweep, error));
    ck_assert_int_eq(asked, 3);
    ck_assert_uint_eq(sweep.removed, 3);
    ck_assert_uint_eq(sweep.removed_bytes, 2 * 4096);
    ck_assert_uint_eq(sweep.kept, 1);
    ck_assert_fails(hep_segment_unlink(&first, error), HEP_E_NOT_FOUND);
    ck_assert_int_eq(shm_unlink(foreign), -1);
    ck_assert_ok(hep_segment_unlink(&kept, error));
    ck_assert_ok(hep_segment_unlink(&neighbour, error));
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("segment");
    tcase_add_checked_fixture(cases, shm_test_setup, shm_test_teardown);
    tcase_add_test(cases, a_name_survives_being_written_and_parsed);
    tcase_add_test(cases, the_longest_name_fits);
    tcase_add_test(cases, a_part_with_a_wrong_character_or_length_is_refused);
    tcase_add_test(cases, a_text_that_is_no_name_is_refused);
    tcase_add_test(cases, a_new_segment_is_zeros_private_and_fully_allocated);
    tcase_add_test(cases, a_name_is_never_used_twice);
    tcase_add_test(cases, a_size_that_cannot_be_is_refused);
    tcase_add_test(cases, a_full_dev_shm_is_an_error_with_sizes_and_leaves_nothing);
    tcase_add_test(cases, weights_are_closed_until_published_and_read_only_after);
    tcase_add_test(cases, writing_to_published_weights_is_a_fault);
    tcase_add_test(cases, weights_that_are_never_published_disappear);
    tcase_add_test(cases, a_segment_of_another_mode_or_no_size_is_not_opened);
    tcase_add_test(cases, a_sweep_takes_its_own_prefix_only_and_keeps_what_it_is_told_to);
    return check_status_run("shm_segment", cases);
}
