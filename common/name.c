/* Comparing names. Called by whoever looks a name up in a table that has names of several worlds. */
#include "common/name.h"

#include <ctype.h>
#include <string.h>

/* The next letter that counts, lower case; 0 at the end. Moves *name past it. */
static int next_letter(const char **name)
{
    while (**name && strchr(" _-", **name))
        (*name)++;
    int letter = (unsigned char)**name;
    *name += letter != 0;
    return letter == '+' ? 'p' : tolower(letter);
}

bool hep_name_is(const char *a, const char *b)
{
    int letter;
    do {
        letter = next_letter(&a);
        if (letter != next_letter(&b))
            return false;
    } while (letter);
    return true;
}

unsigned hep_name_distance(const char *a, const char *b)
{
    enum { LETTERS = 48 };
    unsigned row[LETTERS + 1];
    size_t width = strnlen(b, LETTERS);
    for (size_t j = 0; j <= width; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1] && i <= LETTERS; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= width; j++) {
            unsigned replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned insert = row[j - 1] + 1, remove = row[j] + 1;
            row[j] = replace < insert ? (replace < remove ? replace : remove) : (insert < remove ? insert : remove);
        }
    }
    return row[width];
}
