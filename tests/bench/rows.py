# SPDX-License-Identifier: MIT
"""What is measured, in which unit, and what dnproxy has to reach."""
import collections

# What a select loop over BearSSL needs for 100,000 padded queries with nothing around it: no cache, time-outs,
# retries or checks.  0.61 s to 0.74 s on two cores of an AMD EPYC with AES-NI, 100 in flight; not measured here.
TLS_LOOP_S = 0.7

# share: the bound is this many times the value of `of`: 'peer' (the best of them) or 'limit'; without
# `of` it is the bound.
Target = collections.namedtuple('Target', 'name relation share of', defaults=[None])
# source: where the figure comes from: 'rounds' (bench.py) or 'recovery'.
Row = collections.namedtuple('Row', 'key text unit decimals targets most source', defaults=[(), False, 'rounds'])


def must(relation, share, of=None):
    return Target('must', relation, share, of)


def aim(relation, share, of=None):
    return Target('aim', relation, share, of)


ROWS = [
    Row('cpu_100', 'miss, CPU for 100,000, 100 in flight', 's', 2,
        (must('<=', 0.6, 'peer'), aim('<=', round(1.4 * TLS_LOOP_S, 2)))),
    Row('cpu_10', 'the same, 10 in flight', 's', 2, (must('<=', 0.7, 'peer'),)),
    Row('cpu_1000', 'the same, 1,000 in flight', 's', 2),
    Row('lost_1000', 'queries lost of these', '', 0, (must('<=', 0),)),
    Row('cpu_kept', 'miss with the cache on, CPU for 100,000, 100 in flight', 's', 2),
    Row('cpu_hit', 'hit, CPU for 100,000, 100 in flight', 's', 2, (must('<', 1, 'peer'), aim('<=', 1.2, 'limit'))),
    Row('cpu_tcp_20', 'TCP, 20 connections, CPU for 100,000, 100 in flight', 's', 2, (must('<=', 0.75, 'peer'),)),
    Row('cpu_tcp_1', 'the same, 1 connection', 's', 2),
    Row('qps_tcp_1', 'TCP, 1 connection, queries a second', '', 0, most=True),
    Row('qps_20_100', 'queries a second at 20 ms, 100 in flight', '', 0, (must('>=', 4600), aim('>=', 4800)), True),
    Row('lost_20_100', 'queries lost of these', '', 0, (must('<=', 0),)),
    Row('qps_20_1000', 'queries a second at 20 ms, 1,000 in flight', '', 0,
        (must('>=', 30000), aim('>=', 40000)), True),
    Row('lost_20_1000', 'queries lost of these', '', 0, (must('<=', 0),)),
    Row('p50', 'latency at 20 ms, 200 queries a second: p50', 'ms', 2, (must('<=', 1, 'peer'), aim('<=', 20.3))),
    Row('p99', 'latency at 20 ms, 200 queries a second: p99', 'ms', 2, (must('<=', 1, 'peer'), aim('<=', 22))),
    Row('start', 'exec to first answer, no delay', 'ms', 2, (must('<=', 7), aim('<=', 5))),
    Row('start_20', 'exec to first answer, round trip of 20 ms', 'ms', 1),
    Row('idle_fin_20', 'after an idle close by FIN, 20 ms, sessions resumed', 'ms', 1, (must('<=', 63),),
        source='recovery'),
    Row('idle_rst_20', 'the same by RST', 'ms', 1, (must('<=', 63),), source='recovery'),
    Row('idle_full_fin_20', 'after an idle close by FIN, 20 ms, nothing resumed', 'ms', 1, (must('<=', 84),),
        source='recovery'),
    Row('idle_full_rst_20', 'the same by RST', 'ms', 1, (must('<=', 84),), source='recovery'),
    Row('idle', 'resident memory, idle', 'MiB', 2, (must('<=', 1.0), aim('<=', 0.6))),
    Row('load', 'resident memory, peak under load, cache off', 'MiB', 2),
    Row('full', 'resident memory, peak under load, cache full', 'MiB', 2, (must('<=', 2.5), aim('<=', 1.5))),
    Row('disk', 'program and libraries, 1,000 octets', 'kB', 1, (must('<=', 150), aim('<=', 130))),
    Row('conns', 'upstream connections for 10,000 queries', '', 0),
    Row('qps_workers_1', 'queries a second, nothing pinned, 1 worker', '', 0, most=True),
    Row('share_workers_1', "the load generator's and responder's share of the machine", '%', 0),
    Row('qps_workers_2', 'queries a second, nothing pinned, 2 workers', '', 0, most=True),
    Row('share_workers_2', "the load generator's and responder's share of the machine", '%', 0),
    Row('stolen', 'time taken from this machine by its host', '%', 1),
]
# Without a bound or a peer that could be compared: no ratio.
NO_RATIO = {'lost_1000', 'lost_20_100', 'lost_20_1000', 'conns', 'stolen', 'share_workers_1', 'share_workers_2'}
