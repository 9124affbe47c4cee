# SPDX-License-Identifier: MIT
"""What bench.py and recovery.py share: cores, the responder, what /proc says, certificates, and a table."""
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys

from peers import NAME


class Failure(Exception):
    """What one program could not be measured in."""


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


# ---- What /proc says ------------------------------------------------------------------------------


def family(pid):
    """The process and all that it has started."""
    found = [pid]
    for one in found:
        for path in pathlib.Path(f'/proc/{one}/task').glob('*/children'):
            found += map(int, path.read_text().split())
    return found


def memory(pid, key, file='status'):
    """KiB of all its processes."""
    texts = [pathlib.Path(f'/proc/{one}/{file}').read_text() for one in family(pid)]
    return sum(int(re.search(rf'^{key}:\s+(\d+) kB', text, re.M)[1]) for text in texts)


def cpu_ms(pid):
    """What all threads of all its processes have used, user and system; of those that live."""
    return sum(int(path.read_text().split()[0]) for one in family(pid)
               for path in pathlib.Path(f'/proc/{one}/task').glob('*/schedstat')) / 1e6


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
