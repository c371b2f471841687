/* SPDX-License-Identifier: MIT */
/*
 * log.h - messages of the daemons and tools
 *
 * One line per message on stderr: it names the thing and, where there is one, the remedy. Under
 * systemd (JOURNAL_STREAM set) a line carries its priority as "<N>". Nothing in libsmcd-user links
 * this: the library reports by return value only.
 *
 * Thread-safe: one write(2) per message.
 */
#ifndef SMCDU_BASE_LOG_H
#define SMCDU_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERR = 3,	/* numbers are syslog's priorities */
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* Messages above @level are dropped; default LOG_LEVEL_INFO. @ident (not copied) prefixes lines. */
void log_init(const char *ident, enum log_level level);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)	log_msg(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)	log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
