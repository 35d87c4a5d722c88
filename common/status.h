/*
 * Status codes and error records. Every function that can fail returns enum hep_status and fills a struct hep_error
 * that its caller owns; hep_fail() does both in one line. Library code never prints and never exits.
 */
#ifndef HEP_COMMON_STATUS_H
#define HEP_COMMON_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>

enum hep_status {
#define HEP_ERROR(name, http, retryable, exit_code, meaning, hint) HEP_E_##name,
#include "common/errors.def"
#undef HEP_ERROR
    HEP_STATUS_COUNT
};
#define HEP_OK HEP_E_OK

enum { HEP_ERROR_MESSAGE_MAX = 512, HEP_ERROR_HINT_MAX = 256, HEP_ERROR_NAME_MAX = 64, HEP_ERROR_CAUSE_MAX = 512 };

/* What went wrong, for a person and for a program. Plain data: copy it freely. */
struct hep_error {
    enum hep_status code;
    char message[HEP_ERROR_MESSAGE_MAX]; /* what happened, with names and numbers                           */
    char hint[HEP_ERROR_HINT_MAX];       /* what the person can do; "" takes the code's default              */
    char field[HEP_ERROR_NAME_MAX];      /* the request field that is wrong, or ""                           */
    char domain[HEP_ERROR_NAME_MAX];     /* filled by the skeleton and the router                            */
    char operation[HEP_ERROR_NAME_MAX];  /* filled by the skeleton and the router                            */
    char cause[HEP_ERROR_CAUSE_MAX];     /* "CODE domain.operation: message" of the error behind this one    */
    int64_t retry_after_ms;              /* of a retryable one: ask again after so long; 0 = not known       */
    bool final;                          /* asking again will not help, though the code's errors may pass    */
};

/* Fills error (may be NULL) and returns code. The message is printf-formatted; the hint is the code's default. */
__attribute__((format(printf, 3, 4))) enum hep_status hep_fail(struct hep_error *error, enum hep_status code,
                                                               const char *format, ...);
/* As hep_fail, and names the request field that is wrong. */
__attribute__((format(printf, 4, 5))) enum hep_status hep_fail_field(struct hep_error *error, enum hep_status code,
                                                                     const char *field, const char *format, ...);
/* As hep_fail with ": strerror(errno_value)" appended; ENOSPC, ENOMEM choose their own codes. */
__attribute__((format(printf, 3, 4))) enum hep_status hep_fail_errno(struct hep_error *error, int errno_value,
                                                                     const char *format, ...);
/* Replaces the hint of an error that is already filled; returns error->code. NULL is accepted. */
__attribute__((format(printf, 2, 3))) enum hep_status hep_hint(struct hep_error *error, const char *format, ...);
/* As hep_hint, unless a better hint than the code's default has been given already. */
__attribute__((format(printf, 2, 3))) enum hep_status hep_suggest(struct hep_error *error, const char *format, ...);
/* Marks an error that is already filled as final; returns its code. NULL is accepted. */
enum hep_status hep_final(struct hep_error *error);
/* Puts "format: " before the message of an error already filled; returns its code. */
__attribute__((format(printf, 2, 3))) enum hep_status hep_prefix(struct hep_error *error, const char *format, ...);

const char *hep_status_name(enum hep_status code);    /* "BAD_FIELD"                         */
const char *hep_status_meaning(enum hep_status code); /* one line                            */
const char *hep_status_hint(enum hep_status code);    /* the default hint                    */
int hep_status_http(enum hep_status code);            /* 400 …                               */
int hep_status_exit(enum hep_status code);            /* heptctl's exit code                 */
bool hep_status_retryable(enum hep_status code);
/* BAD_FIELD, UNKNOWN_FIELD, MISSING_FIELD, OUT_OF_RANGE: a description of the fields helps. */
bool hep_status_is_of_field(enum hep_status code);
/* The code with this name, or alias (error_aliases.def); HEP_E_INTERNAL if there is none. */
enum hep_status hep_status_from_name(const char *name);
/* The name that callers of earlier systems know for an error of this code and field; "" if there is none. */
const char *hep_status_alias(enum hep_status code, const char *field);

/* A broken invariant of our own: logs file, line and expression, then aborts. On in every build. */
#define hep_assert(expression) ((expression) ? (void)0 : hep_assert_failed(#expression, __FILE__, __LINE__))
_Noreturn void hep_assert_failed(const char *expression, const char *file, int line);

/* clang's analyzer looks into one file at a time: it is told that these never return OK. */
#if defined(__clang_analyzer__) && !defined(HEP_DEFINES_STATUS)
#define hep_fail(error, code, ...)              (hep_fail((error), (code), __VA_ARGS__), (code))
#define hep_fail_field(error, code, field, ...) (hep_fail_field((error), (code), (field), __VA_ARGS__), (code))
#define hep_fail_errno(error, value, ...)       (hep_fail_errno((error), (value), __VA_ARGS__), HEP_E_SYSTEM)
#define hep_hint(error, ...)                    (hep_hint((error), __VA_ARGS__), HEP_E_INTERNAL)
#define hep_prefix(error, ...)                  (hep_prefix((error), __VA_ARGS__), HEP_E_INTERNAL)
#endif

/* if (call fails) return its status */
#define HEP_TRY(call)                                                                                                  \
    do {                                                                                                               \
        enum hep_status hep_try_status_ = (call);                                                                      \
        if (hep_try_status_ != HEP_OK)                                                                                 \
            return hep_try_status_;                                                                                    \
    } while (0)
/* status = call; if it fails, goto done */
#define HEP_TRY_DONE(status, call)                                                                                     \
    do {                                                                                                               \
        (status) = (call);                                                                                             \
        if ((status) != HEP_OK)                                                                                        \
            goto done;                                                                                                 \
    } while (0)

/* HEP_CLEANUP(hep_x_destroy) struct hep_x *x = NULL;  runs hep_x_destroy(x) at the end of the scope.
   The file defines the adapter once with HEP_DEFINE_CLEANUP(struct hep_x *, hep_x_destroy). */
#define HEP_DEFINE_CLEANUP(type, function)                                                                             \
    static inline void function##_cleanup_(type *hep_pointer_)                                                         \
    {                                                                                                                  \
        function(*hep_pointer_);                                                                                       \
    }
#define HEP_CLEANUP(function) __attribute__((cleanup(function##_cleanup_)))
/* Moves ownership out of a pointer variable: returns its value and leaves NULL. */
#define hep_take(pointer_address)                                                                                      \
    __extension__({                                                                                                    \
        __typeof__(*(pointer_address)) hep_taken_ = *(pointer_address);                                                \
        *(pointer_address) = NULL;                                                                                     \
        hep_taken_;                                                                                                    \
    })

#define HEP_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
