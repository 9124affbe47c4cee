# SPDX-License-Identifier: MIT
"""Asks a program on 127.0.0.1: as fast as it answers (dnsperf), or at a steady pace (client.c)."""
import os
import pathlib
import re
import subprocess

from common import Failure

PATIENCE = 1  # seconds until a query counts as lost
HOT_NAMES = 1000


def ran(command):
    """What the command has printed.  It may have failed; it may not hang."""
    try:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired as hung:
        raise Failure(f'{command[0]} does not end') from hung


class Load:
    def __init__(self, tools, cores, work):
        self.tools, self.cores, self.work = pathlib.Path(tools), cores, work
        self.names = 0
        self.hot = work / 'hot'
        self.hot.write_text(''.join(f'hot{number}.bench A\n' for number in range(HOT_NAMES)))

    def fresh(self, count):
        """A file of distinct names that nobody was asked before."""
        path = self.work / 'fresh'
        path.write_text(''.join(f'q{number}.bench A\n' for number in range(self.names, self.names + count)))
        self.names += count
        return path

    def ask(self, port, names, in_flight=100, runs=1, seconds=None, clients=4, tcp=False, pinned=True):
        """Asks each of the names, `runs` times, or for so many seconds.  Returns what became of it."""
        command = ['dnsperf', '-s', '127.0.0.1', '-p', port, '-d', names, '-c', clients, '-T', 1, '-q', in_flight,
                   '-n', runs, '-t', PATIENCE, '-b', 1024, *(['-l', seconds] if seconds else []),
                   *(['-m', 'tcp'] if tcp else [])]
        run = ran(self.cores.wrap(self.cores.measuring, command) if pinned else command)
        sent, good, rate = (re.search(pattern, run.stdout) for pattern in (
            r'Queries sent:\s+(\d+)', r'NOERROR (\d+) ', r'Queries per second:\s+([\d.]+)'))
        if run.returncode or not (sent and good and rate):
            raise Failure(f'dnsperf got no answers:\n{run.stdout}{run.stderr}')
        return {'sent': int(sent[1]), 'good': int(good[1]), 'lost': int(sent[1]) - int(good[1]), 'qps': float(rate[1])}

    def client(self, *arguments):
        """Figures of client.c by name: its last line, behind whatever the program has printed."""
        run = ran(self.cores.wrap(self.cores.measuring, [self.tools / 'client', *arguments]))
        found = re.search(r'^((asked|runs) \d+( \w+ \d+)+)$\s*\Z', run.stdout, re.M)
        if not found:
            raise Failure(f'{" ".join(map(str, arguments))}: {run.stderr}')
        words = found[1].split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2])}


def children_seconds():
    """CPU of all programs that were run and have ended."""
    times = os.times()
    return times.children_user + times.children_system
