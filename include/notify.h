/* SPDX-License-Identifier: MIT */
/* Tells whoever started this program how far it is, as services of type "notify" do (systemd's sd_notify(3)): a
 * datagram to the socket that the variable NOTIFY_SOCKET names. */
#ifndef DNPROXY_NOTIFY_H
#define DNPROXY_NOTIFY_H

/* state: "READY=1" or "STOPPING=1".  Does nothing where nobody wants to know; what cannot be sent within NOTIFY_MS is
 * one line in the log. */
void notify(const char *state);

#endif
