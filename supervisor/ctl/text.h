/*
 * Text for a terminal: durations, sizes, cutting and wrapping by columns, tables, colours. Everything that comes from a
 * daemon passes through here before it is printed, so that a prompt cannot send escape sequences to a terminal.
 */
#ifndef HEP_SUPERVISOR_CTL_TEXT_H
#define HEP_SUPERVISOR_CTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* How to write for who reads it. */
struct ctl_style {
    bool colour; /* escape sequences for colours may be written              */
    bool erases; /* escape sequences that erase may be written: not on a dumb terminal */
    int width;   /* columns; 0 = nobody counts them: nothing is cut          */
};

enum ctl_colour { CTL_PLAIN, CTL_GREEN, CTL_YELLOW, CTL_RED, CTL_BOLD, CTL_DIM, CTL_COLOUR_COUNT };

/* The escape sequence that begins (or with CTL_PLAIN ends) a colour; "" when the style has none. */
const char *ctl_colour(const struct ctl_style *style, enum ctl_colour colour);

/* "340 ms", "3.4 s", "12 min", "3 h 12 min", "2 d 4 h" into buffer (24 bytes at least); returns buffer. */
const char *ctl_duration(int64_t ms, char *buffer, size_t size);
/* As above for a narrow column: "340ms", "3.4s", "12m", "3h12m", "2d04h". */
const char *ctl_duration_short(int64_t ms, char *buffer, size_t size);
/* "0", "812 KiB", "1.2 GiB"; returns buffer. */
const char *ctl_bytes(int64_t bytes, char *buffer, size_t size);

/* Columns that text takes on a terminal; control characters count as one. */
int ctl_columns(const char *text);
/* Writes text with control characters replaced by '?' (new lines and tabs by blanks), cut to columns with "…" at the
   end; columns < 0 = as long as it is. Returns the columns written. */
int ctl_put(FILE *out, const char *text, int columns);
/* Writes text broken at blanks into lines of at most width columns (0 = one line), each after indent blanks but the
   first. column: where the first line already is. Ends with a new line. */
void ctl_wrap(FILE *out, const char *text, int indent, int column, int width);
/* Offset of the first byte that is not valid UTF-8; SIZE_MAX if there is none. */
size_t ctl_utf8_error(const char *text);

/* A column of a table. */
struct ctl_column {
    const char *title;
    bool right; /* aligned to the right                                                     */
    bool flows; /* gives way when the table is wider than the style; the first such one first */
    bool wraps; /* one that flows and is the last: goes on below itself, is not cut         */
};
struct ctl_table;

/* columns is borrowed and must outlive the table. Never NULL: without memory the program ends. */
struct ctl_table *ctl_table_create(const struct ctl_column *columns, int count);
/* The next cell, row by row, printf-formatted. */
__attribute__((format(printf, 3, 4))) void ctl_cell(struct ctl_table *table, enum ctl_colour colour, const char *format,
                                                    ...);
/* Writes the table and frees it. Without a row only a line that says none ("no sessions"), if none is given. */
void ctl_table_end(struct ctl_table *table, const struct ctl_style *style, FILE *out, const char *none);

/* malloc'ed printf; ends the program when there is no memory, as a command-line tool may. */
__attribute__((format(printf, 1, 2))) char *ctl_format(const char *format, ...);

#endif
