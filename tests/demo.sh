#!/bin/sh
# SPDX-License-Identifier: MIT
# make demo: a DNS-over-TLS resolver (unbound with a zone of its own and a certificate made on the
# spot) and dnproxy in front of it, both on loopback and free ports; kdig asks over UDP and TCP.
# Needs no internet.  KEEP=1 leaves both running until Ctrl-C.
set -eu

DNPROXY=${DNPROXY-build/dnproxy}
NAME=dns.demo.test
ZONE=demo.test
PATH=$PATH:/usr/sbin:/sbin

for program in unbound openssl kdig; do
	command -v "$program" >/dev/null || {
		echo "demo: $program is missing: run make deps" >&2
		exit 1
	}
done
[ -x "$DNPROXY" ] || {
	echo "demo: $DNPROXY is missing: run make" >&2
	exit 1
}

dir=$(mktemp -d)
pids=

finish() {
	trap - EXIT INT TERM HUP
	for pid in $pids; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() {
	if [ -t 1 ]; then
		printf '\n\033[1m%s\033[0m\n' "$*"
	else
		printf '\n%s\n' "$*"
	fi
}

# A port of loopback that nobody listens on: asked of the kernel's list, not guessed.
free_port() {
	port=$1
	while ss -Hlntu "sport = :$port" | grep -q .; do
		port=$((port + 1))
	done
	echo "$port"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

make_certificates() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj "/CN=Demo Root" -addext keyUsage=critical,keyCertSign \
		-keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/" \
		-keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null
	printf 'subjectAltName=critical,DNS:%s\nextendedKeyUsage=serverAuth\n' "$NAME" >"$dir/server.ext"
	openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
		-days 2 -extfile "$dir/server.ext" -out "$dir/server.pem" 2>/dev/null
}

start_unbound() {
	cat >"$dir/unbound.conf" <<-END
		server:
		    directory: "$dir"
		    username: ""
		    chroot: ""
		    pidfile: ""
		    use-syslog: no
		    do-daemonize: no
		    interface: 127.0.0.1@$tls_port
		    tls-port: $tls_port
		    tls-service-key: "$dir/server.key"
		    tls-service-pem: "$dir/server.pem"
		    module-config: "iterator"
		    local-zone: "$ZONE." static
		    local-data: "www.$ZONE. A 192.0.2.80"
		    local-data: "www.$ZONE. AAAA 2001:db8::80"
		    local-data: "tcp.$ZONE. A 192.0.2.81"
		    local-data: 'www.$ZONE. TXT "this answer came through TLS"'
		remote-control:
		    control-enable: no
	END
	unbound -d -p -c "$dir/unbound.conf" 2>"$dir/unbound.log" &
	pids="$! $pids"
	wait_for 10 listens "$tls_port" || {
		cat "$dir/unbound.log" >&2
		exit 1
	}
}

listens() {
	ss -Hlnt "sport = :$1" | grep -q .
}

start_dnproxy() {
	cat >"$dir/dnproxy.yml" <<-END
		dnproxy:
		  host: 127.0.0.1
		  port: $dns_port
		upstream:
		  ip: 127.0.0.1
		  port: $tls_port
		  hostname: $NAME
		tls:
		  trust_anchors: $dir/ca.pem
		log:
		  queries: true
	END
	"$DNPROXY" -c "$dir/dnproxy.yml" 2>"$dir/dnproxy.log" &
	pids="$! $pids"
	wait_for 10 grep -q 'listening on' "$dir/dnproxy.log" || {
		cat "$dir/dnproxy.log" >&2
		exit 1
	}
}

# ask WHAT... and show the question and the answer.
ask() {
	say "kdig @127.0.0.1 -p $dns_port $*"
	kdig @127.0.0.1 -p "$dns_port" +noall +answer +stats "$@"
}

# answers_right NAME ADDRESS [OPTION]: the demo is a test too.
answers_right() {
	kdig @127.0.0.1 -p "$dns_port" ${3+"$3"} +short "$1.$ZONE" A | grep -qx "$2" || {
		echo "demo: the answer is not what the resolver holds" >&2
		exit 1
	}
}

tls_port=$(free_port 8853)
dns_port=$(free_port 5353)

say "1. A certificate for $NAME, and a DNS-over-TLS resolver on 127.0.0.1@$tls_port"
make_certificates
start_unbound
openssl x509 -in "$dir/server.pem" -noout -issuer -ext subjectAltName 2>/dev/null

say "2. dnproxy on 127.0.0.1@$dns_port, with these settings"
start_dnproxy
cat "$dir/dnproxy.yml"

say "3. Questions in plain DNS"
ask "www.$ZONE" A
ask +tcp "www.$ZONE" AAAA
ask "www.$ZONE" TXT
say "Once more: out of the cache, one second nearer to its end"
sleep 1
ask "www.$ZONE" A

answers_right www 192.0.2.80 && answers_right tcp 192.0.2.81 +tcp

say "4. What happened, as dnproxy tells it"
cat "$dir/dnproxy.log"

say "5. The connections: plain DNS in, one TLS connection out"
ss -nt state established "dport = :$tls_port"

if [ "${KEEP-}" = 1 ]; then
	say "Both keep running until Ctrl-C.  Try:"
	echo "  kdig @127.0.0.1 -p $dns_port www.$ZONE"
	echo "  kdig @127.0.0.1 -p $dns_port +tcp www.$ZONE AAAA"
	echo "  $DNPROXY probe -c $dir/dnproxy.yml --name www.$ZONE"
	tail -n 0 -f "$dir/dnproxy.log" &
	pids="$pids $!"
	trap 'exit 0' INT
	wait "$!"
fi
say "Done."
