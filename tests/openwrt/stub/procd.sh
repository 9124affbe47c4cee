# SPDX-License-Identifier: MIT
# procd's shell functions: what a service says is noted in /tmp/procd/NAME, a line for each call, its words divided by
# tabs; what happens, in /tmp/events.  router.py reads both.

PROCD_RELOAD_DELAY=1000

note() {
	local word line=''
	for word in "$@"; do
		line="$line${line:+	}$word"
	done
	printf '%s\n' "$line" >>"$PROCD_NOTES"
}

event() { echo "$*" >>/tmp/events; }

procd_open_service() {
	mkdir -p /tmp/procd
	PROCD_NAME=$1
	PROCD_NOTES=/tmp/procd/.$1
	: >"$PROCD_NOTES"
}
# As procd does: an instance whose settings or files are not those it was started with is started anew.
procd_close_service() {
	local sum old
	service_triggers
	sum=$(sed -n 's/^file	//p' "$PROCD_NOTES" | xargs cat 2>/dev/null | cat - "$PROCD_NOTES" | md5sum)
	old=$(cat "/tmp/procd/.$PROCD_NAME.sum" 2>/dev/null)
	mv "$PROCD_NOTES" "/tmp/procd/$PROCD_NAME"
	echo "$sum" >"/tmp/procd/.$PROCD_NAME.sum"
	if ! grep -q '^instance' "/tmp/procd/$PROCD_NAME"; then
		event "$PROCD_NAME: no instance"
	elif [ "$sum" != "$old" ]; then
		event "$PROCD_NAME: started"
	fi
}
procd_kill() {
	[ ! -e "/tmp/procd/$1" ] || event "$1: ended"
	rm -f "/tmp/procd/$1" "/tmp/procd/.$1.sum"
}
procd_running() { grep -qs '^instance' "/tmp/procd/$1"; }
procd_send_signal() { event "$1: signal $(kill -l "$3")"; }
procd_open_instance() { note instance "$1"; }
procd_close_instance() { :; }
procd_set_param() { note "$@"; }
procd_add_jail() { note jail "$@"; }
# The real one divides at spaces as well.
# shellcheck disable=SC2068
procd_add_jail_mount() { for mount in $@; do note mount "$mount"; done; }
procd_add_reload_trigger() {
	local file
	for file in "$@"; do
		note trigger config.change "$file" "$PROCD_RELOAD_DELAY" "$initscript" reload
	done
}
procd_add_interface_trigger() {
	local on=$1 interface=$2
	shift 2
	note trigger "$on" "$interface" "$PROCD_RELOAD_DELAY" "$@"
}
