/*
 * Frames to names. Called by incidents.c for the stack of one crash; each program file is opened once. Reads files and
 * nothing else: the process that crashed is gone.
 */
#include "supervisor/ctl/symbols.h"

#include "common/status.h"
#include "supervisor/ctl/text.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODULES_MAX = 32 };

struct module {
    char *path;
    const char *why; /* it cannot be used; NULL = it can */
    Dwfl *dwfl;
    Dwfl_Module *file;
    GElf_Addr bias; /* address for libdwfl = address in the file + bias */
};

struct ctl_symbols {
    const char *build;
    int64_t time_ms;
    struct module modules[MODULES_MAX];
    int count;
};

static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                         .find_debuginfo = dwfl_standard_find_debuginfo,
                                         .section_address = dwfl_offline_section_address};

struct ctl_symbols *ctl_symbols_create(const char *build, int64_t time_ms)
{
    struct ctl_symbols *symbols = calloc(1, sizeof *symbols);
    hep_assert(symbols);
    *symbols = (struct ctl_symbols){.build = build, .time_ms = time_ms};
    return symbols;
}

void ctl_symbols_destroy(struct ctl_symbols *symbols)
{
    for (int i = 0; symbols && i < symbols->count; i++) {
        dwfl_end(symbols->modules[i].dwfl);
        free(symbols->modules[i].path);
    }
    free(symbols);
}

/* ---- whether a file is the one that ran -------------------------------------------------------------------------- */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Our programs have the identity of their build in them, as text. */
static bool holds(int fd, size_t bytes, const char *text)
{
    void *map = text[0] && bytes > 0 ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        return false;
    bool found = memmem(map, bytes, text, strlen(text)) != NULL;
    munmap(map, bytes);
    return found;
}

/* NULL: it is; else why not. */
static const char *doubt(const struct ctl_symbols *symbols, const char *path)
{
    struct stat about;
    const char *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? "the file is gone" : "the file cannot be read";
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        why = "it is no file";
    else if (holds(fd, (size_t)about.st_size, symbols->build))
        why = NULL;
    else if (strncmp(name_of(path), "heptad", 6) == 0)
        why = "the file is of another build";
    else if ((int64_t)about.st_ctim.tv_sec * 1000 > symbols->time_ms)
        why = "the file was replaced since";
    close(fd);
    return why;
}

static void open_module(const struct ctl_symbols *symbols, struct module *module)
{
    module->why = doubt(symbols, module->path);
    if (module->why)
        return;
    module->why = "the file is no program";
    module->dwfl = dwfl_begin(&callbacks);
    if (!module->dwfl)
        return;
    module->file = dwfl_report_offline(module->dwfl, "", module->path, -1);
    dwfl_report_end(module->dwfl, NULL, NULL);
    if (module->file && dwfl_module_getelf(module->file, &module->bias))
        module->why = NULL;
}

static struct module *module_of(struct ctl_symbols *symbols, const char *path, size_t length)
{
    for (int i = 0; i < symbols->count; i++)
        if (strlen(symbols->modules[i].path) == length && strncmp(symbols->modules[i].path, path, length) == 0)
            return &symbols->modules[i];
    if (symbols->count == MODULES_MAX)
        return NULL;
    struct module *module = &symbols->modules[symbols->count++];
    module->path = ctl_format("%.*s", (int)length, path);
    open_module(symbols, module);
    return module;
}

/* ---- one frame --------------------------------------------------------------------------------------------------- */
/* The path of a source file without the part that only the machine that built it has. */
static const char *source_of(const char *path)
{
    static const char *const folders[] = {"/common/", "/shm/", "/nn/", "/supervisor/", "/instructors/", "/tests/"};
    for (size_t i = 0; i < HEP_COUNT_OF(folders); i++) {
        const char *at = strstr(path, folders[i]);
        if (at)
            return at + 1;
    }
    return path;
}

/* "poll at /usr/include/…/poll2.h:39, inlined in hep_wait at …": the functions that the compiler put into one another,
   from the innermost; appended to text, which is taken. outer: the function that has them all. */
static char *add_inlined(char *text, Dwarf_Die *cu, Dwarf_Addr address, const char *outer)
{
    Dwarf_Die *scopes = NULL, *chain = NULL;
    Dwarf_Files *files = NULL;
    int count = dwarf_getscopes(cu, address, &scopes), length = count > 0 ? dwarf_getscopes_die(&scopes[0], &chain) : 0;
    dwarf_getsrcfiles(cu, &files, NULL);
    for (int i = 0; i < length; i++) {
        Dwarf_Attribute attribute;
        Dwarf_Word file = 0, line = 0;
        if (dwarf_tag(&chain[i]) != DW_TAG_inlined_subroutine)
            continue;
        dwarf_formudata(dwarf_attr(&chain[i], DW_AT_call_file, &attribute), &file);
        dwarf_formudata(dwarf_attr(&chain[i], DW_AT_call_line, &attribute), &line);
        const char *source = files ? dwarf_filesrc(files, (size_t)file, NULL, NULL) : NULL, *caller = outer;
        for (int k = i + 1; k < length; k++)
            if (dwarf_tag(&chain[k]) == DW_TAG_inlined_subroutine) {
                caller = dwarf_diename(&chain[k]);
                break;
            }
        char *longer = ctl_format("%s, inlined in %s at %s:%d", text, caller ? caller : "?",
                                  source ? source_of(source) : "?", (int)line);
        free(text);
        text = longer;
    }
    free(chain);
    free(scopes);
    return text;
}

/* The name of the innermost function that was inlined at the address; NULL if none was. */
static const char *inlined_name(Dwarf_Die *cu, Dwarf_Addr address)
{
    Dwarf_Die *scopes = NULL;
    const char *name = NULL;
    int count = cu ? dwarf_getscopes(cu, address, &scopes) : 0;
    for (int i = 0; i < count && !name; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag == DW_TAG_inlined_subroutine)
            name = dwarf_diename(&scopes[i]);
        else if (tag == DW_TAG_subprogram)
            break;
    }
    free(scopes);
    return name;
}

static char *describe(const struct module *module, GElf_Addr address, const char *frame)
{
    GElf_Off offset = 0;
    GElf_Sym symbol;
    Dwarf_Addr bias = 0;
    int line_number = 0;
    const char *name = dwfl_module_addrinfo(module->file, address, &offset, &symbol, NULL, NULL, NULL);
    Dwfl_Line *line = dwfl_module_getsrc(module->file, address);
    const char *source = line ? dwfl_lineinfo(line, NULL, &line_number, NULL, NULL, NULL) : NULL;
    Dwarf_Die *cu = dwfl_module_addrdie(module->file, address, &bias);
    const char *inner = inlined_name(cu, address - bias);
    if (name && source) {
        char *text = ctl_format("%s at %s:%d", inner ? inner : name, source_of(source), line_number);
        return inner ? add_inlined(text, cu, address - bias, name) : text;
    }
    if (source)
        return ctl_format("%s:%d", source_of(source), line_number);
    if (name)
        return ctl_format("%s+0x%llx (%s)", name, (unsigned long long)offset, name_of(module->path));
    return ctl_format("%s (no name is known)", frame);
}

char *ctl_symbol(struct ctl_symbols *symbols, const char *frame)
{
    const char *plus = strrchr(frame, '+');
    char *end = NULL;
    unsigned long long offset = plus ? strtoull(plus + 1, &end, 16) : 0;
    if (!plus || end == plus + 1 || *end || frame[0] != '/')
        return ctl_format("%s (it lies in no file)", frame);
    const struct module *module = module_of(symbols, frame, (size_t)(plus - frame));
    if (!module)
        return ctl_format("%s (too many files)", frame);
    if (module->why)
        return ctl_format("%s (%s)", frame, module->why);
    return describe(module, (GElf_Addr)offset + module->bias, frame);
}
