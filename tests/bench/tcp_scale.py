#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What clients over TCP cost dnproxy: many busy ones, compared with the same queries over UDP, and many idle ones.

Busy: 100 clients with 10 queries in flight each.  crowd.c asks for each answer at once, so that a client's queries
come in bunches; dnsperf asks one by one, whoever's turn it is.  Idle: 1,000 queries a second over UDP, without and
with 800 TCP clients that say nothing, in turn and often, for what mostly waits is measured badly.  Each --program is
measured in turn; the bounds are for the last.
"""
import argparse
import contextlib
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from bench import Bench, Subject
from common import Failure, cpu_ms, print_table

CLIENTS, IN_FLIGHT, IDLE, RATE = 100, 10, 800, 1000
BUSY_BOUND, IDLE_BOUND = 1.5, 5  # times UDP; per cent


class Scale:
    def __init__(self, options, work):
        self.options = options
        self.bench = Bench(options, work)
        self.asked = 0
        self.found = {}

    def note(self, program, key, pid, used, queries):
        self.found.setdefault((program, *key), []).append(1000 * (cpu_ms(pid) - used) / queries)

    def crowd(self, port, transport, hits):
        count = self.options.queries
        names = [len(self.bench.load.hot.read_text().splitlines())] if hits else []
        command = [self.bench.tools / 'crowd', transport, port, CLIENTS, IN_FLIGHT, count, self.asked, *names]
        self.asked += 0 if hits else count
        cores = self.bench.cores
        run = subprocess.run(cores.wrap(cores.measuring, command), capture_output=True, text=True, timeout=120)
        if run.returncode:
            raise Failure(f'{transport}: {run.stdout}{run.stderr}')

    def dnsperf(self, port, transport, hits):
        load, count = self.bench.load, self.options.queries
        how = {'clients': CLIENTS, 'in_flight': CLIENTS * IN_FLIGHT, 'tcp': transport == 'tcp'}
        done = load.ask(port, load.hot, runs=count // 1000, **how) if hits else load.ask(port, load.fresh(count), **how)
        if done['lost'] > done['sent'] / 100:
            raise Failure(f'{transport}: {done["lost"]} lost')

    def busy(self, program, hits):
        for name, ask in ('in bunches', self.crowd), ('one by one', self.dnsperf):
            with Subject(self.bench, 'dnproxy', program).running(self.bench.quick.port, cache=hits) as (pid, port):
                if hits:
                    ask(port, 'udp', hits)  # now it knows them
                for transport in 'udp', 'tcp':
                    used = cpu_ms(pid)
                    ask(port, transport, hits)
                    self.note(program, ('hit' if hits else 'miss', name, transport), pid, used, self.options.queries)

    @contextlib.contextmanager
    def idle_clients(self, port):
        """They come from several addresses, for there is a bound for each; and have to be there still at the end."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(IDLE)]
            for number, one in enumerate(sockets):
                one.bind((f'127.0.1.{1 + number // 100}', 0))
                one.connect(('127.0.0.1', port))
            yield
            for one in sockets:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.recv(1)
                    raise Failure('an idle client was closed while others were measured')

    def idle(self, program):
        seconds = self.options.seconds
        with Subject(self.bench, 'dnproxy', program).running(self.bench.quick.port) as (pid, port):
            for idle in (False, True, True, False) * 2:
                with self.idle_clients(port) if idle else contextlib.nullcontext():
                    time.sleep(0.3)  # those of before are gone
                    used = cpu_ms(pid)
                    self.bench.load.client('latency', port, RATE, seconds)
                    self.note(program, ('idle', idle), pid, used, RATE * seconds)

    def measure(self, programs):
        for number in range(self.options.rounds):
            for program in programs if number % 2 == 0 else programs[::-1]:
                caches = Subject(self.bench, 'dnproxy', program).caches
                for hits in (False, True) if caches else (False,):
                    self.busy(program, hits)
                self.idle(program)

    def lines(self, program):
        """The table of one program, and whether all its bounds are met."""
        median = {key[1:]: statistics.median(values) for key, values in self.found.items() if key[0] == program}
        lines, met = [], True
        for kind, name in sorted({key[:2] for key in median if key[0] != 'idle'}):
            udp, tcp = median[kind, name, 'udp'], median[kind, name, 'tcp']
            lines.append([f'{kind}, {name}', f'{udp:.2f}', f'{tcp:.2f}', f'{tcp / udp:.2f}', f'<= {BUSY_BOUND}',
                          self.word(tcp / udp <= BUSY_BOUND), program])
            met &= tcp / udp <= BUSY_BOUND
        none, all_ = median['idle', False], median['idle', True]
        more = 100 * (all_ / none - 1)
        lines.append([f'{IDLE} idle clients', f'{none:.2f}', f'{all_:.2f}', f'{more:+.1f} %', f'< {IDLE_BOUND} %',
                      self.word(more < IDLE_BOUND), program])
        return lines, met and more < IDLE_BOUND

    @staticmethod
    def word(met):
        return 'met' if met else 'NOT met'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', action='append', help='the dnproxy to measure')
    parser.add_argument('--tools', default='build/bench', help='where responder, client, crowd and relay are')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--queries', type=int, default=100000)
    parser.add_argument('--seconds', type=int, default=3, help='of each sample with or without idle clients')
    parser.add_argument('--quick', action='store_true', help='one short round')
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.queries, options.seconds = 1, 20000, 1
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    programs = options.program or ['build/dnproxy']
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        scale = Scale(options, pathlib.Path(directory))
        with scale.bench.closing:
            scale.measure(programs)
    table = [['CPU for a query, us', 'UDP', 'TCP', 'ratio', 'bound', '', 'program']]
    for program in programs:
        lines, met = scale.lines(program)
        table += lines
    print_table(table)
    sys.exit(not met)


if __name__ == '__main__':
    main()
