# SPDX-License-Identifier: MIT
"""How each program is set up: as a careful administrator would who wants it fast on one core.

Each forwards to DNS-over-TLS servers and checks their certificates; none validates DNSSEC.  They cache only when
they are told to.  A command is made of the program, a directory, the port on 127.0.0.1, the upstreams,
(address, port) each, and the file of the authority.
"""
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

NAME = 'dot.bench.test'


@functools.cache
def dnproxy_knows(program, settings):
    """Whether it takes these settings, given as YAML."""
    with tempfile.NamedTemporaryFile('w', suffix='.yml') as file:
        file.write(f'upstream:\n  ip: 127.0.0.1\n  hostname: {NAME}\n{settings}')
        file.flush()
        return subprocess.run([program, '--check', '-c', file.name], capture_output=True).returncode == 0


def dnproxy_caches(program):
    return dnproxy_knows(program, 'cache:\n  size: 512\n')


def dnproxy_works_twice(program):
    return dnproxy_knows(program, 'dnproxy:\n  workers: 2\n')


def dnproxy_command(program, work, port, upstreams, ca, cache=False, workers=1, more=''):
    """As it is when nothing else is set, but for the cache.  more: further settings of each upstream, as YAML."""
    path = work / f'dnproxy-{port}.yml'
    more = f'    {more}\n' if more else ''
    servers = ''.join(f'  - ip: {address}\n    port: {upstream}\n    hostname: {NAME}\n{more}'
                      for address, upstream in upstreams)
    off = 'cache:\n  size: 0\n' if dnproxy_caches(program) and not cache else ''
    crew = f'  workers: {workers}\n' if workers > 1 else ''
    path.write_text(f'dnproxy:\n  host: 127.0.0.1\n  port: {port}\n{crew}upstream:\n{servers}'
                    f'tls:\n  trust_anchors: {ca}\n{off}')
    return [program, '-c', path]


def kresd_command(program, work, port, upstreams, ca, cache=False):
    """It keeps a cache always; it is emptied at each start, since it outlives the program."""
    path, run = work / f'kresd-{port}.conf', work / f'kresd-{port}'
    run.mkdir(exist_ok=True)
    servers = ', '.join(f"{{'{address}@{upstream}', hostname = '{NAME}', ca_file = '{ca}'}}"
                        for address, upstream in upstreams)
    path.write_text(f'''
net.listen('127.0.0.1', {port}, {{kind = 'dns'}})
net.tcp_pipeline(2000)
modules.unload('priming')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('detect_time_skew')
trust_anchors.remove('.')
cache.size = 100 * MB
cache.clear()
policy.add(policy.all(policy.TLS_FORWARD({{{servers}}})))
''')
    return [program, '-n', '-q', '-c', path, run]


def smartdns_command(program, work, port, upstreams, ca, cache=False):
    path = work / f'smartdns-{port}.conf'
    servers = ''.join(f'server-tls {address}:{upstream} -host-name {NAME} -tls-host-verify {NAME}\n'
                      for address, upstream in upstreams)
    off = '' if cache else ' -no-cache'
    path.write_text(f'''
server-name bench
bind 127.0.0.1:{port} -no-speed-check{off}
bind-tcp 127.0.0.1:{port} -no-speed-check{off}
cache-size {32768 if cache else 0}
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


def dnsdist_command(program, work, port, upstreams, ca, cache=False):
    path = work / f'dnsdist-{port}.conf'
    servers = '\n'.join(f'newServer({{address = "{address}:{upstream}", tls = "openssl", subjectName = "{NAME}", '
                        f'caStore = "{ca}", validateCertificates = true, maxInFlight = 1000}})'
                        for address, upstream in upstreams)
    packets = 'getPool(""):setCache(newPacketCache(100000))' if cache else ''
    path.write_text(f'''
setSecurityPollSuffix("")
setLocal("127.0.0.1:{port}", {{maxInFlight = 1000}})
{servers}
{packets}
''')
    return [program, '--supervised', '--disable-syslog', '-C', path]


def unbound_command(program, work, port, upstreams, ca, cache=False):
    path = work / f'unbound-{port}.conf'
    addresses = ''.join(f'    forward-addr: {address}@{upstream}#{NAME}\n' for address, upstream in upstreams)
    off = '' if cache else '    msg-cache-size: 0\n    rrset-cache-size: 0\n    cache-max-ttl: 0\n'
    path.write_text(f'''
server:
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    num-threads: 1
    module-config: "iterator"
{off}    outgoing-range: 4096
    num-queries-per-thread: 2048
    outgoing-num-tcp: 10
    incoming-num-tcp: 200
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
    forward-no-cache: {'no' if cache else 'yes'}
{addresses}''')
    return [program, '-d', '-c', path]


def stubby_command(program, work, port, upstreams, ca, cache=False):
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


COMMANDS = {'dnproxy': dnproxy_command, 'kresd': kresd_command, 'smartdns': smartdns_command,
            'dnsdist': dnsdist_command, 'unbound': unbound_command, 'stubby': stubby_command}
PACKAGES = {'kresd': 'knot-resolver'}


def caches(name, program):
    return dnproxy_caches(program) if name == 'dnproxy' else name != 'stubby'


def find_program(name, dnproxy):
    """Its path, or None."""
    path = dnproxy if name == 'dnproxy' else shutil.which(name) or f'/usr/sbin/{name}'
    return path if os.access(path, os.X_OK) else None


def version(name, program):
    if name == 'dnproxy':
        return subprocess.run([program, '--version'], capture_output=True, text=True).stdout.strip()
    command = ['dpkg-query', '-W', '-f', '${Version}', PACKAGES.get(name, name)]
    return subprocess.run(command, capture_output=True, text=True).stdout


def disk_octets(pid):
    """The program and the libraries it has mapped, less those of the C library."""
    text = pathlib.Path(f'/proc/{pid}/maps').read_text()
    program = os.path.realpath(f'/proc/{pid}/exe')
    files = {program} | set(re.findall(r' (/\S+\.so[.\d]*)$', text, re.M))
    libc = re.compile(r'/(ld-linux|lib(c|m|dl|rt|pthread|resolv)\.so)')
    return sum(os.path.getsize(file) for file in files if not libc.search(file))
