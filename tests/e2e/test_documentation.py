# SPDX-License-Identifier: MIT
"""README, man page, dnproxy.yml and --help say the same as the program does."""
import os
import re
import signal
import subprocess
from pathlib import Path

import yaml

import certs
from wire import opt_record, query

TOP = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("DNPROXY", str(TOP / "build/dnproxy"))
README = (TOP / "README.md").read_text(encoding="utf-8")
MAN = (TOP / "doc/dnproxy.8").read_text(encoding="utf-8")
EXAMPLE = (TOP / "dnproxy.yml").read_text(encoding="utf-8")


def run(*args, **env):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=20, check=True,
                          env={"PATH": os.environ["PATH"], **env}, cwd="/").stdout


def help_keys():
    """Each key of --help with the line that tells its default and range."""
    lines = run("--help").splitlines()
    return {line.strip(): lines[i + 1].strip() for i, line in enumerate(lines)
            if re.fullmatch(r"  [a-z]+\.[a-z_]+", line)}


def readme_rows():
    return {m[1]: (m[2], m[3]) for m in re.finditer(r"^\| `([a-z]+\.[a-z_]+)` \| (.*?) \| (.*?) \|", README, re.M)}


def man_items():
    """Each key of the man page with its text."""
    parts = re.split(r"^\.It Cm ", MAN, flags=re.M)[1:]
    return {p.split("\n", 1)[0]: p.split("\n.El")[0] for p in parts}


def leaves(tree, path=""):
    for key, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def test_every_key_stands_everywhere():
    keys = set(help_keys())
    assert len(keys) > 10
    assert set(readme_rows()) == keys
    assert set(man_items()) == keys
    assert {k for k, _ in leaves(yaml.safe_load(EXAMPLE))} == keys


def test_defaults_and_ranges_are_the_same_everywhere():
    example = dict(leaves(yaml.safe_load(EXAMPLE)))
    for key, told in help_keys().items():
        default = re.match(r"default ([^;]*)", told)[1]
        for limits in re.findall(r"\d+\.\.\d+", told):
            assert limits in readme_rows()[key][1], key
            assert limits in man_items()[key], key
        for word in re.search(r"; ([a-z]+(?:\|[a-z]+)+)", told + "; a|a")[1].split("|"):
            assert word == "a" or word in readme_rows()[key][1], (key, word)
        if " and others" in default:
            continue
        assert f"`{default}`" == readme_rows()[key][0], key
        assert default.strip('"') in man_items()[key], key
        value = example[key]
        value = str(value).lower() if isinstance(value, bool) else str(value)
        assert value == default.strip('"'), key


def test_the_example_file_sets_the_defaults():
    by_default = run("--check")
    assert run("-c", str(TOP / "dnproxy.yml"), "--check") == by_default


def test_every_variable_stands_everywhere():
    variables = set(re.findall(r"DNPROXY_[A-Z_]+", run("--help")))
    assert len(variables) >= 5
    for name in variables:
        assert name in README and name in MAN and name in EXAMPLE, name


def test_ranges_in_the_example_file_are_those_of_the_program():
    ranges = set(re.findall(r"\d+\.\.\d+", run("--help")))
    told = {f"{low}..{high}" for low, high in re.findall(r"(\d+) to (\d+)", EXAMPLE)}
    assert told <= ranges, told - ranges
    for key, text in help_keys().items():
        if key.startswith("cache.") or key == "dnproxy.workers":
            assert set(re.findall(r"\d+\.\.\d+", text)) <= told, key


def section(title):
    """What the README says under a heading."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def constants():
    """The numbers of bounds.h and cache.h by name."""
    text = "".join((TOP / "include" / name).read_text(encoding="utf-8") for name in ("bounds.h", "cache.h"))
    return {name: int(value) for name, value in re.findall(r"^#define (\w+) (\d+)u?\b", text, re.M)}


def seconds(ms):
    return f"{ms / 1000:g} s"


def test_the_readme_promises_what_bounds_h_does():
    """Each time and number in "Never stuck" is that of a constant."""
    text = section("Never stuck")
    c = constants()
    for told in (f"answers within {seconds(c['PROMISE_OTHER_MS'])}", f"within {seconds(c['PROMISE_BACK_MS'])} |",
                 f"After {seconds(c['POOL_DOUBT_MIN_MS'])} (up to {seconds(c['POOL_DOUBT_MAX_MS'])}",
                 f"after {seconds(c['DOT_SILENT_MS'])} when only", f"at least {c['POOL_HEDGE_MIN_MS']} ms",
                 f"at most {c['POOL_HEDGE_MAX_MS']} ms", f"{c['POOL_HEDGE_DEFAULT_MS']} ms",
                 f"({c['POOL_HEDGE_BURST']} in a row)", f"rests {c['DOT_REST_MIN_MS']} ms",
                 f"at most {seconds(c['DOT_REST_MAX_MS'])}", f"rests {seconds(c['DOT_REST_DISTRUST_MS'])} at least",
                 f"closes after {seconds(c['DOT_IDLE_MS'])}", f"every {seconds(c['POOL_EXPLORE_MS'])} one query"):
        assert told in " ".join(text.split()), told
    assert (c["POOL_HEDGE_TIMES"], c["POOL_HEDGE_SHARE"], c["TLS_SESSION_S"], c["TLS_LEAF_S"]) == (3, 10, 3600, 86400)
    assert (c["POOL_WAKE_MS"], c["DOT_REST_LOCAL_MS"]) == (1000, 100)
    assert f"within {seconds(c['QUERY_TIMEOUT_MS'])} gets SERVFAIL" in " ".join(README.split())


def test_readme_and_man_page_tell_how_long_answers_are_kept():
    """Each time and number on the cache is that of a constant; RFC 9520 and 8767 name the bounds of some."""
    c = constants()
    edns = (TOP / "include/edns.h").read_text(encoding="utf-8")
    stale, stale_nxdomain = (re.search(rf"EDE_STALE{name} = (\d+)", edns)[1] for name in ("", "_NXDOMAIN"))
    asked, part = c["CACHE_PREFETCH_ASKED"], 10  # the part of its life is in cache.c
    for text in (section("The cache"), MAN.split(".Sh CACHE")[1].split(".Sh WORKERS")[0]):
        text = re.sub(r"\s+", " ", re.sub(r"^\.\w+ ?", "", text, flags=re.M))
        for told in (f"{c['CACHE_NEGATIVE_MAX_S'] // 3600} hours",
                     f"{c['CACHE_FAILURE_S']} s, and up to {c['CACHE_FAILURE_MAX_S']} s when it goes on (RFC 9520)",
                     f"a TTL of {c['CACHE_STALE_TTL']} and", f"within {seconds(c['QUERY_BRIEF_MS'])}",
                     f"lives {part} s or more and was asked for {asked} times", "in the last tenth of its life",
                     "a twentieth of the block", f"Extended DNS Error {stale} ", f"{stale_nxdomain} ", "RFC 2308",
                     "RFC 8020", "RFC 8767"):
            assert told in text, told
        assert re.search(rf"\b{c['CACHE_RECHECK_S']} s\b", text)
    for text in (README, MAN):
        assert f"not older than {seconds(c['QUERY_JOIN_MS'])}" in " ".join(text.split())
    assert c["CACHE_SMALL"] == 10  # an entry fills half of the small ring at most: a twentieth


def test_the_readme_knows_how_much_memory_is_taken():
    c, text = constants(), " ".join(section("The cache").split())
    assert f"its own length and {c['CACHE_ENTRY']} octets" in text
    assert f"6 of each {c['CACHE_BUCKET']} octets of the block" in text
    kib = c["CACHE_KIB_DEFAULT"]
    many = kib * 1024 * (c["CACHE_BUCKET"] - 6) // c["CACHE_BUCKET"] // (100 + c["CACHE_ENTRY"])
    assert f"{kib} KiB hold some 3,000 answers of usual length, and {many // 100 * 100:,} of 100 octets" in text
    together = int(re.search(r"together +(\d+) octets", run("--check"))[1])
    assert f"by each worker: {round(together / 1e6)} MB with the default settings" in " ".join(README.split())


def signals_in(text):
    return {name for name in re.findall(r"\bSIG[A-Z]+[12]?\b", text) if name in signal.Signals.__members__}


def test_signals_that_are_told_are_those_it_takes(polite):
    """It reads them from a descriptor, and so has them blocked; two more because they must do nothing.  SIGHUP is
    told since it is not taken."""
    program, _ = polite
    program.udp(query())
    status = Path(f"/proc/{program.pid}/status").read_text(encoding="ascii")
    mask = {name: int(re.search(rf"^{name}:\s*(\w+)", status, re.M)[1], 16) for name in ("SigBlk", "SigIgn", "SigCgt")}
    taken = {s.name for s in signal.Signals if mask["SigBlk"] >> (s - 1) & 1} - {"SIGPIPE", "SIGCHLD"}
    assert not any(m >> (signal.SIGHUP - 1) & 1 for m in mask.values())
    assert signals_in(MAN.split(".Sh SIGNALS")[1].split(".Sh ")[0]) == taken | {"SIGHUP"}
    assert signals_in(README) == taken | {"SIGHUP"}


def test_every_word_of_the_counters_is_told(unkind, dnproxy):
    """And the sum that is told is right: here of an answer, one from the cache, and a version of EDNS that is none."""
    server = unkind()
    program = dnproxy(server, cache__size=512)
    for asked in (query(), query(), query(opt=opt_record(version=1))):
        program.udp(asked)
    program.process.send_signal(signal.SIGUSR1)
    program.wait_log(rf"counters: .*{server.port}")
    lines = [line.split("counters: ")[1] for line in program.lines if "counters: " in line]
    found = [m for line in lines for m in re.findall(r"(?:(\d+) ([a-z ]+)|\b([a-z][a-z ]*) (\d+))(?:,|$)", line)]
    words = {before or behind: int(n or m) for n, behind, before, m in found}
    assert len(words) > 15
    assert [words[w] for w in ("asked", "answered", "cached", "refused", "kept")] == [3, 2, 1, 1, 1]
    total = re.search(r"at any moment these are ([a-z +]+) \|", README)[1]
    assert f"asked = {total}" in MAN and words["asked"] == sum(words[w] for w in total.split(" + "))
    rows = section("Checking what happens").split("| word |")[1]
    in_readme = {word for row in re.findall(r"^\| ([a-z ,]+) \|", rows, re.M) for word in row.split(", ")}
    items = MAN.split(".Sh COUNTERS")[1].split(".Sh ")[0]
    in_man = {word for item in re.findall(r"^\.It (.*)", items, re.M) for word in item.split(" , ")}
    assert in_readme == set(words)
    assert in_man == set(words)


def test_every_option_of_help_is_in_the_man_page():
    for option in re.findall(r"--([a-z]+)", run("--help").split("dnproxy.host")[0]):
        assert f"Fl -{option}" in MAN, option


def test_what_a_probe_tells_is_in_the_documents():
    facts = re.findall(r'\{[A-Z_]+, "([a-z_]+)"\}', (TOP / "src/probe.c").read_text(encoding="utf-8"))
    assert len(facts) > 20
    part = MAN.split(".Sh PROBE")[1].split(".Sh ENVIRONMENT")[0]
    for key in facts:
        assert re.search(rf"^\.It .*\b{key}\b", part, re.M), key
    example = README.split("## Checking what happens")[1].split("`--json`")[0]
    told = [m[1].rstrip() for m in re.finditer(r"^    ([a-z].{12}) \S", example, re.M)]
    assert len(told) > 25 and set(told) - {"dnproxy"} <= {key.replace("_", " ") for key in facts}
    until = f"up to {constants()['PROBE_IDLE_MS'] // 1000} s"
    assert until in run("--help") and until in README and until in part


def test_times_of_health_and_the_end_are_those_of_the_program():
    c = constants()
    for text in (section("Under supervision"), MAN.split(".Sh HEALTH")[1].split(".Sh ENV")[0]):
        told = " ".join(text.split())
        assert f"within the last {seconds(c['READY_MS'])}" in told and "at most once a second" in told
        assert float(re.search(r"within (\d\.\d) s", told)[1]) * 1000 >= c["HEALTH_MS"] + 2 * c["HEALTH_AGAIN_MS"]
    assert c["QUERY_JOIN_MS"] == 1000
    assert f"up to {seconds(c['SERVE_END_MS'])} while" in README
    assert f"in the next {seconds(c['SERVE_END_MS'])} is" in MAN
    check = re.search(r"^HEALTHCHECK (--interval=\S+ --timeout=(\d+)s) .*(CMD .*)$",
                      (TOP / "Dockerfile.scratch").read_text(encoding="utf-8"), re.M)
    assert f"HEALTHCHECK {check[1]} {check[3]}" in README and c["HEALTH_MS"] < int(check[2]) * 1000


def test_every_file_of_the_readme_is_accepted(tmp_path):
    files = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert len(files) >= 2
    for text in files:
        (tmp_path / "some.yml").write_text(text)
        assert run("-c", str(tmp_path / "some.yml"), "--check")


def test_the_command_of_the_readme_makes_a_pin(tmp_path):
    """What stands behind openssl s_client, fed with a certificate, prints a pin that is accepted."""
    pipe = re.search(r"^    openssl s_client [^|]*\| (openssl x509 .*?base64)$", README, re.S | re.M)[1]
    with open(certs.self_signed(tmp_path, "dns.test").cert, encoding="ascii") as file:
        digest = subprocess.run(["sh", "-c", pipe], stdin=file, capture_output=True, text=True, check=True).stdout
    (tmp_path / "pin.yml").write_text(f"upstream:\n  ip: 192.0.2.1\n  pins: sha256/{digest}")
    assert f'pins: "sha256/{digest.strip()}"\n' in run("-c", str(tmp_path / "pin.yml"), "--check")


def anchors(page):
    """What leads to the headings of a page, as GitHub and others make it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


def test_every_link_between_pages_leads_to_a_file_and_a_heading():
    pages = [TOP / "README.md", *(TOP / "doc").glob("*.md"), *(TOP / "deploy").rglob("*.md")]
    links = [(page, *link) for page in pages
             for link in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))]
    assert len(links) > 50
    for page, path, heading in links:
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {path}"
        assert not heading or heading in anchors(target), f"{page.name}: {path}#{heading}"


def test_the_smallest_file_of_the_readme_is_accepted(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", README, re.S)[1]
    (tmp_path / "small.yml").write_text(text)
    assert yaml.safe_load(run("-c", str(tmp_path / "small.yml"), "--check"))["upstream"][0]["hostname"] \
        == "cloudflare-dns.com"
