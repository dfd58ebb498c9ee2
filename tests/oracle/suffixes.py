"""Prints crates/policy/src/suffix/list.txt: the Public Suffix List as the gate asks it, from the publicsuffixlist of target/venv.

Run by `cargo xtask suffixes`. A rule a line: its labels from the right, in the ASCII form, then `i` for the list's ICANN section
or `p` for its private one; sorted, so that what is below a name stands together.
"""

import importlib.metadata
import pathlib
import sys

import publicsuffixlist


def main():
    text = (pathlib.Path(publicsuffixlist.__file__).parent / "public_suffix_list.dat").read_text(encoding="utf-8")
    section, notes, rules = None, [], set()
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("// ===BEGIN ICANN"):
            section = "i"
        elif line.startswith("// ===BEGIN PRIVATE"):
            section = "p"
        elif line.startswith("// ===END"):
            section = None
        elif line.startswith("// VERSION:") or line.startswith("// COMMIT:"):
            notes.append(line.removeprefix("// "))
        elif line and not line.startswith("//"):
            rules.add((ascii_form(line.split()[0]), section))
    if len(notes) != 2 or len(rules) < 9000 or any(section is None for _, section in rules):
        sys.exit("the list is not as this script expects")
    print("# The Public Suffix List, rearranged by `cargo xtask suffixes`: do not edit.")
    print(f"# From publicsuffixlist {importlib.metadata.version('publicsuffixlist')}; {'; '.join(notes)}.")
    print("# This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0. If a copy of the MPL was not")
    print("# distributed with this file, You can obtain one at https://mozilla.org/MPL/2.0/.")
    for rule, section in sorted(rules):
        print(rule, section)


def ascii_form(rule):
    exception = rule.startswith("!")
    labels = [label if label == "*" else label.encode("idna").decode() for label in rule.lstrip("!").lower().split(".")]
    labels.reverse()
    if exception:
        labels[-1] = "!" + labels[-1]
    return ".".join(labels)


main()
