#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows where dnproxy's CPU goes with 100 queries in flight: misses over DNS over TLS, and hits in the cache.

perf looks some thousand times a second at what runs, in the kernel too.  valgrind counts the instructions of the program
itself, which no noise of the machine changes much.  The program has to have its symbols, as build/dnproxy.unstripped.
"""
import argparse
import collections
import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from bench import Bench, Subject
from common import cpu_ms, print_table
from rows import TLS_LOOP_S

TOP = 25
IN_FLIGHT = 100
# How often the CPU of a bare select loop over TLS and of the bare responder (limit.c) a miss and a hit may cost.
MISS_SHARE, HIT_SHARE = 1.4, 1.2


def ask(bench, port, hits, queries):
    if hits:
        return bench.load.ask(port, bench.load.hot, in_flight=IN_FLIGHT, runs=max(1, queries // 1000))['good']
    return bench.load.ask(port, bench.load.fresh(queries), in_flight=IN_FLIGHT)['good']


def cpu_us(bench, name, program, hits=False):
    """CPU for a query with nobody looking."""
    subject = Subject(bench, name, program)
    with subject.running(bench.quick.port, **({'cache': hits} if subject.forwards else {})) as (pid, port):
        ask(bench, port, True, 3000)
        used = cpu_ms(pid)
        done = ask(bench, port, hits or not subject.forwards, bench.options.queries)
        return 1000 * (cpu_ms(pid) - used) / done


def perf(bench, program, hits):
    """Shares of all samples by symbol; 'k' marks the kernel's."""
    data = bench.work / 'perf.data'
    with Subject(bench, 'dnproxy', program).running(bench.quick.port, cache=hits) as (pid, port):
        ask(bench, port, True, 3000)
        process = subprocess.Popen(['perf', 'record', '-q', '-F', '4999', '-o', data, '-p', str(pid)],
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        ask(bench, port, hits, bench.options.queries)
        process.send_signal(signal.SIGINT)
        process.wait()
    text = subprocess.run(['perf', 'report', '-i', data, '--sort', 'sym', '--stdio', '-q'], capture_output=True,
                          text=True).stdout
    return [(float(share), where == 'k', name)
            for share, where, name in re.findall(r'^ *([\d.]+)% +\[(.)\] (\S+)', text, re.M)]


class Traced(Subject):
    """It runs under valgrind, which counts from when it is told to."""

    def command(self, port, upstream, **settings):
        log = self.bench.work / 'callgrind.%p'
        return ['valgrind', '-q', '--tool=callgrind', '--instr-atstart=no', f'--callgrind-out-file={log}',
                *super().command(port, upstream, **settings)]


def instructions(bench, program, hits):
    """Instructions of the program for a query, by function."""
    queries = min(bench.options.queries, 20000)
    with Traced(bench, 'dnproxy', program).running(bench.quick.port, cache=hits) as (pid, port):
        ask(bench, port, True, 3000)
        subprocess.run(['callgrind_control', '-i', 'on', str(pid)], capture_output=True, check=True)
        done = ask(bench, port, hits, queries)
        subprocess.run(['callgrind_control', '-i', 'off', str(pid)], capture_output=True, check=True)
        out = bench.work / f'callgrind.{pid}'
    text = subprocess.run(['callgrind_annotate', '--threshold=100', out], capture_output=True, text=True).stdout
    found = collections.Counter()
    for count, name in re.findall(r'^ *([\d,]+) \([ \d.]+%\)  (?:\S+?:)(\S+)', text, re.M):
        found[name] += int(count.replace(',', '')) / done  # one function may have lines of several files
    return [(count, name) for name, count in found.most_common()]


def print_profile(kind, samples, counts):
    if samples:
        kernel = sum(share for share, in_kernel, _ in samples if in_kernel)
        user = sum(share for share, in_kernel, _ in samples if not in_kernel)
        print(f'\n{kind}: samples, {user:.1f} % in the program, {kernel:.1f} % in the kernel')
        print_table([['%', '', 'symbol'], *([f'{share:.2f}', 'kernel' if in_kernel else '', name]
                                            for share, in_kernel, name in samples[:TOP])])
    if counts:
        print(f'\n{kind}: {sum(count for count, _ in counts):.0f} instructions of the program for a query')
        print_table([['instructions', 'function'], *([f'{count:.1f}', name] for count, name in counts[:TOP])])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', default='build/dnproxy.unstripped')
    parser.add_argument('--tools', default='build/bench', help='where responder, client, limit and relay are')
    parser.add_argument('--queries', type=int, default=200000)
    parser.add_argument('--quick', action='store_true', help='fewer queries')
    options = parser.parse_args()
    if options.quick:
        options.queries = 20000
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        bench = Bench(options, pathlib.Path(directory))
        with bench.closing:
            for kind, hits in ('miss', False), ('hit', True):
                samples, counts = [], []
                with contextlib.suppress(OSError):
                    samples = perf(bench, options.program, hits)
                with contextlib.suppress(OSError):
                    counts = instructions(bench, options.program, hits)
                print_profile(kind, samples, counts)
            miss, hit = (cpu_us(bench, 'dnproxy', options.program, hits) for hits in (False, True))
            limit = cpu_us(bench, 'limit', bench.tools / 'limit')
    bounds = [('miss', miss, 10 * MISS_SHARE * TLS_LOOP_S), ('hit', hit, HIT_SHARE * limit)]
    print()
    for kind, took, bound in bounds:
        print(f'{kind}: {took:.2f} us of CPU, should be <= {bound:.2f}: {"met" if took <= bound else "NOT met"}')
    print(f'the bare UDP responder: {limit:.2f} us')


if __name__ == '__main__':
    main()
