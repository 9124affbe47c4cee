#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Counts the system calls of dnproxy for each query, by kind, at 1, 10 and 100 queries in flight.

Once with strace -c, as anyone can, and once with the kernel's own counters (perf stat), where the user may read
them: a program that is traced is slow, so that more is ready for it at each turn, and it does with fewer calls.
The bound is for the first, as a quick program finds less at each turn the quicker it is, and rests only as long as
its clients do not feel it.  Each --program is measured in turn.
"""
import argparse
import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from bench import Bench, Subject
from common import print_table

BOUND, BOUND_AT = 0.3, 100  # calls for each query, at so many in flight
KINDS = ['select', 'pselect6', 'recvmmsg', 'sendmmsg', 'recvfrom', 'sendto', 'sendmsg', 'setsockopt', 'clock_gettime']


class Strace:
    name = 'strace'

    def __init__(self, pid):
        self.process = subprocess.Popen(['strace', '-f', '-c', '-U', 'calls,name', '-p', str(pid)],
                                        stderr=subprocess.PIPE, text=True)
        self.process.stderr.readline()  # "attached"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate()
        return {name: int(calls) for calls, name in re.findall(r'^ *(\d+) +([a-z]\w*)$', text, re.M) if name != 'total'}


class Perf:
    name = 'perf'

    @staticmethod
    def usable():
        with contextlib.suppress(OSError):
            return not subprocess.run(['perf', 'stat', '-e', 'raw_syscalls:sys_enter', 'true'],
                                      capture_output=True).returncode
        return False

    def __init__(self, pid):
        events = ','.join(['raw_syscalls:sys_enter', *(f'syscalls:sys_enter_{kind}' for kind in KINDS)])
        self.process = subprocess.Popen(['perf', 'stat', '-x', ',', '-e', events, '-p', str(pid)],
                                        stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)  # it says nothing once it counts

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate()
        found = {event.rpartition('sys_enter')[2].lstrip('_'): int(calls)
                 for calls, event in re.findall(r'^(\d+),,([\w:]+),', text, re.M)}
        total = found.pop('')
        return {**found, 'others': total - sum(found.values())}


def count(bench, program, tracer, hits, in_flight):
    """Calls by kind, each for one query."""
    subject = Subject(bench, 'dnproxy', program)
    queries = bench.options.queries * min(in_flight, BOUND_AT) // BOUND_AT
    with subject.running(bench.quick.port, cache=hits) as (pid, port):
        bench.load.ask(port, bench.load.hot)
        traced = tracer(pid)
        if hits:
            done = bench.load.ask(port, bench.load.hot, in_flight=in_flight, runs=max(1, queries // 1000))
        else:
            done = bench.load.ask(port, bench.load.fresh(queries), in_flight=in_flight)
        calls = traced.stop()
    return {kind: calls[kind] / done['good'] for kind in calls}


def cells(calls):
    kinds = sorted((kind for kind in calls if calls[kind] >= 0.001), key=calls.get, reverse=True)
    return [f'{sum(calls.values()):.3f}', '  '.join(f'{kind} {calls[kind]:.3f}' for kind in kinds)]


def table(bench, programs):
    """Returns whether the bound is kept by the last of the programs."""
    tracers = [Strace, Perf] if Perf.usable() else [Strace]
    lines, worst = [['', 'in flight', 'with', 'program', 'a query', 'of these']], 0
    for hits in (False, True):
        for in_flight in (1, 10, 100):
            for tracer in tracers:
                for program in programs:
                    if hits and not Subject(bench, 'dnproxy', program).caches:
                        continue
                    calls = count(bench, program, tracer, hits, in_flight)
                    lines.append(['hit' if hits else 'miss', str(in_flight), tracer.name, program, *cells(calls)])
                    if tracer is Strace and in_flight == BOUND_AT and program == programs[-1]:
                        worst = max(worst, sum(calls.values()))
    print_table(lines)
    print(f'\nat {BOUND_AT} in flight, by strace, at most {worst:.3f} system calls a query, must be < {BOUND}:',
          'met' if worst < BOUND else 'NOT met')
    return worst < BOUND


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', action='append', help='the dnproxy to measure; the bound is for the last')
    parser.add_argument('--tools', default='build/bench', help='where responder, client and relay are')
    parser.add_argument('--queries', type=int, default=100000, help='at 100 in flight; fewer at less')
    parser.add_argument('--quick', action='store_true', help='fewer queries')
    options = parser.parse_args()
    if options.quick:
        options.queries = 10000
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        bench = Bench(options, pathlib.Path(directory))
        with bench.closing:
            met = table(bench, options.program or ['build/dnproxy'])
    sys.exit(not met)


if __name__ == '__main__':
    main()
