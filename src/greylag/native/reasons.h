/*
 * The words of verdicts' reasons, what jgreylist logs for them, and the levels of the log.
 * Written by tools/reasons_header.py from the tables in core/verdict.py: to be changed there.
 */
#ifndef GREYLAG_REASONS_H
#define GREYLAG_REASONS_H

#define REASON_DISABLED "disabled"
#define REASON_OTHER_STAGE "other-stage"
#define REASON_RELAY "relay"
#define REASON_AUTHENTICATED "authenticated"
#define REASON_INCOMPLETE "incomplete"
#define REASON_RECIPIENT_REFUSED "recipient-refused"
#define REASON_INVALID_CLIENT "invalid-client"
#define REASON_DENYLISTED "denylisted"
#define REASON_ALLOWLISTED "allowlisted"
#define REASON_NOT_LISTED "not-listed"
#define REASON_OFF "off"
#define REASON_NULL_SENDER "null-sender"
#define REASON_NO_REVERSE_DNS "no-reverse-dns"
#define REASON_EXPECTED "expected"
#define REASON_CORRESPONDENT "correspondent"
#define REASON_TRUSTED "trusted"
#define REASON_PROVIDER "provider"
#define REASON_DNSWL "dnswl"
#define REASON_TRAPPED "trapped"
#define REASON_UNSUSPICIOUS "unsuspicious"
#define REASON_OBSERVED "observed"
#define REASON_NEW "new"
#define REASON_EARLY "early"
#define REASON_RETRIED "retried"
#define REASON_KNOWN "known"
#define REASON_STORE_UNAVAILABLE "store-unavailable"
#define REASON_CONFIG_ERROR "config-error"
#define REASON_INTERNAL_ERROR "internal-error"

/* Any other reason is said as it is. */
#define OUTCOMES \
    {REASON_DENYLISTED, "DENY blacklisted"}, \
    {REASON_ALLOWLISTED, "OK whitelisted"}, \
    {REASON_NO_REVERSE_DNS, "DENY no reverse DNS"}, \
    {REASON_NEW, "GREY first time"}, \
    {REASON_EARLY, "GREY too soon"}, \
    {REASON_RETRIED, "OK known"}, \
    {REASON_KNOWN, "OK known"}

#define LEVEL_OFF 0
#define LEVEL_FATAL 1
#define LEVEL_ERROR 2
#define LEVEL_WARN 3
#define LEVEL_INFO 4
#define LEVEL_DEBUG 5
#define LEVEL_NAMES "off", "fatal", "error", "warn", "info", "debug"

#endif
