/* Parses the address of the door and reads its token. Called by supervisor/proc and by heptad-communication. */
#include "common/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void take_v4(const struct in_addr *address, uint16_t port, struct hep_listen *listen)
{
    listen->address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = *address};
    listen->loopback = ntohl(address->s_addr) >> 24 == 127;
    inet_ntop(AF_INET, address, listen->text, sizeof listen->text);
}

static void take_v6(const struct in6_addr *address, uint16_t port, struct hep_listen *listen)
{
    listen->address.v6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *address};
    listen->loopback = IN6_IS_ADDR_LOOPBACK(address);
    inet_ntop(AF_INET6, address, listen->text, sizeof listen->text);
}

enum hep_status hep_listen_parse(const char *text, uint16_t port, struct hep_listen *listen, struct hep_error *error)
{
    struct hep_listen parsed;
    struct in_addr v4;
    struct in6_addr v6;
    const char *digits = strcmp(text, "localhost") == 0 ? "127.0.0.1" : text;
    memset(&parsed, 0, sizeof parsed);
    if (inet_pton(AF_INET, digits, &v4) == 1) {
        take_v4(&v4, port, &parsed);
    } else if (inet_pton(AF_INET6, digits, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        take_v6(&v6, port, &parsed);
    } else {
        hep_fail(error, HEP_E_BAD_CONFIG, "\"%.60s\" is no IP address", text);
        return hep_hint(error, "write 127.0.0.1, ::1 or localhost; 0.0.0.0 or :: to be reached from elsewhere");
    }
    *listen = parsed;
    return HEP_OK;
}

enum hep_status hep_listen_needs_token(const struct hep_listen *listen, bool has_token, struct hep_error *error)
{
    if (listen->loopback || has_token)
        return HEP_OK;
    hep_fail(error, HEP_E_BAD_CONFIG, "%s can be reached from other machines, so clients must send a token",
             listen->text);
    return hep_hint(error, "set http.token_file to a file with a token, mode 0600; or http.address = 127.0.0.1 behind "
                           "a proxy");
}

bool hep_token_is(const char *given, const char *token)
{
    size_t length = strlen(token), given_length = strlen(given);
    unsigned different = given_length != length;
    for (size_t i = 0; i < length; i++)
        different |= (unsigned char)token[i] ^ (unsigned char)given[i < given_length ? i : 0];
    return different == 0;
}

/* What is in the file, up to its first end of line. */
static enum hep_status take_token(int fd, const char *path, char token[HEP_TOKEN_SIZE], struct hep_error *error)
{
    char line[HEP_TOKEN_SIZE + 1];
    ssize_t bytes = read(fd, line, sizeof line - 1);
    if (bytes < 0)
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
    line[bytes] = '\0';
    size_t length = strcspn(line, "\r\n");
    line[length] = '\0';
    if (length < HEP_TOKEN_MIN || length >= HEP_TOKEN_SIZE) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s must hold a token of %d to %d characters", path, HEP_TOKEN_MIN,
                 HEP_TOKEN_SIZE - 1);
        return hep_hint(error, "openssl rand -hex 24 > %s", path);
    }
    memcpy(token, line, length + 1);
    return HEP_OK;
}

enum hep_status hep_token_read(const char *path, char token[HEP_TOKEN_SIZE], struct hep_error *error)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
        return hep_hint(error, "make it: a line of %d characters or more, mode 0600, of the user that runs heptad",
                        HEP_TOKEN_MIN);
    }
    enum hep_status status = HEP_OK;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = hep_fail(error, HEP_E_BAD_CONFIG, "%s is no regular file", path);
        hep_hint(error, "name a file whose first line is the token");
    } else if ((about.st_mode & 077) != 0) {
        status = hep_fail(error, HEP_E_BAD_CONFIG, "%s is open to other users", path);
        hep_hint(error, "chmod 600 %s", path);
    } else {
        status = take_token(fd, path, token, error);
    }
    close(fd);
    return status;
}
