/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "bounds.h"
#include "log.h"
#include "text.h"

void
notify_ready(const char *name)
{
	static const struct timeval wait = {.tv_usec = NOTIFY_MS * 1000};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd;

	/* A name that is too long is cut, and nobody is there then. */
	if (len > sizeof(to.sun_path))
		len = sizeof(to.sun_path);
	memcpy(to.sun_path, name, len);
	if (name[0] == '@')
		to.sun_path[0] = '\0'; /* of no file system (unix(7)) */
	len += offsetof(struct sockaddr_un, sun_path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == -1 ||
	    sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&to, (socklen_t)len) == -1)
		log_warn("NOTIFY_SOCKET: %s: %s", name, text_error(errno));
	close(fd);
}
