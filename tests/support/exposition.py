#!/usr/bin/env python3
"""A strict reader of Prometheus' text exposition format, version 0.0.4: what its readers forgive is a mistake here.
    exposition.py FILE          says what is wrong with it, exit status 1; nothing and 0 if it is right ("-" = standard input)
parse(text) → {family: Family}; raises Mistake."""

import math
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{([^\n]*)\}})? (\S+)$")
NUMBER = re.compile(r"[+-]?(?:Inf|NaN|\d+(?:\.\d+)?(?:e[+-]?\d+)?)$")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Mistake(Exception):
    pass


class Family:
    def __init__(self, name, kind, help_text):
        self.name, self.kind, self.help = name, kind, help_text
        self.samples = {}  # (suffix, labels as a sorted tuple) → value

    def value(self, suffix="", **labels):
        """Of one sample; None if there is none."""
        return self.samples.get((suffix, tuple(sorted(labels.items()))))

    def sum(self, suffix="", **labels):
        """Of all samples that have these labels."""
        return sum(v for (s, l), v in self.samples.items() if s == suffix and set(labels.items()) <= set(l))


def labels_of(text, where):
    labels, rest = {}, text
    while rest:
        found = LABEL.match(rest)
        if not found:
            raise Mistake(f"{where}: labels end at {rest!r}")
        if found[1] in labels or found[1].startswith("__"):
            raise Mistake(f"{where}: label {found[1]} twice, or reserved")
        labels[found[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[2])
        rest = rest[found.end():]
        if rest and not rest.startswith(","):
            raise Mistake(f"{where}: no comma before {rest!r}")
        if rest == ",":
            raise Mistake(f"{where}: a comma at the end")
        rest = rest[1:]
    return labels


def check_histogram(family):
    series = {}
    for (suffix, labels), value in family.samples.items():
        others = tuple(pair for pair in labels if pair[0] != "le")
        if suffix == "_bucket":
            bound = dict(labels).get("le")
            if bound is None:
                raise Mistake(f"{family.name}: a bucket without le")
            series.setdefault(others, {}).setdefault("buckets", []).append((float(bound), value))
        else:
            series.setdefault(others, {})[suffix] = value
    for labels, parts in series.items():
        where = f"{family.name}{dict(labels)}"
        buckets = parts.get("buckets", [])
        if not buckets or buckets[-1][0] != math.inf or "_sum" not in parts or "_count" not in parts:
            raise Mistake(f"{where}: no +Inf bucket at the end, no sum, or no count")
        if any(a[0] >= b[0] or a[1] > b[1] for a, b in zip(buckets, buckets[1:])):
            raise Mistake(f"{where}: buckets do not grow")
        if buckets[-1][1] != parts["_count"]:
            raise Mistake(f"{where}: +Inf is not the count")


def check_family(family):
    for (suffix, labels), value in family.samples.items():
        if family.kind == "counter" and not (math.isfinite(value) and value >= 0):
            raise Mistake(f"{family.name}: a counter of {value}")
    if (family.kind == "counter") != family.name.endswith("_total"):
        raise Mistake(f"{family.name}: _total is for counters, and counters end so")
    if not family.help.strip() or not family.help.rstrip().endswith("."):
        raise Mistake(f"{family.name}: HELP is no sentence")
    if family.kind == "histogram":
        check_histogram(family)


def parse_comment(line, families, where):
    words = line.split(" ", 3)
    if len(words) < 4 or words[0] != "#" or words[1] not in ("HELP", "TYPE") or not re.fullmatch(NAME, words[2]):
        raise Mistake(f"{where}: {line!r}")
    if words[1] == "HELP":
        if words[2] in families:
            raise Mistake(f"{where}: {words[2]} comes twice")
        families[words[2]] = Family(words[2], None, words[3])
    elif words[2] != next(reversed(families), None) or families[words[2]].kind or words[3] not in SUFFIXES:
        raise Mistake(f"{where}: TYPE {words[2]} {words[3]} does not follow its HELP, or comes twice, or is unknown")
    else:
        families[words[2]].kind = words[3]


def parse_sample(line, family, where):
    found = SAMPLE.fullmatch(line)
    if not found or not NUMBER.match(found[3]):
        raise Mistake(f"{where}: {line!r}")
    suffix = found[1][len(family.name):] if family and found[1].startswith(family.name) else None
    if suffix is None or suffix not in SUFFIXES.get(family.kind, ()):
        raise Mistake(f"{where}: {found[1]} does not belong to {family and family.name}")
    key = (suffix, tuple(sorted(labels_of(found[2] or "", where).items())))
    if key in family.samples:
        raise Mistake(f"{where}: {line!r} comes twice")
    family.samples[key] = float(found[3])


def parse(text):
    families = {}
    if not text.endswith("\n"):
        raise Mistake("the last line has no end")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        where = f"line {number}"
        if line.startswith("#"):
            parse_comment(line, families, where)
        else:
            parse_sample(line, families[next(reversed(families))] if families else None, where)
    for family in families.values():
        check_family(family)
    return families


if __name__ == "__main__":
    try:
        parse(sys.stdin.read() if sys.argv[1] == "-" else open(sys.argv[1], encoding="utf-8", newline="").read())
    except Mistake as mistake:
        sys.exit(f"exposition: {mistake}")
