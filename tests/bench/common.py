# SPDX-License-Identifier: MIT
"""What bench.py and recovery.py share: the programs, their settings, certificates, and a table.

Each program forwards to DNS-over-TLS servers, set up as a careful administrator would: it checks their
certificates, and neither caches nor validates.
"""
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys

NAME = 'dot.bench.test'


def fail(text):
    sys.exit(f'bench: {text}')


def free_port():
    """A port free for UDP and TCP, below those the system gives to outgoing connections."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            with contextlib.suppress(OSError):
                udp.bind(('127.0.0.1', port))
                tcp.bind(('127.0.0.1', port))
                return port


class Cores:
    """One core for what is measured, another for what measures."""

    def __init__(self):
        allowed = sorted(os.sched_getaffinity(0))
        self.measured, self.measuring = allowed[0], allowed[-1]
        if len(allowed) < 2:
            print('bench: one core only: the load takes time from what is measured', file=sys.stderr)

    def wrap(self, core, command):
        return ['taskset', '-c', str(core), *map(str, command)]


def stop(process):
    """Ends it by its own means, or else by force."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Responder:
    """The DNS-over-TLS server behind them; counts connections and queries."""

    def __init__(self, command):
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        if not line:
            fail('the responder does not start')
        self.port = int(line[1])

    def counted(self):
        self.process.send_signal(signal.SIGUSR1)
        words = self.process.stdout.readline().split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2])}

    def stop(self):
        stop(self.process)
        self.process.stdout.close()


# ---- The programs: settings for a port on 127.0.0.1 and for upstreams, (address, port) each ------


def dnproxy_command(program, work, port, upstreams, ca, more=''):
    """more: further settings of each upstream, as YAML."""
    path = work / f'dnproxy-{port}.yml'
    more = f'    {more}\n' if more else ''
    servers = ''.join(f'  - ip: {address}\n    port: {upstream}\n    hostname: {NAME}\n{more}'
                      for address, upstream in upstreams)
    path.write_text(f'dnproxy:\n  host: 127.0.0.1\n  port: {port}\nupstream:\n{servers}'
                    f'tls:\n  trust_anchors: {ca}\n')
    return [program, '-c', path]


def unbound_command(program, work, port, upstreams, ca):
    path = work / f'unbound-{port}.conf'
    addresses = ''.join(f'    forward-addr: {address}@{upstream}#{NAME}\n' for address, upstream in upstreams)
    path.write_text(f'''
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    num-threads: 1
    module-config: "iterator"
    msg-cache-size: 0
    rrset-cache-size: 0
    cache-min-ttl: 0
    cache-max-ttl: 0
    outgoing-range: 4096
    num-queries-per-thread: 2048
    outgoing-num-tcp: 10
    so-rcvbuf: 1m
    tls-cert-bundle: "{ca}"
    username: ""
    chroot: ""
    directory: "{work}"
    pidfile: ""
    do-daemonize: no
    use-syslog: no
    verbosity: 0
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-tls-upstream: yes
    forward-no-cache: yes
{addresses}''')
    return [program, '-d', '-c', path]


def stubby_command(program, work, port, upstreams, ca):
    """As packaged (in turn, idle for 10 s, a rest of up to an hour), but for the servers and their authority."""
    path = work / f'stubby-{port}.yml'
    servers = ''.join(f'  - address_data: {address}\n    tls_port: {upstream}\n    tls_auth_name: "{NAME}"\n'
                      for address, upstream in upstreams)
    path.write_text(f'''
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list:
  - GETDNS_TRANSPORT_TLS
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "{ca}"
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
round_robin_upstreams: 1
idle_timeout: 10000
appdata_dir: "{work}"
listen_addresses:
  - 127.0.0.1@{port}
upstream_recursive_servers:
{servers}''')
    return [program, '-C', path]


def smartdns_command(program, work, port, upstreams, ca):
    path = work / f'smartdns-{port}.conf'
    servers = ''.join(f'server-tls {address}:{upstream} -host-name {NAME} -tls-host-verify {NAME}\n'
                      for address, upstream in upstreams)
    path.write_text(f'''
server-name bench
bind 127.0.0.1:{port} -no-speed-check -no-cache
cache-size 0
cache-persist no
prefetch-domain no
serve-expired no
speed-check-mode none
dualstack-ip-selection no
log-level error
log-file {work}/smartdns-{port}.log
ca-file {ca}
{servers}''')
    return [program, '-f', '-c', path, '-p', '-']


COMMANDS = {'dnproxy': dnproxy_command, 'stubby': stubby_command, 'unbound': unbound_command,
            'smartdns': smartdns_command}


def find_program(name, dnproxy):
    path = dnproxy if name == 'dnproxy' else shutil.which(name) or f'/usr/sbin/{name}'
    if not os.access(path, os.X_OK):
        fail(f'{path} is not there: run make deps, then make')
    return path


# ---- What /proc says ------------------------------------------------------------------------------


def memory(pid, key, file='status'):
    text = pathlib.Path(f'/proc/{pid}/{file}').read_text()
    return int(re.search(rf'^{key}:\s+(\d+) kB', text, re.M)[1])


# ---- Certificates ---------------------------------------------------------------------------------

KEYS = {'P-256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
        'P-384': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
        'RSA-2048': ['rsa:2048'], 'RSA-4096': ['rsa:4096']}
CA = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'
LEAF = (f'subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n'
        'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n')


def make_certificate(work, name, kind, extensions, issuer=None):
    """Writes name.pem and name.key, signed by itself or by the issuer, another such name."""
    certificate, key, request, extra = (work / f'{name}.{end}' for end in ('pem', 'key', 'csr', 'ext'))
    extra.write_text(extensions)
    subject = NAME if extensions == LEAF else name  # smartdns looks for the name there and nowhere else
    by = (['-CA', work / f'{issuer}.pem', '-CAkey', work / f'{issuer}.key', '-CAcreateserial'] if issuer
          else ['-signkey', key])
    for command in (
            ['req', '-newkey', *KEYS[kind], '-nodes', '-keyout', key, '-out', request, '-subj', f'/CN={subject}'],
            ['x509', '-req', '-in', request, *by, '-out', certificate, '-days', '3', '-extfile', extra]):
        subprocess.run(['openssl', *map(str, command)], check=True, capture_output=True)
    return certificate, key


# ---- The table ------------------------------------------------------------------------------------


def print_table(lines):
    """Lists of cells: the first and the last column are text, the others figures."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1])]
        print('  '.join([*cells, line[-1]]).rstrip())
