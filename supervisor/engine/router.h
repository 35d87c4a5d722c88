/*
 * Which domain answers a request: by the prefix of its type. The operations of a domain are known from its READY and
 * stay known while it is down, so that the errors stay exact.
 */
#ifndef HEP_SUPERVISOR_ENGINE_ROUTER_H
#define HEP_SUPERVISOR_ENGINE_ROUTER_H

#include "common/operation.h"
#include "common/roles.h"

struct hep_router;

/* Of NOT_ALLOWED for want of permission; takes the type. */
#define HEP_OPERATOR_HINT                                                                                              \
    "ask over the control socket, as the user that heptad runs as: `heptctl call %.100s`; by HTTP with an operator's " \
    "token"

/* Where a request goes. */
struct hep_route {
    enum hep_role role;
    json_t *operation;       /* row of hep_describe(), borrowed; NULL if the domain has never been ready */
    char name[HEP_NAME_MAX]; /* the operation's own name (aliases are resolved)                          */
    const char *asked;       /* what it was called; borrowed. The domain is asked so: an alias may stand for fields */
    bool heavy;              /* needs a lease of cores                                                   */
};

enum hep_status hep_router_create(struct hep_router **router, struct hep_error *error);
void hep_router_destroy(struct hep_router *router); /* NULL is accepted */
/* operations: as hep_describe() gives them; borrowed, replaces what was known. */
void hep_router_learn(struct hep_router *router, enum hep_role role, json_t *operations);
bool hep_router_knows(const struct hep_router *router, enum hep_role role);
/* The operation's row by name or alias; borrowed, NULL if the domain has none such or is not known yet. */
json_t *hep_router_operation(const struct hep_router *router, enum hep_role role, const char *name);
/* The fields that this name of the operation stands for; borrowed, NULL = none. */
json_t *hep_router_preset(json_t *operation, const char *name);
/* Whether the operation computes on many cores: what its row says of a lease. */
bool hep_router_needs_lease(const struct hep_router *router, enum hep_role role, const char *name);
/* All rows of a domain, borrowed; NULL if it is not known yet. */
json_t *hep_router_operations(const struct hep_router *router, enum hep_role role);
/* NOT_ALLOWED, with what the caller can do about it. Returns it. */
enum hep_status hep_router_refuse(const char *type, enum hep_permission needed, enum hep_permission caller,
                                  struct hep_error *error);
/* NOT_ALLOWED if data (or a step's parameters) gives a reference itself that the caller may not: clients give none,
   operators what is read, only the engine itself what is written. operation: the row, NULL is accepted. */
enum hep_status hep_router_check_references(json_t *operation, json_t *data, enum hep_permission caller,
                                            struct hep_error *error);
/* Finds the way of a request of type "domain.operation" by a caller. BAD_FIELD (no dot), UNKNOWN_DOMAIN,
   UNKNOWN_OPERATION, NOT_ALLOWED; domain and operation are filled into the error. Whether the domain is up is the
   caller's question. */
enum hep_status hep_router_route(const struct hep_router *router, const char *type, enum hep_permission caller,
                                 struct hep_route *route, struct hep_error *error);

#endif
