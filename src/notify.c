/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "bounds.h"
#include "log.h"
#include "text.h"

/* A name that is too long is cut: nobody is there then. */
static socklen_t
to_sockname(struct sockaddr_un *to, const char *name)
{
	size_t len = strlen(name);

	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len > sizeof(to->sun_path))
		len = sizeof(to->sun_path);
	memcpy(to->sun_path, name, len);
	if (name[0] == '@')
		to->sun_path[0] = '\0'; /* of no file system (unix(7)) */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void
notify(const char *state)
{
	static const struct timeval wait = {.tv_usec = NOTIFY_MS * 1000};
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to;
	socklen_t len;
	int fd;

	if (name == NULL || name[0] == '\0')
		return;
	len = to_sockname(&to, name);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == -1 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len) == -1)
		log_warn("NOTIFY_SOCKET: %s cannot be told %s: %s", name, state, text_error(errno));
	close(fd);
}
