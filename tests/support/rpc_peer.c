/*
 * The other side of tests/unit/test_rpc.c, a process of its own because it gets killed.
 *   rpc_peer serve PATH LOG   answers on PATH; appends one line to LOG per request that reaches it; prints a line when
 * it listens. Requests: "echo …" comes back; "crash" dies by SIGKILL; "hold" is never answered; "gather N" is answered
 * when N of them are in hand; "big N" gives N bytes; "slow MS" answers after MS. rpc_peer ask PATH TEXT MS UID   asks
 * once as that user (0 = as it is), prints the reply or the status.
 */
#include "common/limits.h"
#include "common/rpc.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int log_fd;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held {
    struct hep_rpc_request *request;
    const void *frame;
    size_t bytes;
} gathered[HEP_OPERATIONS_IN_FLIGHT_MAX];
static int gathered_count;

static void gather(struct hep_rpc_request *request, const void *frame, size_t bytes, int wanted)
{
    pthread_mutex_lock(&lock);
    gathered[gathered_count++] = (struct held){request, frame, bytes};
    if (gathered_count == wanted)
        while (gathered_count > 0) {
            struct held *held = &gathered[--gathered_count];
            hep_rpc_reply(held->request, held->frame, held->bytes); /* the request's own memory */
        }
    pthread_mutex_unlock(&lock);
}

static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    char text[64] = "", line[96];
    (void)context;
    memcpy(text, frame, bytes < sizeof text - 1 ? bytes : sizeof text - 1);
    int length = snprintf(line, sizeof line, "%.40s\n", text);
    if (write(log_fd, line, (size_t)length) != length)
        abort();
    if (strncmp(text, "crash", 5) == 0)
        kill(getpid(), SIGKILL);
    if (strncmp(text, "hold", 4) == 0)
        return;
    if (strncmp(text, "gather", 6) == 0) {
        gather(request, frame, bytes, atoi(text + 6));
        return;
    }
    if (strncmp(text, "slow", 4) == 0)
        usleep((useconds_t)atoi(text + 4) * 1000);
    if (strncmp(text, "big", 3) == 0) {
        size_t size = strtoul(text + 3, NULL, 10);
        char *big = calloc(1, size);
        hep_rpc_reply(request, big, size);
        free(big);
        return;
    }
    hep_rpc_reply(request, frame, bytes);
}

static int ask(char **arguments)
{
    struct hep_rpc_client *client;
    struct hep_error error = {0};
    void *reply;
    size_t bytes;
    if (atoi(arguments[5]) != 0 && setuid((uid_t)atoi(arguments[5])) != 0)
        return 2;
    if (hep_rpc_client_create(arguments[2], &client, &error) != HEP_OK)
        return 3;
    if (hep_rpc_client_call(client, arguments[3], strlen(arguments[3]), atoi(arguments[4]), &reply, &bytes, &error) ==
        HEP_OK)
        printf("%.*s\n", (int)bytes, (char *)reply);
    else
        printf("%s\n", hep_status_name(error.code));
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct hep_rpc_server *server;
    struct hep_error error = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
    if (argc == 6 && strcmp(argv[1], "ask") == 0)
        return ask(argv);
    if (argc != 4 || strcmp(argv[1], "serve") != 0)
        return 125;
    log_fd = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (hep_rpc_server_create(argv[2], HEP_OPERATIONS_IN_FLIGHT_MAX, serve, NULL, &server, &error) != HEP_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    puts("listening");
    fflush(stdout);
    for (;;)
        pause();
}
