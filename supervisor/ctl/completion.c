/*
 * `heptctl completion`, made from the tables of verbs.c, and `heptctl words`, which the scripts ask for names that only
 * the daemon knows. Called by main, hep-pages and tests.
 */
#include "common/roles.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_words[CTL_KIND_COUNT] = {
#define KIND(id, word) word,
    CTL_KINDS(KIND)
#undef KIND
};

/* Every option of a verb, the global ones after its own: visit is called for each. */
static void each_option(const struct ctl_verb *verb, void (*visit)(FILE *out, const struct ctl_option *option),
                        FILE *out)
{
    for (const struct ctl_option *option = verb ? verb->options : NULL; option && option->name; option++)
        visit(out, option);
    for (const struct ctl_option *option = ctl_global_options; option->name; option++)
        visit(out, option);
}

/* ---- bash -------------------------------------------------------------------------------------------------------- */
static void bash_option(FILE *out, const struct ctl_option *option)
{
    fprintf(out, " --%s", option->name);
}

static void bash_value(FILE *out, const struct ctl_option *option)
{
    if (!option->argument)
        return;
    fprintf(out, "    --%s", option->name);
    if (option->letter)
        fprintf(out, "|-%c", option->letter);
    if (option->kind == CTL_KIND_FILE)
        fputs(") mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); compopt -o filenames; return ;;\n", out);
    else if (option->kind == CTL_KIND_CHOICE)
        fprintf(out, ") mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\"); return ;;\n", option->choices);
    else if (kind_words[option->kind][0])
        fprintf(out, ") mapfile -t COMPREPLY < <(compgen -W \"$(_heptctl_words %s)\" -- \"$cur\"); return ;;\n",
                kind_words[option->kind]);
    else
        fputs(") return ;;\n", out);
}

static void bash_verb(FILE *out, const struct ctl_verb *verb)
{
    fprintf(out, "  %s)\n    case $prev in\n", verb->name);
    for (const struct ctl_option *option = verb->options; option && option->name; option++)
        bash_value(out, option);
    fputs("    esac\n    words='", out);
    each_option(verb, bash_option, out);
    fputs("'\n", out);
    if (kind_words[verb->kind][0])
        fprintf(out, "    [[ $cur == -* ]] || words=$(_heptctl_words %s) ;;\n", kind_words[verb->kind]);
    else if (strcmp(verb->name, "completion") == 0)
        fputs("    [[ $cur == -* ]] || words='bash zsh' ;;\n", out);
    else
        fputs("    ;;\n", out);
}

void ctl_completion_bash(FILE *out)
{
    fputs("# Completion of heptctl for bash. Generated: heptctl completion bash\n"
          "_heptctl_words() { heptctl words \"$1\" --timeout 1 \"${daemon[@]}\" 2>/dev/null; }\n"
          "_heptctl() {\n"
          "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' words='' i value\n"
          "  local -a daemon=()\n"
          "  COMPREPLY=()\n"
          "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    case ${COMP_WORDS[i]} in\n"
          "    --state | --socket | --timeout)\n"
          "      value=${COMP_WORDS[i+1]}\n"
          "      if [[ $value == = ]]; then value=${COMP_WORDS[i+2]}; fi\n"
          "      [[ ${COMP_WORDS[i]} == --timeout ]] || daemon+=(\"${COMP_WORDS[i]}=${value/#\\~\\//$HOME/}\")\n"
          "      [[ ${COMP_WORDS[i+1]} == = ]] && ((i++))\n"
          "      ((i++)) ;;\n"
          "    -*) ;;\n"
          "    *) [[ $verb ]] || verb=${COMP_WORDS[i]} ;;\n"
          "    esac\n"
          "  done\n"
          "  case $prev in\n",
          out);
    for (const struct ctl_option *option = ctl_global_options; option->name; option++)
        bash_value(out, option);
    fputs("  esac\n  case $verb in\n", out);
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        if (!verb->hidden)
            bash_verb(out, verb);
    fputs("  *)\n    words='", out);
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        if (!verb->hidden)
            fprintf(out, "%s%s", verb == ctl_verbs ? "" : " ", verb->name);
    each_option(NULL, bash_option, out);
    fputs("' ;;\n  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\ncomplete -F _heptctl "
          "heptctl\n",
          out);
}

/* ---- zsh --------------------------------------------------------------------------------------------------------- */
/* Text inside '[…]' inside single quotes. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void zsh_action(FILE *out, enum ctl_kind kind, const char *choices)
{
    if (kind == CTL_KIND_FILE)
        fputs("_files", out);
    else if (kind == CTL_KIND_CHOICE)
        fprintf(out, "(%s)", choices);
    else if (kind_words[kind][0])
        fprintf(out, "_heptctl_words %s", kind_words[kind]);
}

static void zsh_spec(FILE *out, const struct ctl_option *option, const char *dashes, const char *name)
{
    fprintf(out, "      '%s%s%s%s[", option->repeats ? "*" : "", dashes, name,
            option->argument && dashes[1] ? "=" : "");
    zsh_text(out, option->help);
    fputc(']', out);
    if (option->argument) {
        fputc(':', out);
        zsh_text(out, option->argument);
        fputc(':', out);
        zsh_action(out, option->kind, option->choices);
    }
    fputs("' \\\n", out);
}

static void zsh_option(FILE *out, const struct ctl_option *option)
{
    char letter[2] = {option->letter, '\0'};
    zsh_spec(out, option, "--", option->name);
    if (option->letter)
        zsh_spec(out, option, "-", letter);
}

static void zsh_verb(FILE *out, const struct ctl_verb *verb)
{
    fprintf(out, "  %s)\n    _arguments \\\n", verb->name);
    each_option(verb, zsh_option, out);
    fprintf(out, "      '*:");
    zsh_text(out, verb->arguments[0] ? verb->arguments : "nothing more");
    fputc(':', out);
    if (strcmp(verb->name, "completion") == 0)
        fputs("(bash zsh)", out);
    else
        zsh_action(out, verb->kind, "");
    fputs("' ;;\n", out);
}

void ctl_completion_zsh(FILE *out)
{
    fputs("#compdef heptctl\n"
          "# Completion of heptctl for zsh. Generated: heptctl completion zsh\n"
          "_heptctl_words() {\n"
          "  local -a found\n"
          "  found=(${(f)\"$(heptctl words $1 --timeout 1 $daemon 2>/dev/null)\"})\n"
          "  compadd -a found\n"
          "}\n"
          "_heptctl() {\n"
          "  local -a verbs daemon\n"
          "  local -i i at=0\n"
          "  local value\n"
          "  for ((i = 2; i <= $#words; i++)); do\n"
          "    case $words[i] in\n"
          "    --(state|socket)=*)\n"
          "      value=${(Q)words[i]#*=}\n"
          "      daemon+=(\"${words[i]%%=*}=${value/#\\~\\//$HOME/}\") ;;\n"
          "    --state|--socket)\n"
          "      value=${(Q)words[i+1]}\n"
          "      daemon+=(\"$words[i]=${value/#\\~\\//$HOME/}\")\n"
          "      ((i++)) ;;\n"
          "    --timeout) ((i++)) ;;\n"
          "    -*) ;;\n"
          "    *) ((at)) || at=i ;;\n"
          "    esac\n"
          "  done\n"
          "  verbs=(\n",
          out);
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++) {
        if (verb->hidden)
            continue;
        fprintf(out, "    '%s:", verb->name);
        zsh_text(out, verb->help);
        fputs("'\n", out);
    }
    fputs("  )\n  if ((at == 0 || at >= CURRENT)); then\n    _describe verb verbs\n    return\n  fi\n"
          "  local verb=$words[at]\n  shift $((at - 1)) words\n  ((CURRENT -= at - 1))\n  case $verb in\n",
          out);
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        if (!verb->hidden)
            zsh_verb(out, verb);
    fputs("  esac\n}\n_heptctl \"$@\"\n", out);
}

/* To add a shell: a row. */
static const struct {
    const char *shell;
    void (*write)(FILE *out);
} shells[] = {{"bash", ctl_completion_bash}, {"zsh", ctl_completion_zsh}};

static void print_script(struct ctl *ctl, void (*write)(FILE *out))
{
    char *script = NULL;
    size_t size = 0;
    if (!ctl->json) {
        write(ctl->out);
        return;
    }
    FILE *text = open_memstream(&script, &size);
    hep_assert(text);
    write(text);
    fclose(text);
    json_t *said = json_pack("{s:s}", "script", script);
    ctl_print_json(ctl->out, said, false);
    json_decref(said);
    free(script);
}

enum hep_status ctl_completion(struct ctl *ctl, struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(shells); i++)
        if (strcmp(ctl->words[0], shells[i].shell) == 0) {
            print_script(ctl, shells[i].write);
            return HEP_OK;
        }
    return hep_fail(error, HEP_E_BAD_FIELD, "there is no completion for \"%.40s\", only for bash and zsh",
                    ctl->words[0]);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */
/* Where the names of a kind come from. status: asked for each of these, "" = once, without. */
static const struct source {
    enum ctl_kind kind;
    const char *type, *list, *name, *status;
} sources[] = {
    {CTL_KIND_SESSION, "session.list", "sessions", "session_id", ""},
    {CTL_KIND_OPEN_SESSION, "session.list", "sessions", "session_id", "running queued paused"},
    {CTL_KIND_GOING_SESSION, "session.list", "sessions", "session_id", "running queued"},
    {CTL_KIND_PAUSED_SESSION, "session.list", "sessions", "session_id", "paused"},
    {CTL_KIND_LOST_SESSION, "session.list", "sessions", "session_id", "failed cancelled"},
    {CTL_KIND_MODEL, "model.list", "models", "name", ""},
    {CTL_KIND_SCHEDULER, "scheduler.list", "schedulers", "name", ""},
    {CTL_KIND_OPERATION, "domain.describe", "operations", "type", ""},
    {CTL_KIND_WORKFLOW, "workflow.list", "workflows", "workflow_id", ""},
    {CTL_KIND_BATCH, "batch.list", "batches", "batch_id", ""},
    {CTL_KIND_INCIDENT, "domain.incidents", "incidents", "incident", ""},
};

static enum hep_status print_words(struct ctl *ctl, const struct source *source, const char *status, int length,
                                   struct hep_error *error)
{
    json_t *reply = NULL;
    size_t index;
    const json_t *row;
    json_t *request = length > 0 ? json_pack("{s:s%}", "status", status, (size_t)length) : NULL;
    HEP_TRY(ctl_ask(ctl, source->type, request, &reply, error));
    json_array_foreach(json_object_get(reply, source->list), index, row)
    {
        const json_t *name = json_object_get(row, source->name);
        if (json_is_integer(name))
            fprintf(ctl->out, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(name));
        else
            fprintf(ctl->out, "%s\n", json_is_string(name) ? json_string_value(name) : "");
    }
    json_decref(reply);
    return HEP_OK;
}

static enum hep_status print_source(struct ctl *ctl, const struct source *source, struct hep_error *error)
{
    const char *status = source->status;
    do {
        int length = (int)strcspn(status, " ");
        HEP_TRY(print_words(ctl, source, status, length, error));
        status += length + (status[length] == ' ');
    } while (*status);
    return HEP_OK;
}

enum hep_status ctl_words(struct ctl *ctl, struct hep_error *error)
{
    const char *kind = ctl->words[0];
    for (const struct ctl_verb *verb = ctl_verbs; strcmp(kind, "verbs") == 0 && verb->name; verb++)
        if (!verb->hidden)
            fprintf(ctl->out, "%s\n", verb->name);
    for (int role = 0; strcmp(kind, "domains") == 0 && role < HEP_ROLE_COUNT; role++)
        fprintf(ctl->out, "%s\n", hep_role_name((enum hep_role)role));
    for (size_t i = 0; i < HEP_COUNT_OF(sources); i++)
        if (strcmp(kind, kind_words[sources[i].kind]) == 0)
            HEP_TRY(print_source(ctl, &sources[i], error));
    return HEP_OK;
}
