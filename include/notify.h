/* SPDX-License-Identifier: MIT */
/* Tells whoever started this program that it is at work, as services of type "notify" do (systemd's sd_notify(3)): a
 * datagram to the socket that the variable NOTIFY_SOCKET names. */
#ifndef DNPROXY_NOTIFY_H
#define DNPROXY_NOTIFY_H

/* Sends "READY=1" to the socket of that name, a path or, behind a "@", an abstract one.  What cannot be sent within
 * NOTIFY_MS is one line in the log. */
void notify_ready(const char *name);

#endif
