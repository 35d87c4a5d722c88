/*
 * The prefix table and the operations of each domain. Called by the front for every request that it passes on, and by
 * sessions before each step. Sends nothing itself.
 */
#include "supervisor/engine/router.h"

#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hep_router {
    json_t *operations[HEP_ROLE_COUNT]; /* NULL until the domain's first READY */
};

enum hep_status hep_router_create(struct hep_router **router, struct hep_error *error)
{
    struct hep_router *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the router");
    *router = result;
    return HEP_OK;
}

void hep_router_destroy(struct hep_router *router)
{
    for (int i = 0; router && i < HEP_ROLE_COUNT; i++)
        json_decref(router->operations[i]);
    free(router);
}

void hep_router_learn(struct hep_router *router, enum hep_role role, json_t *operations)
{
    json_t *copy = json_deep_copy(operations);
    if (!json_is_array(
            copy)) { /* an instructor of ours that reports no table is broken, but that is its error, not ours */
        json_decref(copy);
        return;
    }
    json_decref(router->operations[role]);
    router->operations[role] = copy;
}

bool hep_router_knows(const struct hep_router *router, enum hep_role role)
{
    return router->operations[role] != NULL;
}

json_t *hep_router_operations(const struct hep_router *router, enum hep_role role)
{
    return router->operations[role];
}

json_t *hep_router_operation(const struct hep_router *router, enum hep_role role, const char *name)
{
    size_t index, other;
    json_t *row, *alias;
    json_array_foreach(router->operations[role], index, row)
    {
        if (strcmp(hep_json_str(row, "name", ""), name) == 0)
            return row;
        json_array_foreach(json_object_get(row, "aliases"), other,
                           alias) if (json_is_string(alias) && strcmp(json_string_value(alias), name) == 0) return row;
    }
    return NULL;
}

json_t *hep_router_preset(json_t *operation, const char *name)
{
    return json_object_get(json_object_get(operation, "presets"), name);
}

bool hep_router_needs_lease(const struct hep_router *router, enum hep_role role, const char *name)
{
    return hep_json_bool(hep_router_operation(router, role, name), "lease", false);
}

static enum hep_status unknown_domain(const char *type, size_t length, struct hep_error *error)
{
    char list[HEP_ERROR_HINT_MAX] = "the domains are:";
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s %s", i ? "," : "", hep_role_name((enum hep_role)i));
    }
    hep_fail_field(error, HEP_E_UNKNOWN_DOMAIN, "type", "there is no domain \"%.*s\"", (int)(length < 60 ? length : 60),
                   type);
    return hep_hint(error, "%s", list), HEP_E_UNKNOWN_DOMAIN;
}

static enum hep_permission permission_of(json_t *row)
{
    const char *name = hep_json_str(row, "permission", "");
    for (int i = HEP_CLIENT; i < HEP_INTERNAL; i++)
        if (strcmp(name, hep_permission_name((enum hep_permission)i)) == 0)
            return (enum hep_permission)i;
    return HEP_INTERNAL;
}

enum hep_status hep_router_refuse(const char *type, enum hep_permission needed, enum hep_permission caller,
                                  struct hep_error *error)
{
    hep_fail(error, HEP_E_NOT_ALLOWED, "%.80s needs the permission of %s, the caller is %s", type,
             hep_permission_name(needed), hep_permission_name(caller));
    if (needed == HEP_INTERNAL)
        hep_hint(error, "it is a step of the supervisor's own; to look for a fault, `heptctl call --internal` asks it");
    else
        hep_hint(error, HEP_OPERATOR_HINT, type);
    return HEP_E_NOT_ALLOWED;
}

enum hep_status hep_router_check_references(json_t *operation, json_t *data, enum hep_permission caller,
                                            struct hep_error *error)
{
    size_t index;
    json_t *field, *given;
    json_array_foreach(json_object_get(operation, "request"), index, field)
    {
        const char *name = hep_json_str(field, "name", "");
        bool written = strcmp(hep_json_str(field, "access", ""), "write") == 0;
        given = json_object_get(data, name);
        if (strcmp(hep_json_str(field, "type", ""), "tensor") != 0 || !json_is_object(given) ||
            caller >= (written ? HEP_INTERNAL : HEP_OPERATOR))
            continue;
        hep_fail_field(error, HEP_E_NOT_ALLOWED, name, "%s is a tensor reference: %s", name,
                       written ? "only the supervisor says where is written" : "clients give none");
        return hep_hint(error, "leave %s out", name), HEP_E_NOT_ALLOWED;
    }
    return HEP_OK;
}

enum hep_status hep_router_route(const struct hep_router *router, const char *type, enum hep_permission caller,
                                 struct hep_route *route, struct hep_error *error)
{
    size_t length = strcspn(type, ".");
    const char *name = type + length + 1;
    struct hep_route result = {0};
    if (!type[length] || !name[0]) {
        hep_fail_field(error, HEP_E_BAD_FIELD, "type", "type \"%.60s\" is not of the form domain.operation", type);
        return hep_hint(error, "see `heptctl operations`"), HEP_E_BAD_FIELD;
    }
    result.role = hep_role_from_prefix(type, length);
    if (result.role == HEP_ROLE_NONE)
        return unknown_domain(type, length, error);
    result.operation = hep_router_operation(router, result.role, name);
    enum hep_status status = HEP_OK;
    if (hep_router_knows(router, result.role) && !result.operation) {
        status = hep_fail_field(error, HEP_E_UNKNOWN_OPERATION, "type", "%s has no operation \"%.60s\"",
                                hep_role_name(result.role), name);
        hep_hint(error, "see `heptctl operations %s`", hep_role_name(result.role));
    } else if (result.operation && permission_of(result.operation) > caller) {
        status = hep_router_refuse(type, permission_of(result.operation), caller, error);
    }
    if (status != HEP_OK) {
        if (error) {
            snprintf(error->domain, sizeof error->domain, "%s", hep_role_name(result.role));
            snprintf(error->operation, sizeof error->operation, "%.60s", name);
        }
        return status;
    }
    result.asked = name;
    snprintf(result.name, sizeof result.name, "%s", hep_json_str(result.operation, "name", name));
    result.heavy = hep_router_needs_lease(router, result.role, result.name);
    *route = result;
    return HEP_OK;
}
