/* The progress bar. Called by follow.c while a session runs; writes one line to the terminal that it is given. */
#include "supervisor/ctl/progress.h"

#include "common/status.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

enum { BAR_MAX = 30, BAR_MIN = 10 };

void ctl_progress_see(struct ctl_progress *progress, const json_t *session, int64_t now_ms)
{
    int64_t step = hep_json_int(session, "denoising_step", 0);
    if (step <= 0)
        return;
    if (progress->first_ms == 0 || step < progress->first_step) {
        progress->first_ms = now_ms;
        progress->first_step = step;
        progress->rate = 0;
    } else if (step > progress->first_step && now_ms > progress->first_ms &&
               step < hep_json_int(session, "denoising_steps", 0)) {
        progress->rate = (double)(step - progress->first_step) * 1000 / (double)(now_ms - progress->first_ms);
    }
}

static char *details(const struct ctl_progress *progress, const json_t *session)
{
    const char *status = hep_json_str(session, "status", "?"), *note = hep_json_str(session, "note", "");
    int64_t eta = hep_json_int(session, "eta_ms", -1), steps = hep_json_int(session, "denoising_steps", 0),
            position = hep_json_int(session, "queue_position", 0);
    char counts[48] = "", rate[32] = "", left[48] = "", span[24];
    if (strcmp(status, "queued") == 0)
        return position > 1 ? ctl_format("queued, %" PRId64 " before it", position - 1) : ctl_format("queued");
    if (strcmp(status, "running") != 0)
        return ctl_format("%s", status);
    if (note[0])
        return ctl_format("%s", note);
    if (steps > 0)
        snprintf(counts, sizeof counts, " %" PRId64 "/%" PRId64, hep_json_int(session, "denoising_step", 0), steps);
    if (progress->rate > 0)
        snprintf(rate, sizeof rate, progress->rate < 1 ? "  %.2f s/it" : "  %.1f it/s",
                 progress->rate < 1 ? 1 / progress->rate : progress->rate);
    if (eta >= 0)
        snprintf(left, sizeof left, "  %s left", ctl_duration(eta, span, sizeof span));
    return ctl_format("%s%s%s%s", hep_json_str(session, "step_name", ""), counts, rate, left);
}

char *ctl_progress_line(const struct ctl_progress *progress, const json_t *session, int width)
{
    char *text = NULL, *about = details(progress, session);
    size_t size = 0;
    int room = (width > 0 ? width : 80) - 4 - ctl_columns(about), bar = room > BAR_MAX ? BAR_MAX : room;
    double done = hep_json_num(session, "progress", 0);
    FILE *out = open_memstream(&text, &size);
    hep_assert(out);
    if (bar >= BAR_MIN) {
        int full = (int)(done * bar + 0.5);
        fputc('[', out);
        for (int i = 0; i < bar; i++)
            fputs(i < full ? "█" : "░", out);
        fputs("] ", out);
        ctl_put(out, about, -1);
    } else {
        ctl_put(out, about, (width > 0 ? width : 80) - 1);
    }
    fclose(out);
    free(about);
    return text;
}

void ctl_progress_show(struct ctl_progress *progress, const json_t *session, const struct ctl_style *style, FILE *out)
{
    char *line = ctl_progress_line(progress, session, style->width);
    int columns = ctl_columns(line), rest = columns < progress->columns ? progress->columns - columns : 0;
    if (style->erases)
        fprintf(out, "\r%s\x1b[K", line);
    else
        fprintf(out, "\r%s%*s", line, rest, ""); /* blanks over what stood there */
    fflush(out);
    progress->columns = columns;
    free(line);
}

void ctl_progress_clear(struct ctl_progress *progress, const struct ctl_style *style, FILE *out)
{
    if (progress->columns > 0 && style->erases)
        fputs("\r\x1b[K", out);
    else if (progress->columns > 0)
        fprintf(out, "\r%*s\r", progress->columns, "");
    fflush(out);
    progress->columns = 0;
}
