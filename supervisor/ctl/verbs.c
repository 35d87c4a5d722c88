/*
 * The table of heptctl's verbs and their options. Usage, help, completion and the manual page expand it.
 * To add a verb: a row in ctl_verbs, its function in the file of its family, its declaration in ctl.h; then
 * `build/bin/hep-pages` writes share/completion and docs/man anew (a test compares).
 */
#include "supervisor/ctl/ctl.h"

#define OPTION(text, short_form, takes, what, ...)                                                                     \
    {                                                                                                                  \
        .name = text, .letter = short_form, .argument = takes, .help = what, __VA_ARGS__                               \
    }
#define END_OF_OPTIONS                                                                                                 \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

const struct ctl_option ctl_global_options[] = {
    OPTION("json", 0, NULL, "print what the daemon said, as JSON"),
    OPTION("state", 0, "DIR", "state folder of the daemon that is meant", .kind = CTL_KIND_FILE),
    OPTION("socket", 0, "PATH", "its control socket", .kind = CTL_KIND_FILE),
    OPTION("timeout", 0, "SECONDS", "wait so long for an answer (10)"),
    OPTION("help", 'h', NULL, "help about the verb"),
    OPTION("version", 0, NULL, "version of heptctl"),
    END_OF_OPTIONS,
};

/* Names that the workflow knows, by their option: see the table in generate.c. */
static const struct ctl_option generate_options[] = {
    OPTION("negative", 'n', "TEXT", "what the image does not show"),
    OPTION("steps", 's', "N", "denoising steps (the model's default)"),
    OPTION("guidance", 'g', "X", "how strongly the prompt pulls; 1 = not at all"),
    OPTION("width", 'W', "PIXELS", "width of the image"),
    OPTION("height", 'H', "PIXELS", "height of the image"),
    OPTION("seed", 0, "N", "the same seed gives the same image (a random one)"),
    OPTION("scheduler", 0, "NAME", "diffusion scheduler, as diffusers or A1111 call it", .kind = CTL_KIND_SCHEDULER),
    OPTION("model", 'm', "NAME", "model to use", .kind = CTL_KIND_MODEL),
    OPTION("lora", 0, "NAME[:WEIGHT]", "LoRA to use, and how much of it (1); may be repeated", .repeats = true),
    OPTION("count", 'c', "N", "images; each has the next seed (1)"),
    OPTION("format", 'f', "FORMAT", "png, png16, jpeg or webp (png, or what --out ends in)", .kind = CTL_KIND_CHOICE,
           .choices = "png png16 jpeg webp"),
    OPTION("quality", 0, "N", "1 to 100, of jpeg and webp (90)"),
    OPTION("image", 'i', "FILE", "begin from this image", .kind = CTL_KIND_FILE),
    OPTION("strength", 0, "X", "how much of it is made anew, to 1 (0.75)"),
    OPTION("mask", 0, "FILE", "make anew only what is white in this image", .kind = CTL_KIND_FILE),
    OPTION("from", 0, "FILE", "as the image in this file was made; what else is said goes before",
           .kind = CTL_KIND_FILE),
    OPTION("upscale", 0, "X", "make the image so many times larger each way"),
    OPTION("upscaler", 0, "NAME", "by this network (by a filter)"),
    OPTION("set", 0, "NAME=VALUE", "any other parameter of the workflow; @FILE gives that file; may be repeated",
           .repeats = true),
    OPTION("workflow", 0, "ID", "workflow to run (txt2img; img2img with --image, inpaint with --mask)",
           .kind = CTL_KIND_WORKFLOW),
    OPTION("priority", 0, "N", "higher goes first (0)"),
    OPTION("out", 'o', "FILE|DIR", "copy the images there, else only their paths are printed", .kind = CTL_KIND_FILE),
    OPTION("previews", 0, "FILE|DIR", "keep there how an image looks while it is made: a small PNG, again and again",
           .kind = CTL_KIND_FILE),
    OPTION("show", 0, NULL, "draw the images on the terminal (small ones are drawn anyhow)"),
    OPTION("no-show", 0, NULL, "do not"),
    OPTION("no-wait", 0, NULL, "print the session and leave"),
    END_OF_OPTIONS,
};
static const struct ctl_option upscale_options[] = {
    OPTION("upscaler", 'u', "NAME", "network that enlarges (a filter); heptctl models --kind upscaler"),
    OPTION("scale", 's', "X", "how many times larger each way (as the network does)"),
    OPTION("width", 'W', "PIXELS", "width of the image, instead of --scale"),
    OPTION("height", 'H', "PIXELS", "height of the image, instead of --scale"),
    OPTION("filter", 0, "NAME", "how to get to the exact size (lanczos)", .kind = CTL_KIND_CHOICE,
           .choices = "lanczos bicubic bilinear nearest"),
    OPTION("format", 'f', "FORMAT", "png, png16, jpeg or webp (png, or what --out ends in)", .kind = CTL_KIND_CHOICE,
           .choices = "png png16 jpeg webp"),
    OPTION("quality", 0, "N", "1 to 100, of jpeg and webp (90)"),
    OPTION("set", 0, "NAME=VALUE",
           "any other parameter of the workflow upscale; @FILE gives that file; may be repeated", .repeats = true),
    OPTION("priority", 0, "N", "higher goes first (0)"),
    OPTION("out", 'o', "FILE|DIR", "copy the image there, else only its path is printed", .kind = CTL_KIND_FILE),
    OPTION("show", 0, NULL, "draw the image on the terminal (a small one is drawn anyhow)"),
    OPTION("no-show", 0, NULL, "do not"),
    OPTION("no-wait", 0, NULL, "print the session and leave"),
    END_OF_OPTIONS,
};
static const struct ctl_option sessions_options[] = {
    OPTION("status", 's', "STATUS", "only those in this status", .kind = CTL_KIND_CHOICE,
           .choices = "queued running paused completed failed cancelled"),
    OPTION("workflow", 'w', "ID", "only those of this workflow", .kind = CTL_KIND_WORKFLOW),
    OPTION("after", 0, "TIME", "only those accepted then or later"),
    OPTION("before", 0, "TIME", "only those accepted before then"),
    OPTION("limit", 'n', "N", "at most so many, newest first (20)"),
    OPTION("estimates", 0, NULL, "how long completed ones were estimated to take, and took"),
    OPTION("cursor", 0, "CURSOR", "the page after the one that named it"),
    END_OF_OPTIONS,
};
static const struct ctl_option wait_options[] = {
    OPTION("out", 'o', "FILE|DIR", "copy the images there", .kind = CTL_KIND_FILE),
    OPTION("show", 0, NULL, "draw the images on the terminal (small ones are drawn anyhow)"),
    OPTION("no-show", 0, NULL, "do not"),
    END_OF_OPTIONS,
};
static const struct ctl_option preview_options[] = {
    OPTION("out", 'o', "FILE|DIR", "write it there", .kind = CTL_KIND_FILE),
    END_OF_OPTIONS,
};
static const struct ctl_option events_options[] = {
    OPTION("follow", 'f', NULL, "go on until interrupted"),
    OPTION("after", 0, "SEQ", "only what came after this event"),
    OPTION("session", 's', "ID", "only what happened to this session", .kind = CTL_KIND_SESSION),
    OPTION("types", 't', "NAMES", "only events with these names: session.state,domain.*"),
    OPTION("limit", 'n', "N", "at most so many, without --follow (100)"),
    END_OF_OPTIONS,
};
static const struct ctl_option logs_options[] = {
    OPTION("lines", 'n', "N", "the last so many lines (50)"),
    OPTION("session", 's', "ID", "only lines about this session, of every domain", .kind = CTL_KIND_SESSION),
    OPTION("follow", 'f', NULL, "go on until interrupted"),
    END_OF_OPTIONS,
};
static const struct ctl_option top_options[] = {
    OPTION("interval", 'i', "SECONDS", "look so often (1)"),
    OPTION("once", 0, NULL, "one view, then leave"),
    END_OF_OPTIONS,
};
static const struct ctl_option trace_options[] = {
    OPTION("out", 'o', "FILE", "write it there, not to standard output", .kind = CTL_KIND_FILE),
    END_OF_OPTIONS,
};
static const struct ctl_option stop_options[] = {
    OPTION("now", 0, NULL, "do not wait for what is in hand; it goes on at the next start"),
    OPTION("no-wait", 0, NULL, "do not wait for the end"),
    END_OF_OPTIONS,
};
static const struct ctl_option call_options[] = {
    OPTION("internal", 0, NULL, "ask as the supervisor asks: an engineer's tool, see below"),
    END_OF_OPTIONS,
};
static const struct ctl_option incidents_options[] = {
    OPTION("domain", 'd', "DOMAIN", "only of this one; supervisor = heptad itself", .kind = CTL_KIND_DOMAIN),
    OPTION("limit", 'n', "N", "at most so many, newest first (20)"),
    END_OF_OPTIONS,
};
static const struct ctl_option models_options[] = {
    OPTION("scan", 0, NULL, "look into the model folders again first"),
    OPTION("kind", 'k', "KIND", "files of this kind, not models", .kind = CTL_KIND_CHOICE,
           .choices = "checkpoint vae lora controlnet upscaler embedding safety_checker"),
    END_OF_OPTIONS,
};

const struct ctl_verb ctl_verbs[] = {
    {.name = "generate",
     .arguments = "[PROMPT]",
     .words_max = 1,
     .options = generate_options,
     .run = ctl_generate,
     .help = "make images from a prompt",
     .more =
         "Shows a progress bar on a terminal and prints the path of each image. \"-\" as PROMPT reads it from standard "
         "input. --image and --mask give a file first. Ctrl-C cancels the session; a second Ctrl-C leaves at once. The "
         "request is durable once it is "
         "accepted: "
         "if heptad restarts meanwhile, heptctl connects again and goes on waiting, and the images are the same."},
    {.name = "recipe",
     .arguments = "FILE",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_FILE,
     .run = ctl_recipe,
     .help = "the request that made an image",
     .more =
         "Reads it from the image's file and asks no daemon. heptctl generate --from FILE makes the same image again, "
         "to the byte, if the model's files, the build and the ISA level are the same."},
    {.name = "upscale",
     .arguments = "FILE",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_FILE,
     .options = upscale_options,
     .run = ctl_upscale,
     .help = "make an image larger",
     .more =
         "FILE is a PNG, JPEG or WebP. With --upscaler a network enlarges it, in "
         "tiles, so that memory is bounded whatever the size; without, a filter does. It can be made better too: --set "
         "sharpen=0.5, noise_reduction=0.2, contrast=0.1."},
    {.name = "status",
     .arguments = "",
     .run = ctl_status,
     .help = "how the daemon is, and what to do about it",
     .more = "The first line is one sentence that is true: what is the matter, why, and when it is tried again. What "
             "follows "
             "ends with what the operator can do, if there is anything to do. Exit code 0 when ready or starting, 1 "
             "when not."},
    {.name = "top",
     .arguments = "",
     .options = top_options,
     .run = ctl_top,
     .help = "what goes on, looked at each second",
     .more =
         "Sessions that run with progress and it/s, those that wait, and per domain: the share of the time that it had "
         "an operation in hand (BUSY), how much of a core it used (CPU), what it has in hand, its memory, and how long "
         "ago it was last heard of. On a terminal it is drawn over until q or Ctrl-C; else one view follows the other, "
         "with --json one object in a line."},
    {.name = "models",
     .arguments = "[NAME | check FILE]",
     .words_max = 2,
     .kind = CTL_KIND_MODEL,
     .options = models_options,
     .run = ctl_models,
     .help = "models, their defaults, why one is not usable",
     .more = "With NAME also its files, the memory that is planned for the usual sizes and what it can do. check FILE "
             "looks at a "
             "file or folder as a load does, reads every weight and says what is wrong with it."},
    {.name = "sessions",
     .arguments = "",
     .options = sessions_options,
     .run = ctl_sessions,
     .help = "accepted requests, newest first",
     .more = "TIME is 2026-01-31T12:00:00Z (RFC 3339), milliseconds since 1970, or how long ago: 90s, 15m, 2h, 7d."},
    {.name = "session",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_SESSION,
     .run = ctl_session,
     .help = "one session: its steps, images, errors",
     .more = ""},
    {.name = "wait",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_SESSION,
     .options = wait_options,
     .run = ctl_wait,
     .help = "wait for the end of a session",
     .more = "As generate does after its request. Ctrl-C leaves the session alone."},
    {.name = "preview",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_GOING_SESSION,
     .options = preview_options,
     .run = ctl_preview,
     .help = "how an image of a session looks now",
     .more =
         "The newest preview of a session that runs and asked for them (--set previews=true, or --previews FILE), a "
         "small PNG. It is drawn if standard output is a terminal, else written there as it is."},
    {.name = "cancel",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_OPEN_SESSION,
     .run = ctl_cancel,
     .help = "cancel a session at its next step",
     .more = ""},
    {.name = "pause",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_GOING_SESSION,
     .run = ctl_pause,
     .help = "stop a session at its next step, to go on later",
     .more = ""},
    {.name = "resume",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_PAUSED_SESSION,
     .run = ctl_resume,
     .help = "let a paused session go on",
     .more = ""},
    {.name = "retry",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_LOST_SESSION,
     .run = ctl_retry,
     .help = "try again what failed or was cancelled",
     .more = "Under the same id: what the session has finished stays done, its errors stay listed, and its images are "
             "those that it "
             "would have made."},
    {.name = "batches", .arguments = "", .run = ctl_batches, .help = "batches, newest first", .more = ""},
    {.name = "batch",
     .arguments = "ID [pause|resume|cancel|delete]",
     .words_min = 1,
     .words_max = 2,
     .kind = CTL_KIND_BATCH,
     .run = ctl_batch,
     .help = "one batch with its items, or control it",
     .more = "Deleting forgets a batch that does not run; its sessions and images stay."},
    {.name = "batch-run",
     .arguments = "FILE",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_FILE,
     .run = ctl_batch_run,
     .help = "create and execute a batch, and wait for its end",
     .more = "FILE holds the request of batch.create as JSON; - reads it from standard input. Ctrl-C leaves the batch "
             "alone."},
    {.name = "validate",
     .arguments = "FILE",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_FILE,
     .run = ctl_validate,
     .help = "all that is wrong with a request, and what it takes",
     .more = "FILE holds the request of workflow.execute as JSON; - reads it from standard input. Exit status 1 if it "
             "would "
             "not be accepted."},
    {.name = "workflows",
     .arguments = "[ID | check FILE | put FILE | delete ID]",
     .words_max = 2,
     .kind = CTL_KIND_WORKFLOW,
     .run = ctl_workflows,
     .help = "workflows, the parameters of one, your own templates",
     .more = "FILE holds a template as the files of workflows.dir do; - reads it from standard input. check says all "
             "that is wrong with it and keeps nothing; exit status 1 if it could not be used. put keeps it under its "
             "workflow_id, which no file has, instead of one that was put before; delete forgets one that was put."},
    {.name = "domains", .arguments = "", .run = ctl_domains, .help = "the seven processes", .more = ""},
    {.name = "incidents",
     .arguments = "[ID]",
     .words_max = 1,
     .kind = CTL_KIND_INCIDENT,
     .options = incidents_options,
     .run = ctl_incidents,
     .help = "processes that died unasked, or one with its stack",
     .more = "One incident is shown with what it had in hand, its last log lines, and its stack with the names of "
             "functions "
             "and source lines, as far as the program that crashed is still there and has debug information."},
    {.name = "restart",
     .arguments = "DOMAIN",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_DOMAIN,
     .run = ctl_restart,
     .help = "end a domain's process and start it again",
     .more = "Nothing is lost: sessions go on from their last step. A domain that had been given up is tried at once."},
    {.name = "reload",
     .arguments = "",
     .run = ctl_reload,
     .help = "read the configuration again",
     .more =
         "Says which values changed, which of them are in force now and what the others wait for. With a mistake in "
         "the file nothing changes, and it is told with file, line and what to do; exit code 125."},
    {.name = "events",
     .arguments = "",
     .options = events_options,
     .run = ctl_events,
     .help = "what happened, and what happens",
     .more =
         "One line each: time, name, fields. With --json one JSON object in a line. With --session or --types all that "
         "is kept is looked through for the last N."},
    {.name = "logs",
     .arguments = "",
     .options = logs_options,
     .run = ctl_logs,
     .help = "the end of the log",
     .more =
         "If heptad is not running, the log file in the state folder is read, and heptctl says so. With --session "
         "come the lines that any process has written about it, from the newest 16 MiB of the log; with log.level = "
         "debug there is one for each operation."},
    {.name = "trace",
     .arguments = "ID",
     .words_min = 1,
     .words_max = 1,
     .kind = CTL_KIND_SESSION,
     .options = trace_options,
     .run = ctl_trace,
     .help = "a session's life, for Perfetto or chrome://tracing",
     .more =
         "Trace events as JSON: the session's states on one track, and on a track for each domain every attempt of a "
         "step, waiting and in hand, with its errors, denoising progress as far as the daemon still has it, and the "
         "deaths of processes meanwhile. Open the file at https://ui.perfetto.dev."},
    {.name = "drain",
     .arguments = "",
     .run = ctl_drain,
     .help = "hold all sessions at a step boundary, refuse requests",
     .more = "Returns when nothing is in hand any more. The daemon stays up and answers; nothing is lost. A restart of "
             "the daemon ends it, as undrain does."},
    {.name = "undrain",
     .arguments = "",
     .run = ctl_undrain,
     .help = "let sessions go on, accept requests again",
     .more = ""},
    {.name = "upgrade",
     .arguments = "",
     .run = ctl_upgrade,
     .help = "become the newly installed programs",
     .more =
         "The new heptad checks the configuration first; if it refuses, the old one goes on. Then what is in hand ends "
         "at a step boundary, the process becomes the new program, and sessions go on. Returns when it answers."},
    {.name = "stop",
     .arguments = "",
     .options = stop_options,
     .run = ctl_stop,
     .help = "end the daemon",
     .more = "What is in hand ends at a step boundary and goes on at the next start. Returns when the daemon is gone."},
    {.name = "operations",
     .arguments = "[DOMAIN[.OPERATION]]",
     .words_max = 1,
     .kind = CTL_KIND_OPERATION,
     .run = ctl_operations,
     .help = "every operation, or the fields of one",
     .more = ""},
    {.name = "call",
     .arguments = "TYPE [JSON]",
     .words_min = 1,
     .words_max = 2,
     .kind = CTL_KIND_OPERATION,
     .options = call_options,
     .run = ctl_call,
     .help = "ask any operation, print its data",
     .more =
         "TYPE is \"domain.operation\", JSON an object with its fields; \"-\" reads it from standard input. Anything "
         "that an operator may ask can be asked so. Operations that `heptctl operations` shows as internal are the "
         "supervisor's own steps: asked from outside they take memory, cores or a place in a session from work that "
         "is under way. With --internal the daemon's user and root may ask them all the same, to look for a "
         "fault."},
    {.name = "doctor",
     .arguments = "",
     .run = ctl_doctor,
     .help = "look for what is wrong with this machine",
     .more = "Works without a daemon. Each line is ok, warn or fail, with what to do. Exit code 1 if a check fails."},
    {.name = "version",
     .arguments = "",
     .run = ctl_version,
     .help = "versions of heptctl and of the daemon",
     .more = ""},
    {.name = "completion",
     .arguments = "bash|zsh",
     .words_min = 1,
     .words_max = 1,
     .run = ctl_completion,
     .help = "print the completion script of a shell",
     .more = "source <(heptctl completion bash)"},
    {.name = "help",
     .arguments = "[VERB]",
     .words_max = 1,
     .kind = CTL_KIND_VERB,
     .run = ctl_help,
     .help = "this list, or help about one verb",
     .more = ""},
    {.name = "words",
     .arguments = "KIND",
     .words_min = 1,
     .words_max = 1,
     .run = ctl_words,
     .hidden = true,
     .help = "names for completion, one in a line",
     .more = ""},
    {.name = NULL},
};

/* Of common/errors.def in groups, and what a command line adds. A test holds them together. */
const struct ctl_exit_row ctl_exit_rows[] = {
    {0, "it worked"},
    {1, "an error that no other code names; with status: neither ready nor starting; with doctor: a check failed"},
    {2, "the command line or the request is wrong, too large, or not supported"},
    {3, "no such session, model, workflow or file"},
    {4, "this user may not do it"},
    {5, "not possible in the present state"},
    {6, "heptad or a domain is not running, busy or out of room, or did not answer in time: later it may work"},
    {7, "the session was cancelled"},
    {8, "a file or a model is damaged"},
    {125, "the configuration is wrong"},
    {130, "interrupted"},
    {0, NULL},
};
