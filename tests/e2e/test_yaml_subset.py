# SPDX-License-Identifier: MIT
"""What the settings reader takes for YAML is YAML.

For every accepted text, PyYAML (all scalars as text) sees the same tree; every text PyYAML refuses
is refused.  Checked over a corpus, over generated documents and over documents with random damage.
"""

import json
import os
import pathlib
import random
import re
import struct
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "yaml"
ACCEPTED = sorted((DATA / "accepted").glob("*.yml"))
REFUSED = sorted((DATA / "refused").glob("*.yml"))
SEEDS = [int(s) for s in os.environ.get("YAML_SEEDS", "1 2 3 4").split()]
PER_SEED = int(os.environ.get("YAML_PER_SEED", "1500"))


@pytest.fixture(scope="session")
def yaml_tree(tmp_path_factory):
    program = tmp_path_factory.mktemp("yaml") / "yaml_tree"
    subprocess.run(
        ["gcc", "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=undefined", "-Iinclude", "-o", program,
         "tests/tools/yaml_tree.c", "src/yaml.c", "src/text.c"],
        cwd=ROOT, check=True)
    return program


def ours(program, texts):
    """Our reader's verdict on each text, as a list of dictionaries."""
    stdin = b"".join(struct.pack(">I", len(t)) + t for t in texts)
    out = subprocess.run([program], input=stdin, capture_output=True, check=True).stdout
    return [json.loads(line) for line in out.decode().split("\n")[:-1]]


def theirs(text):
    """PyYAML's tree, with None for an empty file as the empty text it is to us; or its error."""
    try:
        tree = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        return error
    return "" if tree is None else tree


def disagreement(text, verdict):
    """None when the two readers agree as promised, else words."""
    if "tree" not in verdict:
        lines = text.split(b"\n")
        if not 1 <= verdict["line"] <= len(lines):
            return f"error outside the text: {verdict}"
        if not 1 <= verdict["column"] <= len(lines[verdict["line"] - 1]) + 1:
            return f"error outside its line: {verdict}"
        return None if verdict["error"].isprintable() and verdict["error"] else f"error without words: {verdict}"
    other = theirs(text)
    if isinstance(other, Exception):
        return f"accepted as {verdict['tree']!r}, but PyYAML says: {other}"
    if other != verdict["tree"]:
        return f"read as {verdict['tree']!r}, but PyYAML reads {other!r}"
    return None


def check_all(program, texts):
    verdicts = ours(program, texts)
    assert len(verdicts) == len(texts)
    for text, verdict in zip(texts, verdicts):
        words = disagreement(text, verdict)
        assert words is None, f"{text!r}: {words}"
    return verdicts


@pytest.mark.parametrize("path", ACCEPTED + [ROOT / "dnproxy.yml"], ids=lambda p: p.stem)
def test_an_accepted_file_reads_as_pyyaml_reads_it(yaml_tree, path):
    (verdict,) = check_all(yaml_tree, [path.read_bytes()])
    assert "tree" in verdict, verdict


@pytest.mark.parametrize("path", REFUSED, ids=lambda p: p.stem)
def test_a_refused_file_says_where_and_why(yaml_tree, path):
    """The first line of each file is a comment: "# line:column: begin of the words"."""
    text = path.read_bytes()
    expected = re.match(rb"(?:\xef\xbb\xbf)?# (.*?)\r?\n", text).group(1).decode()
    (verdict,) = check_all(yaml_tree, [text])
    assert "error" in verdict, f"accepted as {verdict}"
    said = f"{verdict['line']}:{verdict['column']}: {verdict['error']}"
    assert said.startswith(expected)


def test_the_corpus_is_there():
    assert len(ACCEPTED) >= 15 and len(REFUSED) >= 30


# ---- Documents inside the subset: all must be accepted, as the tree they were made from ---------

WORDS = ["a", "b", "host", "port", "ip", "1.1.1.1", "::1", "2a09::1", "53", "true", "null", "~", "",
         "x y", "it's", 'say "hi"', "a: b", "c #d", "e#f", "-", "- x", "#", "trailing:", "2a09::",
         "::", "[", "a]", "{}", "a,b", ", ", "&a", "*", "!t", "|", ">", "%", "@", "`", "?", "? x", ":x",
         ":", "\\", "\\n", "\t", "a\tb", "grüße", "日本", "😀", "\u00a0", " lead", "trail ", "<<", "=",
         "---", "...", "--- x", "0x10", "1e3", "a  b", "''", '"', "fe80::1%eth0", "/etc/ssl/a.pem"]
PLAIN = re.compile(r"[A-Za-z0-9/.~<=][A-Za-z0-9/.%~<= ]*(:[A-Za-z0-9][A-Za-z0-9:]*)?(?<![: ])$")


class Maker:
    """Writes random trees in the subset's words."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def scalar(self):
        return self.r.choice(WORDS) if self.r.random() < 0.8 else "".join(
            self.r.choice("ab1:.#-' \"\\,[]é") for _ in range(self.r.randrange(6)))

    def tree(self, depth=0):
        kind = self.r.random()
        if depth > 0 and (kind < 0.45 or depth == 6):
            return self.scalar()
        if kind < 0.7:
            return [self.tree(depth + 1) for _ in range(self.r.randrange(1, 4))]
        keys = dict.fromkeys(self.scalar() for _ in range(self.r.randrange(1, 5)))
        keys.pop("<<", None)
        return {k: self.tree(depth + 1) for k in keys} or {"k": self.scalar()}

    def double(self, text):
        out = ""
        for c in text:
            if c in '"\\' or self.r.random() < 0.05:
                if c in '"\\' and self.r.random() < 0.7:
                    out += "\\" + c
                elif ord(c) < 256:
                    out += "\\x%02x" % ord(c)
                else:
                    out += "\\u%04X" % ord(c) if ord(c) < 65536 else "\\U%08x" % ord(c)
            else:
                out += c
        return '"' + out + '"'

    def write_scalar(self, text, can_be_empty=True):
        if text == "" and can_be_empty and self.r.random() < 0.5:
            return ""
        choice = self.r.random()
        plain = PLAIN.match(text) and text not in ("---", "...", "<<")
        if plain and not text.startswith("...") and choice < 0.6:
            return text
        if choice < 0.8:
            return "'" + text.replace("'", "''") + "'"
        return self.double(text)

    def comment(self):
        return self.r.choice(["", "", "", " ", "  # note", " #: [x", " # - 'a"])

    def inline(self, items):
        sep = self.r.choice([",", ", ", "  ,  "])
        body = sep.join(self.write_scalar(i, False) for i in items)
        if items and self.r.random() < 0.1:
            body += ","
        pad = self.r.choice(["", " "])
        return "[" + pad + body + pad + "]"

    def can_inline(self, tree):
        return isinstance(tree, list) and all(isinstance(i, str) for i in tree)

    def lines(self, tree, column):
        """The lines of a collection whose entries begin in a column."""
        out = []
        for entry in (tree.items() if isinstance(tree, dict) else enumerate(tree)):
            if self.r.random() < 0.1:
                out.append(self.r.choice(["", "   ", "# c", " " * self.r.randrange(9) + "# x: y"]))
            key, value = entry
            if isinstance(tree, dict):
                head = self.write_scalar(key, False) + self.r.choice(["", "", " "]) + ":"
            else:
                head = "-"
            self.entry(out, " " * column + head, value, column, isinstance(tree, dict))
        return out

    def entry(self, out, head, value, column, in_map):
        if isinstance(value, str):
            out.append(head + self.space(self.write_scalar(value)) + self.comment())
        elif self.can_inline(value) and self.r.random() < 0.5:
            out.append(head + " " + self.inline(value) + self.comment())
        elif not in_map and self.r.random() < 0.7:
            gap = self.r.randrange(1, 4)
            rest = self.lines(value, column + 1 + gap)
            while not rest[0].strip() or rest[0].strip().startswith("#"):
                rest.pop(0)
            out.append(head + " " * gap + rest[0].lstrip(" "))
            out.extend(rest[1:])
        else:
            same = in_map and isinstance(value, list) and self.r.random() < 0.4
            out.append(head + self.comment())
            out.extend(self.lines(value, column if same else column + self.r.randrange(1, 5)))

    def space(self, text):
        return " " * self.r.randrange(1, 4) + text if text else ""

    def document(self):
        tree = self.tree()
        lines = self.lines(tree, self.r.choice([0, 0, 0, 2]))
        if self.r.random() < 0.3:
            lines[:0] = ["# first", "---" + self.r.choice(["", " ", " # c"])][self.r.randrange(2):]
        text = self.r.choice(["\n", "\n", "\r\n"]).join(lines) + self.r.choice(["", "\n", "\n\n"])
        return tree, self.r.choice([b"", b"", b"\xef\xbb\xbf"]) + text.encode()

    SYNTAX = ["", " ", "  ", "\n", ":", ": ", " :", "-", "- ", "\n- ", "\n  - ", "#", " #", "'", '"', "[", "]", ",", "{",
              "}", "?", "? ", "&a ", "*a", "!", "|", ">", "%", "\r\n", "\\", "\n---\n", "\n...\n", "<<: ", "a: b",
              "\n a", "::", "\\x4", "\\n", "~", "\n\n", "\n  ", "''", '""', "b:\n", "[x]", "- - ", "=", "..."]
    OCTETS = [b"\t", b"\r", b"\0", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\x7f", b"\xc3",
              b"\xed\xa0\x80", b"\x1b", b"\xc2\xa0", b"\xf4\x90\x80\x80", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbe"]

    def piece(self):
        return self.r.choice(self.OCTETS) if self.r.random() < 0.02 else self.r.choice(self.SYNTAX).encode()

    def damage(self, text):
        for _ in range(self.r.randrange(1, 4)):
            at = self.r.randrange(len(text) + 1)
            cut = self.r.choice([0, 0, 1, 2, 5])
            text = text[:at] + self.piece() + text[at + cut:]
        return text

    def soup(self):
        """Pieces of syntax in any order: much of it is YAML, little of it is ours."""
        words = [b"a", b"b", b" ", b"\n", b"c: ", b"d:\n", b"- ", b"  "]
        return b"".join(self.r.choice(words) if self.r.random() < 0.7 else self.piece()
                        for _ in range(self.r.randrange(1, 14)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_document_of_the_subset_reads_as_the_tree_it_was_made_from(yaml_tree, seed):
    maker = Maker(seed)
    made = [maker.document() for _ in range(PER_SEED)]
    verdicts = check_all(yaml_tree, [text for _, text in made])
    for (tree, text), verdict in zip(made, verdicts):
        assert verdict == {"tree": tree}, text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_document_is_refused_or_read_as_pyyaml_reads_it(yaml_tree, seed):
    maker = Maker(seed + 1000)
    texts = [maker.damage(maker.document()[1]) for _ in range(PER_SEED)]
    texts += [maker.damage(p.read_bytes()) for p in ACCEPTED + REFUSED for _ in range(5)]
    texts += [maker.soup() for _ in range(2 * PER_SEED)]
    verdicts = check_all(yaml_tree, texts)
    accepted = sum("tree" in v for v in verdicts)
    assert accepted > len(texts) // 50, "nearly all refused: the comparison says little"
