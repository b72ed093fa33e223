"""What Autobahn|Testsuite is to play, and what came of it. Runs on Python 2.7 and 3.

    cases.py spec  URL FOLDER [--all]    prints a specification for `wstest -m fuzzingclient -s`
    cases.py check FOLDER                reads FOLDER/index.json; ends with 1 where a case failed
"""
from __future__ import print_function

import collections
import json
import sys

# Groups 12 and 13 send a thousand messages a case, 17 sizes for each set of deflate parameters, a quarter of an hour in
# all. These sizes of theirs, 16 bytes to 32 KiB, whole and in fragments, take two minutes. `--all` plays every size.
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12]
PARAMETERS = {12: 5, 13: 7}
# What a case may not come to. The last: the client had to drop the connection, because the server did not.
FAILED = ("FAILED", "UNIMPLEMENTED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT")


def spec(url, folder, everything):
    cases = ["%d.*" % group for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
    for group, sets in sorted(PARAMETERS.items()):
        if everything:
            cases.append("%d.*" % group)
        else:
            # Written out: the suite's patterns match beginnings, so that `12.*.1` would be 12.1.10 too.
            cases += ["%d.%d.%d" % (group, n, size) for n in range(1, sets + 1) for size in SIZES]
    return {
        "outdir": folder,
        # After a close the suite waits for the server to end the TCP connection, as RFC 6455 7.1.1 asks of servers. By
        # default it drops the connection itself, and so does not see who leaves it open.
        "options": {"failByDrop": False},
        "servers": [{"agent": "weir", "url": url}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


def check(folder):
    with open(folder + "/index.json") as index:
        results = json.load(index)["weir"]
    counts, wrong = collections.Counter(), []
    for case, result in sorted(results.items(), key=lambda r: [int(n) for n in r[0].split(".")]):
        counts[result["behavior"]] += 1
        bad = [result[key] for key in ("behavior", "behaviorClose") if result[key] in FAILED]
        if bad:
            wrong.append("case %s: %s, close %s" % (case, result["behavior"], result["behaviorClose"]))
    for line in wrong:
        print(line)
    print("autobahn: %d cases: %s" % (len(results), ", ".join("%d %s" % (n, name) for name, n in sorted(counts.items()))))
    print("autobahn: %d passed, %d failed" % (len(results) - len(wrong), len(wrong)))
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    if sys.argv[1] == "spec":
        print(json.dumps(spec(sys.argv[2], sys.argv[3], "--all" in sys.argv), indent=1))
    else:
        sys.exit(check(sys.argv[2]))
