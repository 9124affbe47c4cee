#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures what dnproxy and its peers do about faults, and what a handshake costs some of them.

Each program is measured in two network namespaces of its own, one for it and its clients and one for
its servers, joined by a veth pair.  Faults are mostly waited for: all programs meet them at the same time.
What is a matter of milliseconds is measured one after the other, the program on one core and all else on
the other; only the idle times before go by together.
"""
import argparse
import concurrent.futures
import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from common import CA, LEAF, Cores, Failure, Responder, cpu_ms, fail, make_certificate, memory, print_table, stop
from peers import COMMANDS, find_program

PROGRAMS = list(COMMANDS)
THOROUGH = ('dnproxy', 'smartdns', 'unbound', 'stubby')  # whose handshakes and upstreams are measured as well
PORT = 5300
NEAR, NEAR_LATER, FAR = '10.9.0.1', '10.9.0.2', [f'10.9.0.{number}' for number in range(11, 19)]
EVERY = 0.1  # seconds between two queries
PATIENCE = 5  # seconds until a client gives up, as the usual stub resolver does
BURST = 500
SO_RCVBUFFORCE = 33
IDLE_MS = 300  # long enough to be learnt: who closes sooner closes after each answer
ROUND_TRIP_MS = 20
KEEP_WARM = 'keep_warm: true'
CHAINS = {'P-384': ('P-384', 'P-384', 'P-256'), 'RSA': ('RSA-4096', 'RSA-2048', 'RSA-2048')}

# key, what is measured, unit, decimals, which of the rounds is the worst, what dnproxy's worst is expected to reach
ROWS = [
    ('silent_wait', 'peer silent, a second healthy: longest wait for an answer', 'ms', 0, max, '<= 1500'),
    ('silent_lost', 'the same: clients not answered within 5 s', '', 0, max, '<= 0'),
    ('back', 'only upstream silent for 5 s: from its return to the first answer', 'ms', 0, max, '<= 1000'),
    ('address', 'no route for 10 s, then a new address: to the first answer', 'ms', 0, max, '<= 1000'),
    ('restart', 'restart for 200 ms with 500 queries in flight: answered', '', 0, min, '>= 500'),
    ('restart_slowest', 'the same: the slowest of the answers', 'ms', 0, max, None),
    ('late', 'started 3 s before its upstream: from there to the first answer', 'ms', 0, max, '<= 1100'),
    ('idle_fin_0', 'first query after an idle close by FIN, no delay', 'ms', 2, max, '<= 3'),
    ('idle_rst_0', 'the same by RST', 'ms', 2, max, '<= 3'),
    ('idle_fin_20', 'first query after an idle close by FIN, round trip of 20 ms (1)', 'ms', 2, max, '<= 63'),
    ('idle_rst_20', 'the same by RST', 'ms', 2, max, '<= 63'),
    ('idle_full_fin_20', 'the same by FIN, no session is resumed', 'ms', 2, max, '<= 84'),
    ('idle_full_rst_20', 'the same by RST', 'ms', 2, max, '<= 84'),
    ('idle_warm_20', 'by FIN with sessions, upstream.keep_warm', 'ms', 2, max, '<= 23'),
    *((f'cpu_{kind}_{chain}', f'CPU of a TLS 1.2 handshake, {chain} chain, {text} (2)', 'ms', 2, max, None)
      for chain in CHAINS for kind, text in (('full', 'another certificate each time'),
                                             ('leaf', 'the same certificate'), ('resumed', 'sessions offered'))),
    ('rss', 'resident memory for each further upstream (3)', 'KiB', 1, max, None),
]
NOTES = '''\
median / worst of the rounds.  ">": given up, the wait for one answer after 5 s, that for the first after {limit} s.
(1) TCP, TLS and the query need 60 ms when a session is resumed or TLS is 1.3, 80 ms with a full TLS 1.2 handshake.
(2) With the query that made it connect.  User and system time of the client, a connection.
(3) With 8 upstreams in use, less with one, divided by 7.
'''


def run(*command, stdin=''):
    subprocess.run(list(map(str, command)), input=stdin.encode(), check=True, capture_output=True)


def inside(namespace, command):
    return ['nsenter', f'--net=/run/netns/{namespace}', *map(str, command)]


@contextlib.contextmanager
def entered(namespace):
    """This thread makes its sockets in the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open('/proc/thread-self/ns/net') as old, open(f'/run/netns/{namespace}') as new:
        try:
            if libc.setns(new.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), 'setns')
            yield
        finally:
            libc.setns(old.fileno(), 0)


class Client:
    """Asks for names that nobody was asked before; each number of a query has one."""

    def __init__(self, site):
        self.asked, self.answered, self.failed = [], {}, set()
        with entered(site.near):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # A burst of answers has to wait there: as root more than others may ask for.
        for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE):
            with contextlib.suppress(OSError):
                self.udp.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.udp.connect(('127.0.0.1', PORT))

    @staticmethod
    def query(number):
        label = f'q{number}'.encode()
        return (number.to_bytes(2, 'big') + bytes.fromhex('01000001000000000000') + bytes([len(label)]) + label
                + b'\5bench\0\0\1\0\1')

    def ask(self):
        """Returns the number of the query."""
        number = len(self.asked)
        self.asked.append(time.monotonic())
        with contextlib.suppress(OSError):  # nobody listens yet
            self.udp.send(self.query(number))
        return number

    def receive(self, until):
        """Takes the next answer, or waits in vain."""
        self.udp.settimeout(max(until - time.monotonic(), 0.0001))
        try:
            answer = self.udp.recv(4096)
        except ConnectionRefusedError:
            time.sleep(0.001)
            return
        except OSError:
            return
        now, number = time.monotonic(), int.from_bytes(answer[:2], 'big')
        query = self.query(number)
        if number >= len(self.asked) or answer[12:len(query)] != query[12:]:
            return
        if answer[2] & 0x80 and answer[3] & 15 == 0 and answer[7] == 1:
            self.answered.setdefault(number, now)
        else:
            self.failed.add(number)

    def wait_for(self, number, seconds=PATIENCE):
        """Milliseconds that the answer took; None without one."""
        until = time.monotonic() + seconds
        while number not in self.answered and time.monotonic() < until:
            self.receive(until)
        return 1000 * (self.answered[number] - self.asked[number]) if number in self.answered else None

    def keep_asking(self, seconds, enough=lambda: False):
        start = time.monotonic()
        for step in itertools.count():
            if step * EVERY >= seconds:
                return
            self.ask()
            until = start + min((step + 1) * EVERY, seconds)
            while time.monotonic() < until:
                if enough():
                    return
                self.receive(until)

    def first_answer(self, since, limit):
        """Asks until there is an answer that came after `since`; milliseconds from there."""
        known = set(self.answered)
        self.keep_asking(limit, lambda: len(self.answered) > len(known))
        came = [when for number, when in self.answered.items() if number not in known]
        return 1000 * (min(came) - since) if came else 1000 * limit

    def waits(self, first):
        """How long each client from that number on waited, at most its patience."""
        return [min(self.answered.get(number, asked + PATIENCE) - asked, PATIENCE)
                for number, asked in enumerate(self.asked) if number >= first]

    def take_rest(self, first, seconds=PATIENCE):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.answered.keys() | self.failed >= set(range(first, len(self.asked))):
            self.receive(until)


class Site:
    """Two namespaces, the program in one, its servers in the other."""

    counter = itertools.count()

    def __init__(self, bench, name):
        self.bench, self.name, self.closing = bench, name, contextlib.ExitStack()
        number = next(self.counter)
        self.near, self.far = f'near{number}', f'far{number}'
        self.work = bench.work / str(number)

    def __enter__(self):
        self.work.mkdir()
        far = ''.join(f'addr add {address}/24 dev lan\n' for address in FAR) + 'link set dev lan up\n'
        near = f'addr add {NEAR}/24 dev wan\nlink set dev wan up\n'
        for namespace in (self.near, self.far):
            run('ip', 'netns', 'add', namespace)
            self.closing.callback(run, 'ip', 'netns', 'del', namespace)
        run('ip', '-n', self.near, 'link', 'add', 'wan', 'type', 'veth', 'peer', 'name', 'lan', 'netns', self.far)
        for namespace, commands in ((self.near, near), (self.far, far)):
            run('ip', '-n', namespace, '-batch', '-', stdin='link set dev lo up\n' + commands)
        return self

    def __exit__(self, *why):
        self.closing.close()

    def serve(self, address, *options, chain='P-256'):
        """A DNS-over-TLS server; options of the responder."""
        command = [self.bench.tools / 'responder', '-a', address, '-p', 853, *options, *self.bench.servers[chain]]
        responder = Responder(self.bench.cores.wrap(self.bench.cores.measuring, inside(self.far, command)))
        self.closing.callback(responder.stop)
        return responder

    def relay(self, address, to):
        command = [self.bench.tools / 'relay', address, 853, to, 853, ROUND_TRIP_MS]
        relay = subprocess.Popen(self.bench.cores.wrap(self.bench.cores.measuring, inside(self.far, command)),
                                 stdout=subprocess.PIPE)
        relay.stdout.readline()
        self.closing.callback(relay.stdout.close)
        self.closing.callback(stop, relay)

    def start(self, addresses, chain='P-256', **settings):
        """The program; returns its process."""
        command = COMMANDS[self.name](self.bench.programs[self.name], self.work, PORT,
                                      [(address, 853) for address in addresses], self.bench.anchors[chain], **settings)
        log = self.closing.enter_context(open(self.work / f'{self.name}.out', 'w+'))
        process = subprocess.Popen(self.bench.cores.wrap(self.bench.cores.measured, inside(self.near, command)),
                                   stdout=log, stderr=log)
        self.closing.callback(stop, process)
        return process

    def client(self, patience=10):
        """A client that has had its first answer."""
        client = Client(self)
        self.closing.callback(client.udp.close)
        if patience:
            client.keep_asking(patience, lambda: client.answered)
            if not client.answered:
                log = (self.work / f'{self.name}.out').read_text()
                raise Failure(f'{self.name} does not answer:\n{log}')
            client.take_rest(0, 0.3)  # what was asked before it listened has no answer
        return client

    def silence(self, address):
        """Drops what is sent to and from it without a word."""
        rules = '; '.join(('add table ip bench',
                           'add chain ip bench in { type filter hook input priority 0; }',
                           'add chain ip bench out { type filter hook output priority 0; }',
                           f'add rule ip bench in ip daddr {address} drop',
                           f'add rule ip bench out ip saddr {address} drop'))
        run(*inside(self.far, ['nft', rules]))

    def speak(self):
        run(*inside(self.far, ['nft', 'delete table ip bench']))


# ---- The faults, each of which is one site's ----------------------------------------------------------


def silent_peer(site, options):
    for address in FAR[:2]:
        site.serve(address)
    site.start(FAR[:2])
    client = site.client()
    client.keep_asking(2)
    site.silence(FAR[0])
    first = len(client.asked)
    client.keep_asking(options.outage)
    client.take_rest(first)
    waits = client.waits(first)
    return {'silent_wait': 1000 * max(waits), 'silent_lost': sum(wait >= PATIENCE for wait in waits),
            'silent_failed': len(client.failed)}


def silent_alone(site, options):
    site.serve(FAR[0])
    site.start(FAR[:1])
    client = site.client()
    client.keep_asking(1)
    site.silence(FAR[0])
    client.keep_asking(5)
    back = time.monotonic()
    site.speak()
    return {'back': client.first_answer(back, options.limit)}


def new_address(site, options):
    site.serve(FAR[0])
    site.start(FAR[:1])
    client = site.client()
    client.keep_asking(1)
    run('ip', '-n', site.near, 'addr', 'del', f'{NEAR}/24', 'dev', 'wan')
    client.keep_asking(10)
    back = time.monotonic()
    run('ip', '-n', site.near, 'addr', 'add', f'{NEAR_LATER}/24', 'dev', 'wan')
    return {'address': client.first_answer(back, options.limit)}


def late_upstream(site, options):
    site.start(FAR[:1])
    client = site.client(patience=0)
    client.keep_asking(3)
    site.serve(FAR[0])
    return {'late': client.first_answer(time.monotonic(), options.limit)}


def restart(site, _):
    """The burst is spread over 50 ms, for no program's socket is to overflow."""
    responder = site.serve(FAR[0], '-d', 500)
    site.start(FAR[:1])
    client = site.client()
    first = len(client.asked)
    before = responder.counted()['queries']
    for number in range(BURST):
        client.ask()
        if number % 10 == 9:
            time.sleep(0.001)
    until = client.asked[first] + 0.4
    while time.monotonic() < until and responder.counted()['queries'] < before + BURST:
        time.sleep(0.01)
    seen = responder.counted()['queries'] - before
    responder.process.send_signal(signal.SIGKILL)
    responder.process.wait()
    time.sleep(0.2)
    site.serve(FAR[0])
    client.take_rest(first)
    waits = [wait for wait in client.waits(first) if wait < PATIENCE]
    return {'restart': len(waits), 'restart_slowest': 1000 * max(waits, default=PATIENCE), 'restart_seen': seen,
            'restart_failed': len(client.failed)}


# ---- Milliseconds, one program at a time ------------------------------------------------------------


def idle_close(site, options, key, by, delay_ms, *served, idle_ms=IDLE_MS, **settings):
    """Sites wait together and ask in turn."""
    site.serve(FAR[0], '-i', idle_ms, *(['-r'] if by == 'rst' else []), *served)
    if delay_ms:
        site.relay(FAR[1], FAR[0])
    site.start(FAR[1:2] if delay_ms else FAR[:1], **settings)
    client = site.client()
    client.wait_for(client.ask())
    took = []
    for _ in range(options.tries):
        time.sleep((idle_ms + 2 * delay_ms + 200) / 1000)
        with site.bench.turn:
            took.append(client.wait_for(client.ask()) or 1000 * PATIENCE)
    return {key: took}


def idle_closes(name):
    """All of them for one program, as arguments and settings of idle_close."""
    found = [((f'idle_{by}_{delay_ms}', by, delay_ms), {}) for by in ('fin', 'rst') for delay_ms in (0, ROUND_TRIP_MS)]
    found += [((f'idle_full_{by}_20', by, ROUND_TRIP_MS, '-n'), {}) for by in ('fin', 'rst')]
    if name == 'dnproxy':  # it closes so seldom that each query comes when the connection is open again
        found.append((('idle_warm_20', 'fin', ROUND_TRIP_MS), {'idle_ms': 1000, 'more': KEEP_WARM}))
    return found


def handshake_cpu(site, options, chain, kind):
    """The server closes after each answer.  Of two certificates in turn none is the last that was seen."""
    responder = site.serve(FAR[0], '-v', '1.2', '-o', *([] if kind == 'resumed' else ['-n']),
                           chain=f'{chain} in turn' if kind == 'full' else chain)
    process = site.start(FAR[:1], chain)
    client = site.client()
    before, used = responder.counted(), cpu_ms(process.pid)
    start, made = time.monotonic(), 0
    while made < 200 and time.monotonic() - start < options.cpu_seconds * (1 if made >= 3 else 10):
        client.wait_for(client.ask(), 1)
        time.sleep(0.003)
        made = responder.counted()['connections'] - before['connections']
    used, after = cpu_ms(process.pid) - used, responder.counted()
    if not made:
        raise Failure(f'{site.name} does not connect again')
    return {f'cpu_{kind}_{chain}': used / made, f'cpu_{kind}_{chain}_made': made,
            f'cpu_{kind}_{chain}_resumed': after['resumed'] - before['resumed']}


def upstream_memory(bench, name):
    found = {}
    for count in (1, len(FAR)):
        with Site(bench, name) as site:
            responder = site.serve('0.0.0.0')
            process = site.start(FAR[:count], **({'more': KEEP_WARM} if name == 'dnproxy' else {}))
            client = site.client()
            until = time.monotonic() + PATIENCE
            for step in itertools.count():
                if step >= 200 and (responder.counted()['connections'] >= count or time.monotonic() > until):
                    break
                client.wait_for(client.ask(), 1)
            time.sleep(0.3)
            found[f'rss_{count}'] = memory(process.pid, 'VmRSS')
            found[f'rss_{count}_connections'] = responder.counted()['connections']
    found['rss'] = (found[f'rss_{len(FAR)}'] - found['rss_1']) / (len(FAR) - 1)
    return found


class Bench:
    def __init__(self, options, work):
        self.options, self.work, self.tools = options, work, pathlib.Path(options.tools)
        self.cores = Cores()
        self.programs = {name: program for name in options.only or PROGRAMS
                         if (program := find_program(name, options.program))}
        if 'dnproxy' in (options.only or PROGRAMS) and 'dnproxy' not in self.programs:
            fail(f'{options.program} is not there: run make')
        self.failed, self.turn = set(), threading.Lock()
        self.servers, self.anchors = {}, {}
        self.anchors['P-256'], _ = make_certificate(work, 'ca', 'P-256', CA)
        self.servers['P-256'] = make_certificate(work, 'server', 'P-256', LEAF, 'ca')
        for chain, kinds in CHAINS.items():
            self.make_chain(chain, *kinds)

    def make_chain(self, chain, root, middle, leaf):
        self.anchors[chain], _ = make_certificate(self.work, f'{chain} root', root, CA)
        issuer, _ = make_certificate(self.work, f'{chain} issuer', middle, CA, f'{chain} root')
        pairs = [make_certificate(self.work, f'{chain} {number}', leaf, LEAF, f'{chain} issuer') for number in (1, 2)]
        for certificate, _ in pairs:
            certificate.write_text(certificate.read_text() + issuer.read_text())
        self.servers[chain], self.servers[f'{chain} in turn'] = pairs[0], pairs[0] + pairs[1]
        self.anchors[f'{chain} in turn'] = self.anchors[chain]

    def attempt(self, name, measure, *arguments):
        """What was found, or nothing: the others are measured all the same."""
        try:
            return measure(*arguments)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            print(f'recovery: {name}: {failure}', file=sys.stderr)
            self.failed.add(name)
            return {}

    def at_site(self, name, measure, *arguments, **settings):
        def there():
            with Site(self, name) as site:
                return measure(site, self.options, *arguments, **settings)
        return self.attempt(name, there)

    def side_by_side(self, found, *faults):
        jobs = [(name, fault) for fault in faults for name in self.programs]
        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            for (name, _), one in zip(jobs, pool.map(lambda job: self.at_site(*job), jobs)):
                found[name].update(one)

    def idle_closes(self, name):
        cases, found = idle_closes(name), {}
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            for one in pool.map(lambda case: self.at_site(name, idle_close, *case[0], **case[1]), cases):
                found.update(one)
        return found

    def round(self):
        found = {name: {} for name in self.programs}
        self.side_by_side(found, silent_peer, silent_alone, new_address, late_upstream)
        self.side_by_side(found, restart)
        for name in self.programs:
            found[name].update(self.idle_closes(name))
        for name in [name for name in THOROUGH if name in found]:
            for chain, kind in itertools.product(self.options.chains, ('full', 'leaf', 'resumed')):
                found[name].update(self.at_site(name, handshake_cpu, chain, kind))
            found[name].update(self.attempt(name, upstream_memory, self, name))
        return found


def figures_of(rounds, key):
    """All that was measured in the rounds."""
    values = [found[key] for found in rounds if key in found]
    return list(itertools.chain(*values)) if values and isinstance(values[0], list) else values


def cell(values, worst, decimals, limit):
    """Their median and the worst of them; what was given up is longer than it says."""
    return ' / '.join(f'{">" if value in (1000 * PATIENCE, 1000 * limit) else ""}{value:,.{decimals}f}'
                      for value in (statistics.median(values), worst(values))) if values else '-'


def report(rounds, limit):
    lines = [['', *rounds, 'expected of dnproxy']]
    for key, text, unit, decimals, worst, expected in ROWS:
        line = [f'{text} ({unit})' if unit else text]
        for found in rounds.values():
            line.append(cell(figures_of(found, key), worst, decimals, limit))
        values = figures_of(rounds.get('dnproxy', []), key)
        if expected and values:
            relation, bound = expected.split()
            met = worst(values) <= int(bound) if relation == '<=' else worst(values) >= int(bound)
            expected += ' met' if met else ' MISSED'
        lines.append([*line, expected or ''])
    print_table(lines)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', default='build/dnproxy', help='the dnproxy to measure')
    parser.add_argument('--tools', default='build/bench', help='where responder and relay are')
    parser.add_argument('--only', action='append', choices=PROGRAMS, help='measure this one (several times: these)')
    parser.add_argument('--json', help='also add all figures to this file')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--quick', action='store_true', help='one short round: shows that it works')
    options = parser.parse_args()
    options.outage, options.limit, options.tries, options.cpu_seconds = 10, 30, 5, 0.7
    options.chains = list(CHAINS)
    if options.quick:
        options.chains = options.chains[:1]
        options.rounds, options.outage, options.limit, options.tries, options.cpu_seconds = 1, 5, 10, 2, 0.4
    return options


def enter_own_world():
    """Starts this again where namespaces can be made and vanish with it: without root, as root of its own."""
    if os.environ.get('RECOVERY_INSIDE'):
        run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
        return
    os.environ['PATH'] += ':/usr/sbin:/sbin'
    own = ['unshare', '--net', '--mount', *([] if os.geteuid() == 0 else ['--user', '--map-root-user'])]
    os.execvpe(own[0], [*own, sys.executable, '-B', *sys.argv], {**os.environ, 'RECOVERY_INSIDE': '1'})


def main():
    options = parse_options()
    enter_own_world()
    with tempfile.TemporaryDirectory(prefix='recovery-') as directory:
        bench = Bench(options, pathlib.Path(directory))
        rounds = {name: [] for name in bench.programs}
        for number in range(options.rounds):
            print(f'faults: round {number + 1} of {options.rounds}', file=sys.stderr)
            for name, found in bench.round().items():
                rounds[name].append(found)
    report(rounds, options.limit)
    print(NOTES.format(limit=options.limit), end='')
    if options.json:
        path = pathlib.Path(options.json)
        figures = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**figures, 'recovery': rounds}, indent=2) + '\n')
    if 'dnproxy' in bench.failed:
        sys.exit('recovery: not all of dnproxy was measured')


if __name__ == '__main__':
    main()
