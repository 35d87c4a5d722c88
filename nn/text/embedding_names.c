/* Finds the names of embeddings in the text of a prompt. Called on both sides, see the header. */
#include "nn/text/embedding_names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nn/text/normalize.h"

static const char prefix[] = "embedding:", ending[] = ".safetensors";
enum { PREFIX = sizeof prefix - 1, ENDING = sizeof ending - 1 };

const char *hep_embedding_word(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* ---- embedding:NAME ---------------------------------------------------------------------------------------------- */
static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

/* Whether a name may go on with c. */
static bool goes_on(char c)
{
    return is_alphanumeric(c) || c == '_' || c == '-' || c == '/';
}

static bool ends_at(const char *text, size_t size, size_t at)
{
    return at == size || !goes_on(text[at]);
}

/* Bytes of `name`, and of the ending of a file behind it, where they stand at `at`; 0: they do not. */
static size_t name_at(const char *text, size_t size, size_t at, const char *name, size_t *all)
{
    size_t length = strlen(name);
    if (!length || length > size - at || strncasecmp(text + at, name, length) != 0)
        return 0;
    *all = length;
    if (size - at - length >= ENDING && strncasecmp(text + at + length, ending, ENDING) == 0)
        *all += ENDING;
    return ends_at(text, size, at + *all) ? length : 0;
}

static void read_said(const char *text, size_t size, size_t at, const char *const *names, size_t count,
                      struct hep_embedding_said *said)
{
    size_t from = at + PREFIX, best = 0, all = 0;
    *said = (struct hep_embedding_said){.offset = at, .name = text + from, .which = -1};
    for (size_t i = 0; i < count; i++) {
        const char *const forms[] = {names[i], hep_embedding_word(names[i])};
        for (size_t k = 0; k < HEP_COUNT_OF(forms); k++) {
            size_t length = name_at(text, size, from, forms[k], &all);
            if (length > best) {
                best = length;
                said->which = (int)i;
                said->size = PREFIX + all;
            }
        }
    }
    said->name_size = best;
    if (best)
        return;
    while (from + said->name_size < size && goes_on(text[from + said->name_size]))
        said->name_size++;
    said->size = PREFIX + said->name_size;
}

bool hep_embedding_said_next(const char *text, size_t size, size_t from, const char *const *names, size_t count,
                             struct hep_embedding_said *said)
{
    for (size_t at = from; size >= PREFIX && at <= size - PREFIX; at++)
        if (strncasecmp(text + at, prefix, PREFIX) == 0 && (at == 0 || !goes_on(text[at - 1])) && at + PREFIX < size &&
            goes_on(text[at + PREFIX])) {
            read_said(text, size, at, names, count, said);
            return true;
        }
    return false;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */
/* A text as words are compared in it: what the tokenizer does not see is out. */
struct plain {
    char *text;      /* owned, size bytes           */
    bool *is_border; /* [size + 1], owned: a word of CLIP's may begin, and end, before that byte */
    size_t size;
};

/* CLIP's kinds: letters stay together, digits do not, and the rest does. */
enum kind { LETTER, DIGIT, REST };

static enum kind kind_of(char c)
{
    return c >= '0' && c <= '9' ? DIGIT : is_alphanumeric(c) ? LETTER : REST;
}

static bool is_unseen(char c)
{
    return c == ' ' || c == '\0' || strchr("()[]\\", c);
}

static void plain_clear(struct plain *plain)
{
    free(plain->text);
    free(plain->is_border);
}

static enum hep_status plain_make(const char *text, size_t size, struct plain *plain, struct hep_error *error)
{
    char *normal = NULL;
    size_t length = 0;
    bool border = true;
    HEP_TRY(text_normalize(text, size, &normal, &length, error));
    *plain = (struct plain){malloc(length + 1), malloc((length + 1) * sizeof(bool)), 0};
    if (!plain->text || !plain->is_border) {
        free(normal);
        plain_clear(plain);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt of %zu bytes", size);
    }
    for (size_t i = 0; i < length; i++) {
        if (is_unseen(normal[i])) {
            border = true;
            continue;
        }
        enum kind kind = kind_of(normal[i]);
        bool colon = normal[i] == ':' || (i > 0 && normal[i - 1] == ':'); /* of a weight, perhaps */
        plain->is_border[plain->size] = border || kind == DIGIT || colon || kind != kind_of(normal[i - 1]);
        plain->text[plain->size++] = normal[i];
        border = false;
    }
    plain->is_border[plain->size] = true;
    free(normal);
    return HEP_OK;
}

/* The longest word that stands at `at`; -1: none. */
static int longest_at(const struct plain *text, size_t at, const struct plain *words, size_t count)
{
    int best = -1;
    for (size_t i = 0; i < count; i++)
        if (words[i].size > 0 && words[i].size <= text->size - at && text->is_border[at + words[i].size] &&
            memcmp(text->text + at, words[i].text, words[i].size) == 0 &&
            (best < 0 || words[i].size > words[best].size))
            best = (int)i;
    return best;
}

static void mark_used(const struct plain *text, const struct plain *words, size_t count, bool *used)
{
    for (size_t at = 0; at < text->size;) {
        int found = text->is_border[at] ? longest_at(text, at, words, count) : -1;
        if (found >= 0)
            used[found] = true;
        at += found >= 0 ? words[found].size : 1;
    }
}

enum hep_status hep_embedding_words_used(const char *text, size_t size, const char *const *words, size_t count,
                                         bool *used, struct hep_error *error)
{
    struct plain *plain = calloc(count + 1, sizeof *plain), whole = {0};
    enum hep_status status = plain ? plain_make(text, size, &whole, error)
                                   : hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu names", count);
    for (size_t i = 0; status == HEP_OK && i < count; i++)
        status = plain_make(words[i], strlen(words[i]), &plain[i], error);
    if (status == HEP_OK)
        mark_used(&whole, plain, count, used);
    plain_clear(&whole);
    for (size_t i = 0; plain && i < count; i++)
        plain_clear(&plain[i]);
    free(plain);
    return status;
}
