#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints what bench.py and recovery.py have measured: as a table with targets, in Markdown, or as a chart.

    report.py [--markdown | --chart FILE.svg] bench.json
"""
import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys

from common import fail, print_table
from rows import NO_RATIO, ROWS

HERE = pathlib.Path(__file__).parent
US, LIMIT = 'dnproxy', 'limit'
RELATIONS = {'<=': float.__le__, '<': float.__lt__, '>=': float.__ge__}


class Figures:
    """The medians of all rounds; those of a try that was repeated within a round count each."""

    def __init__(self, measured):
        self.measured = measured
        self.names = list(measured['rounds'])
        self.peers = [name for name in self.names if name not in (US, LIMIT)]

    def value(self, name, row):
        found = [one[row.key] for one in self.measured.get(row.source, {}).get(name, []) if row.key in one]
        if found and isinstance(found[0], list):
            found = list(itertools.chain(*found))
        return float(statistics.median(found)) if found else None

    def best_peer(self, row):
        values = [value for name in self.peers if (value := self.value(name, row)) is not None]
        return (max if row.most else min)(values) if values else None

    def ratio(self, row):
        """Ours to the best peer's."""
        ours, best = self.value(US, row), self.best_peer(row)
        return ours / best if ours is not None and best and row.key not in NO_RATIO else None

    def verdict(self, row, target):
        """Such as "must <= 0.60 of the best peer: met"."""
        of = {'peer': self.best_peer, 'limit': lambda row: self.value(LIMIT, row), None: lambda row: 1.0}[target.of]
        ours, unit = self.value(US, row), of(row)
        words = {'peer': ' of the best peer', 'limit': ' of the limit', None: ''}[target.of]
        text = f'{target.name} {target.relation} {target.share:,}{words}'
        if ours is None or unit is None:
            return text
        return f'{text}: {"met" if RELATIONS[target.relation](ours, target.share * unit) else "MISSED"}'

    def cell(self, name, row):
        value = self.value(name, row)
        return '-' if value is None else f'{value:,.{row.decimals}f}'


def label(row):
    return f'{row.text} ({row.unit})' if row.unit else row.text


def table(measured):
    """All of bench.py's rows; recovery.py prints its own."""
    figures = Figures(measured)
    lines = [['median of the rounds', *figures.names, 'ratio', 'targets of dnproxy']]
    for row in ROWS:
        if row.source not in measured:
            continue
        ratio = figures.ratio(row)
        lines.append([label(row), *(figures.cell(name, row) for name in figures.names),
                      '' if ratio is None else f'{ratio:.2f}',
                      ', '.join(figures.verdict(row, target) for target in row.targets)])
    print_table(lines)
    print('ratio: of dnproxy to the best of its peers.')


def markdown(measured):
    """For the README: without what only explains the figures, and without targets."""
    figures = Figures(measured)
    names = [US, *figures.peers]
    head = [f'{name} {measured["versions"].get(name, "").split("-")[0].split("+")[0]}'.strip()
            for name in figures.peers]
    lines = [['', US, *head, 'ratio'], ['---'] * (len(names) + 2)]
    for row in ROWS:
        cells = [figures.cell(name, row) for name in names]
        if row.key in NO_RATIO - {'conns'} or 'workers' in row.key or set(cells) == {'-'}:
            continue
        ratio = figures.ratio(row)
        lines.append([label(row), *cells, '' if ratio is None else f'{ratio:.2f}'])
    for line in lines:
        print(f'| {" | ".join(line)} |')


def chart(measured, path):
    """CPU of all programs, as SVG."""
    figures = Figures(measured)
    names = [US, *figures.peers]
    rows = [row for key in ('cpu_100', 'cpu_hit', 'cpu_tcp_20') for row in ROWS if row.key == key]
    blocks = '\n\n'.join(''.join(f'{number} {"?" if (value := figures.value(name, row)) is None else value}\n'
                                  for number, row in enumerate(rows, 1)) for name in names)
    given = f"set output '{path}'\nnames = '{' '.join(names)}'\n$figures << END\n{blocks}END\n"
    try:
        subprocess.run(['gnuplot', '-', HERE / 'chart.gnuplot'], input=given, text=True, check=True)
    except (OSError, subprocess.SubprocessError) as failure:
        fail(f'no chart: {failure}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--markdown', action='store_true')
    parser.add_argument('--chart', metavar='FILE')
    parser.add_argument('json')
    options = parser.parse_args()
    path = pathlib.Path(options.json)
    if not path.exists():
        sys.exit(f'{path} is not there: run make bench')
    measured = json.loads(path.read_text())
    if options.chart:
        chart(measured, options.chart)
    elif options.markdown:
        markdown(measured)
    else:
        table(measured)


if __name__ == '__main__':
    main()
