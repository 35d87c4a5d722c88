/*
 * Byte-pair merging: the table of merge rules and the loop that applies them to one word. Used by the tokenizer; knows
 * token ids only, no text. A table is built once and then read by any number of threads; a workspace belongs to one.
 */
#ifndef HEP_NN_TEXT_BPE_H
#define HEP_NN_TEXT_BPE_H

#include "common/status.h"

struct bpe_table;

/* A table with room for exactly `rules` rules (at most 2^24). Errors: NO_MEMORY. The caller destroys it. */
enum hep_status bpe_table_create(size_t rules, struct bpe_table **table, struct hep_error *error);
void bpe_table_destroy(struct bpe_table *table); /* NULL is accepted */
/* Adds the rule (left, right) → merged; its rank is the number of rules added before. False if the pair has one
   already. Ids are not negative; adding more rules than create() was told is a broken invariant. */
bool bpe_table_add(struct bpe_table *table, int32_t left, int32_t right, int32_t merged);

/* Scratch memory for words of at most `capacity` symbols. */
struct bpe_workspace {
    int32_t *previous; /* [capacity] position of the symbol before, -1 at the start           */
    int32_t *next;     /* [capacity] position of the symbol after, -1 at the end              */
    uint64_t *heap;    /* [3 · capacity] candidates, rank << 32 | position, smallest first    */
    size_t heap_count; /* candidates in the heap                                              */
    size_t capacity;   /* symbols                                                             */
};

enum hep_status bpe_workspace_init(struct bpe_workspace *workspace, size_t capacity, struct hep_error *error);
void bpe_workspace_clear(struct bpe_workspace *workspace); /* a zeroed workspace is accepted */

/* Merges `count` symbols in place, lowest rank first, leftmost first among equals, until no rule applies; returns how
   many are left. O(count · log count), whatever the word. count ≤ workspace capacity. Source: Sennrich et al. 2016,
   "Neural Machine Translation of Rare Words with Subword Units", in the order of Hugging Face tokenizers (a priority
   queue), which equals OpenAI's loop for every table that training can make. */
size_t bpe_merge(const struct bpe_table *table, struct bpe_workspace *workspace, int32_t *symbols, size_t count);

#endif
