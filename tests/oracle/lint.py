"""Lints AWS policies, one JSON document a line of standard input, by parliament: one JSON list of findings a line."""

import json
import sys
import warnings

warnings.filterwarnings("ignore")

import parliament

for line in sys.stdin:
    findings = parliament.analyze_policy_string(line).findings
    print(json.dumps([f"{finding.issue}: {finding.detail}" for finding in findings]))
