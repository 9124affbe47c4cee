#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures dnproxy and its peers in turn, as forwarders to one fast DNS-over-TLS responder.

Each round measures all of them, one after the other, in changing order.  The program that is measured has one
core, whatever asks it and the responder have the other.  The limit (limit.c) answers by itself.  peers.py says how
each is set up, rows.py what is measured, report.py prints it.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import time

import peers
import report
from common import CA, LEAF, Cores, Failure, Responder, cpu_ms, fail, free_port, make_certificate, memory, stop
from load import Load, children_seconds

LIMIT = 'limit'
NAMES = [*peers.COMMANDS, LIMIT]
PATIENCE = 10
ROUND_TRIP_MS = 20
WARM = 10000


def machine_time():
    """Ticks of all cores since the start: all, and those that the host of a virtual machine took."""
    ticks = [int(word) for word in pathlib.Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9]]
    return sum(ticks), ticks[7]


class Subject:
    """A program that is measured."""

    def __init__(self, bench, name, program):
        self.bench, self.name, self.program = bench, name, program
        self.forwards = name != LIMIT
        self.caches = self.forwards and peers.caches(name, program)

    def command(self, port, upstream, **settings):
        if not self.forwards:
            return [self.program, port]
        return peers.COMMANDS[self.name](self.program, self.bench.work, port, [('127.0.0.1', upstream)],
                                         self.bench.ca, **settings)

    @contextlib.contextmanager
    def running(self, upstream, pinned=True, **settings):
        """Starts it, waits until it answers, and ends it by its own means."""
        port = free_port()
        command = list(map(str, self.command(port, upstream, **settings)))
        if pinned:
            command = self.bench.cores.wrap(self.bench.cores.measured, command)
        with open(self.bench.work / f'{self.name}.log', 'w+') as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                self.wait_for_answer(process, port, log)
                yield process.pid, port
            finally:
                stop(process)

    def wait_for_answer(self, process, port, log):
        query = bytes.fromhex('000101000001000000000000') + b'\4warm\5bench\0\0\1\0\1'
        until = time.monotonic() + PATIENCE
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
        raise Failure(f'does not answer:\n{log.read()}')


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.tools = pathlib.Path(options.tools)
        self.cores = Cores()
        self.load = Load(self.tools, self.cores, work)
        self.failed = set()
        self.ca, _ = make_certificate(work, 'ca', 'P-256', CA)
        self.server = make_certificate(work, 'server', 'P-256', LEAF, 'ca')
        self.closing = contextlib.ExitStack()
        self.quick = self.responder('-d', 0)
        self.slow = self.responder('-d', ROUND_TRIP_MS)
        self.far_port = free_port()
        self.relay()

    def responder(self, *options, pinned=True):
        command = [self.tools / 'responder', *options, *self.server]
        responder = Responder(self.cores.wrap(self.cores.measuring, command) if pinned else command)
        self.closing.callback(responder.stop)
        return responder

    def relay(self):
        """The quick responder at the end of a long line."""
        command = [self.tools / 'relay', '127.0.0.1', self.far_port, '127.0.0.1', self.quick.port, ROUND_TRIP_MS]
        relay = subprocess.Popen(self.cores.wrap(self.cores.measuring, command), stdout=subprocess.PIPE)
        self.closing.callback(relay.stdout.close)
        self.closing.callback(stop, relay)
        relay.stdout.readline()

    def attempt(self, subject, found, measure, *arguments, **settings):
        """Adds what was found, or nothing: the rest is measured all the same."""
        try:
            found.update(measure(subject, *arguments, **settings))
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            print(f'bench: {subject.name}: {failure}', file=sys.stderr)
            self.failed.add(subject.name)

    # ---- What is measured ----------------------------------------------------------------------

    def cpu(self, subject, pid, port, key, names, hits=False, **how):
        """CPU for 100,000 queries.  All of them, or none, have to reach the responder."""
        before, used = self.quick.counted()['queries'], cpu_ms(pid)
        done = self.load.ask(port, names, **how)
        used, asked = cpu_ms(pid) - used, self.quick.counted()['queries'] - before
        if done['good'] < 0.5 * done['sent']:
            raise Failure(f'{key}: {done["lost"]} of {done["sent"]} queries were lost')
        if subject.forwards and (asked > 0.01 * done['good'] if hits else asked < done['good']):
            raise Failure(f'{key}: {asked} of {done["good"]} queries reached the upstream')
        return {f'cpu_{key}': 100 * used / done['good'], f'lost_{key}': done['lost'],
                f'qps_{key}': done['qps']}

    def without_cache(self, subject):
        count, found = self.options.queries, {}
        before = self.quick.counted()['connections']
        with subject.running(self.quick.port) as (pid, port):
            time.sleep(0.3)
            found.update({'idle': memory(pid, 'VmRSS') / 1024, 'disk': peers.disk_octets(pid) / 1000})
            self.load.ask(port, self.load.fresh(WARM))
            if subject.forwards:
                found['conns'] = self.quick.counted()['connections'] - before
            for in_flight in (10, 100, 1000):
                self.attempt(subject, found, self.cpu, pid, port, str(in_flight),
                             self.load.fresh(count if in_flight > 10 else count // 2), in_flight=in_flight)
            for clients in (1, 20) if subject.forwards else ():
                self.attempt(subject, found, self.cpu, pid, port, f'tcp_{clients}', self.load.fresh(count),
                             tcp=True, clients=clients)
            found['load'] = memory(pid, 'VmHWM') / 1024
        return found

    def with_cache(self, subject):
        """First it is filled, as far as it goes.  Names that are asked for over and over are in it then."""
        found = {}
        with subject.running(self.quick.port, **({'cache': True} if subject.forwards else {})) as (pid, port):
            if subject.forwards:
                self.load.ask(port, self.load.fresh(WARM))
                self.attempt(subject, found, self.cpu, pid, port, 'kept', self.load.fresh(self.options.queries))
            self.load.ask(port, self.load.hot, runs=3)
            self.attempt(subject, found, self.cpu, pid, port, 'hit', self.load.hot, hits=True,
                         runs=self.options.hit_runs)
            if subject.forwards:
                found['full'] = memory(pid, 'VmHWM') / 1024
        return found

    def delayed(self, subject):
        found = {}
        with subject.running(self.slow.port) as (_, port):
            for in_flight in (100, 1000):
                done = self.load.ask(port, self.load.fresh(100 * in_flight * self.options.seconds),
                                     in_flight=in_flight, seconds=self.options.seconds)
                found[f'qps_20_{in_flight}'] = done['qps']
                found[f'lost_20_{in_flight}'] = done['lost']
            took = self.load.client('latency', port, 200, self.options.latency_seconds)
            found.update({'p50': took['p50'] / 1000, 'p99': took['p99'] / 1000, 'lost_latency': took['lost']})
        return found

    def start(self, subject, key, upstream, count):
        port = free_port()
        took = self.load.client('start', port, count, self.cores.measured, *subject.command(port, upstream))
        return {key: took['median'] / 1000}

    def workers(self, subject, workers):
        """All cores for everybody: what asks and what answers has its share."""
        loose = self.responder(pinned=False)
        with subject.running(loose.port, pinned=False, workers=workers) as (pid, port):
            self.load.ask(port, self.load.fresh(WARM), pinned=False)
            others, began = children_seconds() + cpu_ms(loose.process.pid) / 1000, time.monotonic()
            # Long enough that the beginning and the end of the load do not count for much.
            done = self.load.ask(port, self.load.fresh(5 * self.options.queries), clients=16, pinned=False)
            others = children_seconds() + cpu_ms(loose.process.pid) / 1000 - others
            share = 100 * others / (time.monotonic() - began) / os.cpu_count()
        loose.stop()
        return {f'qps_workers_{workers}': done['qps'], f'share_workers_{workers}': share}

    def round(self, subject):
        found = {}
        total, stolen = machine_time()
        self.attempt(subject, found, self.without_cache)
        if subject.caches or not subject.forwards:
            self.attempt(subject, found, self.with_cache)
        self.attempt(subject, found, self.start, 'start', self.quick.port, self.options.starts)
        if subject.forwards:
            self.attempt(subject, found, self.delayed)
            self.attempt(subject, found, self.start, 'start_20', self.far_port, self.options.far_starts)
        if subject.name == 'dnproxy':
            for workers in (1, 2) if peers.dnproxy_works_twice(subject.program) else (1,):
                self.attempt(subject, found, self.workers, workers)
        now_total, now_stolen = machine_time()
        found['stolen'] = 100 * (now_stolen - stolen) / (now_total - total)
        return found


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--program', default='build/dnproxy', help='the dnproxy to measure')
    parser.add_argument('--tools', default='build/bench', help='where responder, client, relay and limit are')
    parser.add_argument('--only', action='append', choices=NAMES, help='measure this one (several times: these)')
    parser.add_argument('--json', help='also write all figures there')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--quick', action='store_true', help='one short round: shows that it works')
    options = parser.parse_args()
    options.queries, options.hit_runs, options.starts, options.far_starts = 30000, 60, 11, 5
    options.seconds, options.latency_seconds = 2, 3
    if options.quick:
        options.rounds, options.queries, options.hit_runs, options.starts, options.far_starts = 1, 10000, 20, 3, 1
        options.seconds, options.latency_seconds = 1, 1
    return options


def find_subjects(bench, options):
    subjects = []
    for name in options.only or NAMES:
        program = bench.tools / LIMIT if name == LIMIT else peers.find_program(name, options.program)
        if program:
            subjects.append(Subject(bench, name, program))
        elif name == 'dnproxy':
            fail(f'{options.program} is not there: run make')
        else:
            print(f'bench: {name} is not there: run make deps', file=sys.stderr)
    return subjects


def measure(options, work):
    """All figures, as the JSON file holds them."""
    bench = Bench(options, work)
    with bench.closing:
        subjects = find_subjects(bench, options)
        rounds = {name: [] for name in options.only or NAMES}
        for number in range(options.rounds):
            for subject in subjects if number % 2 == 0 else reversed(subjects):
                print(f'round {number + 1} of {options.rounds}: {subject.name}', file=sys.stderr)
                rounds[subject.name].append(bench.round(subject))
    versions = {subject.name: peers.version(subject.name, subject.program) for subject in subjects if subject.forwards}
    return {'machine': {'kernel': platform.release(), 'cores': os.cpu_count()}, 'versions': versions,
            'queries': options.queries, 'failed': sorted(bench.failed), 'rounds': rounds}


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        figures = measure(options, pathlib.Path(directory))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2) + '\n')
    report.table(figures)
    if 'dnproxy' in figures['failed']:
        sys.exit('bench: not all of dnproxy was measured')


if __name__ == '__main__':
    main()
