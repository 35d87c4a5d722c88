/*
 * The merge rules of a byte-pair encoding as a hash table, and the merging of one word by a heap over a linked list of
 * symbols, so that a word of any length costs n · log n. Called by tokenizer.c; allocates only in create and init.
 */
#include "nn/text/bpe.h"

#include <stdlib.h>

struct rule {
    uint64_t pair;  /* left << 32 | right, EMPTY in a free place */
    uint32_t rank;  /* lower merges first                        */
    int32_t merged; /* the id that replaces the pair             */
};

struct bpe_table {
    size_t mask;   /* places - 1; places is a power of two */
    size_t room;   /* rules that still fit                 */
    uint32_t used; /* rules in the table                  */
    struct rule rules[];
};

static const uint64_t EMPTY = UINT64_MAX;

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The place of this pair, or the free place where it would go. */
static size_t place_of(const struct bpe_table *table, uint64_t pair)
{
    uint64_t hash = pair * UINT64_C(0x9E3779B97F4A7C15);
    size_t place = (size_t)(hash >> 32) & table->mask;
    while (table->rules[place].pair != pair && table->rules[place].pair != EMPTY)
        place = (place + 1) & table->mask;
    return place;
}

enum hep_status bpe_table_create(size_t rules, struct bpe_table **table, struct hep_error *error)
{
    hep_assert(rules <= (size_t)1 << 24);
    size_t places = 64;
    while (places < 2 * rules)
        places *= 2;
    struct bpe_table *made = malloc(sizeof *made + places * sizeof made->rules[0]);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu merge rules", rules);
    *made = (struct bpe_table){.mask = places - 1, .room = rules};
    for (size_t place = 0; place < places; place++)
        made->rules[place] = (struct rule){.pair = EMPTY};
    *table = made;
    return HEP_OK;
}

void bpe_table_destroy(struct bpe_table *table)
{
    free(table);
}

bool bpe_table_add(struct bpe_table *table, int32_t left, int32_t right, int32_t merged)
{
    hep_assert(left >= 0 && right >= 0 && merged >= 0);
    uint64_t pair = pair_of(left, right);
    struct rule *rule = &table->rules[place_of(table, pair)];
    if (rule->pair == pair)
        return false;
    hep_assert(table->room > 0);
    table->room--;
    *rule = (struct rule){.pair = pair, .rank = table->used++, .merged = merged};
    return true;
}

enum hep_status bpe_workspace_init(struct bpe_workspace *workspace, size_t capacity, struct hep_error *error)
{
    size_t room = capacity ? capacity : 1;
    struct bpe_workspace made = {.previous = calloc(room, sizeof *made.previous),
                                 .next = calloc(room, sizeof *made.next),
                                 .heap = calloc(3 * room, sizeof *made.heap),
                                 .capacity = capacity};
    if (!made.previous || !made.next || !made.heap) {
        bpe_workspace_clear(&made);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to merge a word of %zu bytes", capacity);
    }
    *workspace = made;
    return HEP_OK;
}

void bpe_workspace_clear(struct bpe_workspace *workspace)
{
    free(workspace->previous);
    free(workspace->next);
    free(workspace->heap);
    *workspace = (struct bpe_workspace){0};
}

static void heap_push(struct bpe_workspace *w, uint64_t candidate)
{
    size_t at = w->heap_count++;
    hep_assert(at < 3 * w->capacity);
    while (at > 0 && w->heap[(at - 1) / 2] > candidate) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = candidate;
}

static uint64_t heap_pop(struct bpe_workspace *w)
{
    uint64_t top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->heap_count; at = child) {
        if (child + 1 < w->heap_count && w->heap[child + 1] < w->heap[child])
            child++;
        if (w->heap[child] >= last)
            break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = last;
    return top;
}

/* The rule for the symbol at `at` and the one after it, or NULL. */
static const struct rule *rule_at(const struct bpe_table *table, const struct bpe_workspace *w, const int32_t *symbols,
                                  int32_t at)
{
    if (at < 0 || w->next[at] < 0)
        return NULL;
    uint64_t pair = pair_of(symbols[at], symbols[w->next[at]]);
    const struct rule *rule = &table->rules[place_of(table, pair)];
    return rule->pair == pair ? rule : NULL;
}

static void consider(const struct bpe_table *table, struct bpe_workspace *w, const int32_t *symbols, int32_t at)
{
    const struct rule *rule = rule_at(table, w, symbols, at);
    if (rule)
        heap_push(w, (uint64_t)rule->rank << 32 | (uint32_t)at);
}

size_t bpe_merge(const struct bpe_table *table, struct bpe_workspace *w, int32_t *symbols, size_t count)
{
    hep_assert(count <= w->capacity);
    int32_t length = (int32_t)count;
    w->heap_count = 0;
    for (int32_t at = 0; at < length; at++) {
        w->previous[at] = at - 1;
        w->next[at] = at + 1 < length ? at + 1 : -1;
    }
    for (int32_t at = 0; at < length; at++)
        consider(table, w, symbols, at);

    while (w->heap_count > 0) {
        uint64_t candidate = heap_pop(w);
        int32_t at = (int32_t)(uint32_t)candidate;
        if (symbols[at] < 0) /* merged into its left neighbour since */
            continue;
        const struct rule *rule = rule_at(table, w, symbols, at);
        if (!rule || rule->rank != (uint32_t)(candidate >> 32)) /* its right neighbour changed since */
            continue;
        int32_t gone = w->next[at], after = w->next[gone];
        symbols[at] = rule->merged;
        symbols[gone] = -1;
        w->next[at] = after;
        if (after >= 0)
            w->previous[after] = at;
        consider(table, w, symbols, w->previous[at]);
        consider(table, w, symbols, at);
    }

    size_t left = 0;
    for (size_t at = 0; at < count; at++)
        if (symbols[at] >= 0)
            symbols[left++] = symbols[at];
    return left;
}
