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
