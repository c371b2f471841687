/* SPDX-License-Identifier: MIT */
#include "vfio/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_ident = "smcd-user";
static enum log_level log_max = LOG_LEVEL_INFO;
static int log_journal = -1;

void log_init(const char *ident, enum log_level level)
{
	log_ident = ident;
	log_max = level;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int saved = errno;
	int n, m;
	va_list ap;

	if (level > log_max)
		return;
	if (log_journal > 0)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		n = snprintf(line, sizeof(line), "%s: %s", log_ident,
			level == LOG_LEVEL_ERR	  ? "error: "
			: level == LOG_LEVEL_WARN ? "warning: "
						  : "");
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m > 0)
		n += m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* A log line that cannot be written has nowhere else to go. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = saved;
	errno = saved;
}
