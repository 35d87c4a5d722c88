/*
 * Numbers for people, columns, tables, colours. Called by every verb; knows nothing of heptad. Writes to the FILE that
 * it is given and nowhere else.
 */
#include "supervisor/ctl/text.h"

#include "common/status.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char *const sequences[CTL_COLOUR_COUNT] = {"\x1b[0m",  "\x1b[32m", "\x1b[33m",
                                                        "\x1b[31m", "\x1b[1m",  "\x1b[2m"};

const char *ctl_colour(const struct ctl_style *style, enum ctl_colour colour)
{
    return style->colour ? sequences[colour] : "";
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */
static const char *duration(int64_t ms, const char *gap, bool narrow, char *buffer, size_t size)
{
    int64_t s = ms / 1000;
    const char *minutes = narrow ? "m" : "min";
    if (ms < 1000)
        snprintf(buffer, size, "%" PRId64 "%sms", ms < 0 ? 0 : ms, gap);
    else if (ms < 99950)
        snprintf(buffer, size, "%.1f%ss", (double)ms / 1000, gap);
    else if (s < 3600)
        snprintf(buffer, size, "%" PRId64 "%s%s", s / 60, gap, minutes);
    else if (s < 86400)
        snprintf(buffer, size, "%" PRId64 "%sh%s%02" PRId64 "%s%s", s / 3600, gap, gap, s / 60 % 60, gap, minutes);
    else
        snprintf(buffer, size, "%" PRId64 "%sd%s%02" PRId64 "%sh", s / 86400, gap, gap, s / 3600 % 24, gap);
    return buffer;
}

const char *ctl_duration(int64_t ms, char *buffer, size_t size)
{
    return duration(ms, " ", false, buffer, size);
}

const char *ctl_duration_short(int64_t ms, char *buffer, size_t size)
{
    return duration(ms, "", true, buffer, size);
}

const char *ctl_bytes(int64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)(bytes < 0 ? 0 : bytes);
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < HEP_COUNT_OF(units)) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(buffer, size, value > 0 ? "%.0f bytes" : "0", value);
    else
        snprintf(buffer, size, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */
/* One character of text: its bytes (at least 1) and columns; point is '?' for what must not reach a terminal. */
static size_t next_character(const char *text, utf8proc_int32_t *point, int *columns)
{
    utf8proc_int32_t found;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &found);
    if (used <= 0) {
        *point = '?';
        *columns = 1;
        return 1;
    }
    if (found == '\n' || found == '\t' || found == '\r')
        found = ' ';
    else if (found < 0x20 || (found >= 0x7f && found < 0xa0) || (found >= 0x202a && found <= 0x202e) ||
             (found >= 0x2066 && found <= 0x2069))
        found = '?';
    *point = found;
    *columns = utf8proc_charwidth(found);
    return (size_t)used;
}

int ctl_columns(const char *text)
{
    int total = 0, columns;
    utf8proc_int32_t point;
    while (*text) {
        text += next_character(text, &point, &columns);
        total += columns;
    }
    return total;
}

int ctl_put(FILE *out, const char *text, int columns)
{
    bool cut = columns >= 0 && ctl_columns(text) > columns;
    int room = cut ? columns - 1 : columns, written = 0, wide;
    if (columns == 0)
        return 0;
    while (*text) {
        utf8proc_int32_t point;
        utf8proc_uint8_t bytes[4];
        text += next_character(text, &point, &wide);
        if (room >= 0 && written + wide > room)
            break;
        size_t length = (size_t)utf8proc_encode_char(point, bytes);
        fwrite(bytes, 1, length, out);
        written += wide;
    }
    if (cut) {
        fputs("…", out);
        written++;
    }
    return written;
}

void ctl_wrap(FILE *out, const char *text, int indent, int column, int width)
{
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " \n");
        char *word = ctl_format("%.*s", (int)length, text);
        int wide = ctl_columns(word);
        if (!first && width > 0 && column + 1 + wide > width) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (!first && length > 0) {
            fputc(' ', out);
            column++;
        }
        column += ctl_put(out, word, -1);
        free(word);
        first = first && length == 0;
        text += length;
        if (*text == '\n') {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        text += *text != '\0';
    }
    fputc('\n', out);
}

size_t ctl_utf8_error(const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    while (*at) {
        utf8proc_int32_t point;
        utf8proc_ssize_t used = utf8proc_iterate(at, -1, &point);
        if (used <= 0)
            return (size_t)(at - (const utf8proc_uint8_t *)text);
        at += used;
    }
    return SIZE_MAX;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */
struct cell {
    char *text;
    enum ctl_colour colour;
};
struct ctl_table {
    const struct ctl_column *columns;
    int column_count;
    struct cell *cells;
    size_t count, room;
};
enum { GAP = 2, FLOW_MIN = 8 };

static void *need(void *memory)
{
    if (!memory) {
        fputs("heptctl: no memory\n", stderr);
        exit(hep_status_exit(HEP_E_NO_MEMORY));
    }
    return memory;
}

char *ctl_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return need(text);
}

struct ctl_table *ctl_table_create(const struct ctl_column *columns, int count)
{
    struct ctl_table *table = need(calloc(1, sizeof *table));
    *table = (struct ctl_table){.columns = columns, .column_count = count};
    return table;
}

void ctl_cell(struct ctl_table *table, enum ctl_colour colour, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    if (table->count == table->room) {
        table->room = table->room ? table->room * 2 : 64;
        table->cells = need(realloc(table->cells, table->room * sizeof *table->cells));
    }
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    table->cells[table->count++] = (struct cell){need(text), colour};
}

/* Widths by content; the columns that flow give way, the first one first. */
static void measure(const struct ctl_table *table, int width, int *widths)
{
    int total = 0;
    for (int c = 0; c < table->column_count; c++) {
        widths[c] = ctl_columns(table->columns[c].title);
        for (size_t i = (size_t)c; i < table->count; i += (size_t)table->column_count) {
            int columns = ctl_columns(table->cells[i].text);
            widths[c] = columns > widths[c] ? columns : widths[c];
        }
        total += widths[c] + (c > 0 ? GAP : 0);
    }
    for (int c = 0; c < table->column_count && width > 0 && total > width; c++) {
        int title = ctl_columns(table->columns[c].title), least = title > FLOW_MIN ? title : FLOW_MIN;
        if (!table->columns[c].flows || widths[c] <= least)
            continue;
        int rest = widths[c] - (total - width);
        rest = rest > least ? rest : least;
        total -= widths[c] - rest;
        widths[c] = rest;
    }
}

static void print_row(const struct ctl_table *table, const struct ctl_style *style, const struct cell *cells,
                      const int *widths, FILE *out)
{
    int last = table->column_count - 1, indent = 0;
    while (last > 0 && !cells[last].text[0]) /* NOLINT(clang-analyzer-core.NullDereference): each column has its cell */
        last--;                              /* no blanks at the end of a line */
    for (int c = 0; c <= last; c++) {
        int columns = ctl_columns(cells[c].text), pad = columns < widths[c] ? widths[c] - columns : 0;
        fprintf(out, "%*s%s", (c > 0 ? GAP : 0) + (table->columns[c].right ? pad : 0), "",
                cells[c].colour == CTL_PLAIN ? "" : ctl_colour(style, cells[c].colour));
        if (table->columns[c].wraps && columns > widths[c]) { /* the last one: ends the line */
            ctl_wrap(out, cells[c].text, indent, indent, style->width);
            return;
        }
        ctl_put(out, cells[c].text, widths[c]);
        indent += widths[c] + GAP;
        if (cells[c].colour != CTL_PLAIN)
            fputs(ctl_colour(style, CTL_PLAIN), out);
        if (!table->columns[c].right && c < last)
            fprintf(out, "%*s", pad, "");
    }
    fputc('\n', out);
}

void ctl_table_end(struct ctl_table *table, const struct ctl_style *style, FILE *out, const char *none)
{
    int *widths = need(calloc((size_t)table->column_count, sizeof *widths));
    struct cell *titles = need(calloc((size_t)table->column_count, sizeof *titles));
    size_t columns = (size_t)table->column_count;
    hep_assert(table->count % columns == 0);
    measure(table, style->width, widths);
    for (int c = 0; c < table->column_count; c++)
        titles[c] = (struct cell){(char *)(uintptr_t)table->columns[c].title, CTL_DIM};
    if (table->count == 0 && none) {
        fprintf(out, "%s\n", none);
    } else {
        print_row(table, style, titles, widths, out);
        for (size_t i = 0; i < table->count; i += columns)
            print_row(table, style, &table->cells[i], widths, out);
    }
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
    free(widths);
    free(titles);
}
