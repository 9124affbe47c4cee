#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures dnproxy and unbound in turn, as forwarders to one fast DNS-over-TLS responder.

Both check the responder's certificate, neither caches.  Each round measures both, one after the
other, in changing order; what is printed are the medians of the rounds and their ratio.  The program
that is measured has one core, dnsperf and the responder have the other.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from common import (CA, COMMANDS, LEAF, Cores, Responder, fail, find_program, free_port, make_certificate, memory,
                    print_table, stop)

TICKS = os.sysconf('SC_CLK_TCK')

# key, what is measured, unit, decimals, what dnproxy is expected to reach
# ('x0.7' is 0.7 times unbound's)
ROWS = [
    ('cpu', 'CPU for 100,000 UDP queries, 100 in flight', 's', 2, '<= x0.7'),
    ('qps', 'queries a second at 20 ms, 100 in flight', '', 0, '>= 4500'),
    ('p50', 'latency at 20 ms, 200 queries a second: p50', 'ms', 2, None),
    ('p99', 'latency at 20 ms, 200 queries a second: p99', 'ms', 2, None),
    ('idle', 'resident memory, idle', 'KiB', 0, '< 1024'),
    ('idle_pss', 'resident memory, idle, shared pages divided', 'KiB', 0, None),
    ('load', 'resident memory, peak under load', 'KiB', 0, None),
    ('start', 'from exec to the first answer, no delay', 'ms', 2, '<= 8'),
    ('conns', 'upstream connections for 10,000 queries', '', 0, None),
    ('stolen', 'time taken from this machine by its host', '%', 1, None),
]


class Subject:
    """A program that is measured."""

    def __init__(self, bench, name, program, make_command):
        self.bench, self.name, self.program, self.make_command = bench, name, program, make_command

    def command(self, port, responder):
        return self.make_command(self.program, self.bench.work, port, [('127.0.0.1', responder.port)],
                                 self.bench.ca)

    @contextlib.contextmanager
    def running(self, responder):
        """Starts it, waits until it answers, and ends it by its own means."""
        port = free_port()
        cores = self.bench.cores
        log = open(self.bench.work / f'{self.name}.log', 'w+')
        process = subprocess.Popen(cores.wrap(cores.measured, self.command(port, responder)),
                                   stdout=log, stderr=log)
        try:
            self.wait_for_answer(process, port, log)
            yield process.pid, port
        finally:
            stop(process)
            log.close()

    def wait_for_answer(self, process, port, log):
        query = bytes.fromhex('000101000001000000000000') + b'\4warm\5bench\0\0\1\0\1'
        until = time.monotonic() + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.2)
            udp.connect(('127.0.0.1', port))
            while time.monotonic() < until and process.poll() is None:
                with contextlib.suppress(OSError):
                    udp.send(query)
                    answer = udp.recv(4096)
                    if answer[3] & 15 == 0 and answer[7] == 1:
                        return
                time.sleep(0.01)
        log.seek(0)
        fail(f'{self.name} does not answer:\n{log.read()}')


def cpu_seconds(pid):
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_time():
    """Ticks of all cores since the start: all, and those that the host of a virtual machine took."""
    ticks = [int(word) for word in pathlib.Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9]]
    return sum(ticks), ticks[7]


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.tools = pathlib.Path(options.tools)
        self.cores = Cores()
        self.names = 0
        self.ca, _ = make_certificate(work, 'ca', 'P-256', CA)
        cert, key = make_certificate(work, 'server', 'P-256', LEAF, 'ca')
        command = self.cores.wrap(self.cores.measuring, [self.tools / 'responder', '-d'])
        self.quick = Responder([*command, 0, cert, key])
        self.slow = Responder([*command, 20, cert, key])

    def stop(self):
        self.quick.stop()
        self.slow.stop()

    def questions(self, count):
        """A file of distinct names that nobody was asked before."""
        path = self.work / 'questions'
        with open(path, 'w') as out:
            for number in range(self.names, self.names + count):
                out.write(f'q{number}.bench A\n')
        self.names += count
        return path

    def dnsperf(self, port, count):
        """Asks `count` questions, 100 in flight; returns queries per second.  All must be answered."""
        command = self.cores.wrap(self.cores.measuring, [
            'dnsperf', '-s', '127.0.0.1', '-p', port, '-d', self.questions(count), '-c', 4, '-T', 1, '-q', 100,
            '-n', 1, '-t', 5])
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        good = re.search(r'NOERROR (\d+) ', text)
        if not good or int(good[1]) < count * 0.999:
            fail(f'{good[1] if good else 0} of {count} queries were answered:\n{text}')
        return float(re.search(r'Queries per second:\s+([\d.]+)', text)[1])

    def client(self, *arguments):
        command = self.cores.wrap(self.cores.measuring, [self.tools / 'client', *arguments])
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            fail(f'{" ".join(map(str, arguments))}: {run.stdout}{run.stderr}')
        words = run.stdout.split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2])}

    # ---- What is measured ----------------------------------------------------------------------

    def measure_cpu(self, subject):
        """Also the memory, since nothing else loads it more."""
        count = self.options.queries
        with subject.running(self.quick) as (pid, port):
            time.sleep(0.5)
            found = {'idle': memory(pid, 'VmRSS'), 'idle_pss': memory(pid, 'Pss', 'smaps_rollup')}
            before = cpu_seconds(pid)
            self.dnsperf(port, count)
            found['cpu'] = (cpu_seconds(pid) - before) * 100000 / count
            found['load'] = memory(pid, 'VmHWM')
        return found

    def measure_connections(self, subject):
        before = self.quick.counted()['connections']
        with subject.running(self.quick) as (_, port):
            self.dnsperf(port, 10000)
        return {'conns': self.quick.counted()['connections'] - before}

    def measure_rate(self, subject):
        with subject.running(self.slow) as (_, port):
            return {'qps': self.dnsperf(port, self.options.slow_queries)}

    def measure_latency(self, subject):
        with subject.running(self.slow) as (_, port):
            took = self.client('latency', port, 200, self.options.seconds)
        return {'p50': took['p50'] / 1000, 'p99': took['p99'] / 1000}

    def measure_start(self, subject):
        port = free_port()
        took = self.client('start', port, self.options.starts, self.cores.measured,
                           *subject.command(port, self.quick))
        return {'start': took['median'] / 1000}

    def round(self, subject):
        found = {}
        total, stolen = machine_time()
        for measure in (self.measure_cpu, self.measure_connections, self.measure_rate, self.measure_latency,
                        self.measure_start):
            found.update(measure(subject))
        now_total, now_stolen = machine_time()
        found['stolen'] = 100 * (now_stolen - stolen) / (now_total - total)
        return found


def verdict(expected, ours, ratio):
    if expected is None:
        return ''
    relation, bound = expected.split()
    value = ratio if bound.startswith('x') else ours
    if value is None:
        return expected
    limit = float(bound.lstrip('x'))
    met = {'<=': value <= limit, '<': value < limit, '>=': value >= limit}[relation]
    return f'{expected} {"met" if met else "MISSED"}'


def best_of(key, found):
    values = [figures[key] for figures in found]
    return max(values) if key == 'qps' else min(values)


def report(medians, rounds):
    """The medians, their ratio, and each one's best round: the medians suffer from a busy machine."""
    names = list(rounds)
    lines = [['median of the rounds', *names, 'ratio', *(f'best {name}' for name in names), 'expected']]
    for key, text, unit, decimals, expected in ROWS:
        values = [medians[name][key] for name in names]
        ratio = values[0] / values[1] if len(values) == 2 and values[1] else None
        expected = verdict(expected, values[0], ratio) if names[0] == 'dnproxy' else ''
        lines.append([f'{text} ({unit})' if unit else text, *(f'{value:,.{decimals}f}' for value in values),
                      f'{ratio:.2f}' if ratio is not None else '',
                      *(f'{best_of(key, rounds[name]):,.{decimals}f}' for name in names), expected])
    print_table(lines)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', default='build/dnproxy', help='the dnproxy to measure')
    parser.add_argument('--tools', default='build/bench', help='where responder and client are')
    parser.add_argument('--only', choices=('dnproxy', 'unbound'), help='measure one alone')
    parser.add_argument('--json', help='also write all figures there')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--quick', action='store_true', help='one short round: shows that it works')
    options = parser.parse_args()
    options.queries, options.slow_queries, options.seconds, options.starts = 100000, 20000, 10, 20
    if options.quick:
        options.rounds = 1
        options.queries, options.slow_queries, options.seconds, options.starts = 20000, 5000, 2, 5
    return options


def find_subjects(bench, options):
    names = [options.only] if options.only else ['dnproxy', 'unbound']
    return [Subject(bench, name, find_program(name, options.program), COMMANDS[name]) for name in names]


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        bench = Bench(options, pathlib.Path(directory))
        try:
            subjects = find_subjects(bench, options)
            rounds = {subject.name: [] for subject in subjects}
            for number in range(options.rounds):
                for subject in subjects if number % 2 == 0 else reversed(subjects):
                    print(f'round {number + 1} of {options.rounds}: {subject.name}', file=sys.stderr)
                    rounds[subject.name].append(bench.round(subject))
        finally:
            bench.stop()
    medians = {name: {row[0]: statistics.median(found[row[0]] for found in all_found) for row in ROWS}
               for name, all_found in rounds.items()}
    report(medians, rounds)
    if options.json:
        figures = {'rounds': rounds, 'medians': medians, 'queries': options.queries}
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2) + '\n')


if __name__ == '__main__':
    main()
