"""What innocent clients notice of each flood: see `run`. Nothing is asserted about time."""

import argparse
import multiprocessing
import os
import signal
import sys
import time

from floods import FLOODS
from gateway import Site
from innocent import KINDS, Innocents, corrected, period


def attacked(flood, site, until, n, tell):
    os.nice(10)  # The flood takes what the gateway and the innocent leave: it is not to be measured itself.
    try:
        tell.send(flood.attack(site, until, n))
    except Exception as error:  # The gateway may have closed or ended; the innocent say what that meant.
        tell.send(f"the flood ended: {type(error).__name__} {error}")


def let_loose(flood, site, secs):
    """The flood at this gateway, for so long: when it began and ended, what it says of itself, the gateway's largest size."""
    start = time.monotonic()
    until = start + (flood.seconds or secs)
    floods = []
    for n in range(flood.attackers):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=attacked, args=(flood, site, until, n, theirs), daemon=True)
        process.start()
        floods.append((process, ours))
    peak = site.resident()
    # A flood with a time of its own is over when it has done what it came for.
    while time.monotonic() < until and not (flood.seconds and all(pipe.poll() for _, pipe in floods)):
        time.sleep(0.02)
        peak = max(peak, site.resident())
    end = time.monotonic()
    did = {pipe.recv() or "" for process, pipe in floods if pipe.poll(5)}
    for process, _ in floods:
        process.kill()
        process.join()
    return start, end, did, peak


def measure(flood, wanted):
    site = Site(wanted.bin, flood.hanging_log)
    beside = Site(wanted.bin, flood.hanging_log)
    try:
        flood.prepare(site)
        flood.prepare(beside)
        innocents = Innocents(site, flood.innocents, flood.body)
        time.sleep(0.5)
        quiet = time.monotonic()
        time.sleep(wanted.before)
        other_start, other_end, _, _ = let_loose(flood, beside, wanted.secs)
        beside.stop()
        time.sleep(1)
        resident = site.resident()
        start, end, did, peak = let_loose(flood, site, wanted.secs)
        seen = innocents.stop()
        ended = site.ended()
    finally:
        beside.stop()
        site.stop()
    rows = []
    for kind in flood.innocents:
        mine = [s for s in seen if s[0] == kind]
        row = {"flood": flood.name, "kind": kind, "grown": peak - resident, "ended": ended, "did": "; ".join(sorted(did))}
        # What was asked before the flood and answered in it belongs to the flood.
        phases = {
            "before": [s for s in mine if quiet <= s[1] and s[1] + s[2] < other_start],
            "beside": [s for s in mine if other_start <= s[1] + s[2] and s[1] < other_end],
            "during": [s for s in mine if start <= s[1] + s[2] and s[1] < end],
        }
        for phase, here in phases.items():
            row[phase] = spread(corrected([s[2] for s in here if not s[3]], period(kind)))
            row[phase + "_wrong"] = [s[3] for s in here if s[3]]
        rows.append(row)
    return rows


def spread(seconds):
    """p50, p99 and the longest, in milliseconds."""
    order = sorted(seconds)
    at = lambda share: order[min(len(order) - 1, int(len(order) * share))] * 1000 if order else float("nan")
    return at(0.5), at(0.99), at(1)


def shown(row):
    (p50, p99, longest), (b50, b99, _), (q50, q99, worst) = row["before"], row["beside"], row["during"]
    wrong = row["during_wrong"]
    said = f"{len(wrong)} ({', '.join(sorted(set(wrong))[:2])})" if wrong else "none"
    grown = f"{row['grown'] / 1e6:,.0f} MB" + (f"; **the gateway ended: {row['ended']}**" if row["ended"] else "")
    cells = [row["flood"], KINDS[row["kind"]], f"{p50:.2f} · {p99:.2f} · {longest:.1f}"]
    cells += [f"{b50:.2f} · {b99:.2f}", f"{q50:.2f} · {q99:.2f} · {worst:,.1f}"]
    cells += [f"{q99 / p99:.1f}", f"{q99 / b99:.1f}", said, grown]
    return "| " + " | ".join(cells) + " |"


def main():
    names = argparse.ArgumentParser(description="What innocent clients notice of floods")
    names.add_argument("bin")
    names.add_argument("--only", help="floods whose names hold this; several with commas")
    names.add_argument("--before", type=float, default=5, help="seconds of quiet before each flood")
    names.add_argument("--secs", type=float, default=5, help="seconds of each flood, at each gateway")
    wanted = names.parse_args()
    floods = [f for f in FLOODS if not wanted.only or any(part in f.name for part in wanted.only.split(","))]
    # So that no gateway outlives an end from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = []
    for flood in floods:
        rows += (of_this := measure(flood, wanted))
        for row in of_this:
            print(f"{shown(row)} {row['did']}", file=sys.stderr, flush=True)
    heads = ["flood", "innocent client", "ms before: p50 · p99 · max", "flood at another gateway", "at this one"]
    heads += ["p99 ÷ before", "÷ at another", "refused or closed", "RSS growth"]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|---|---|---|---:|---:|---|---|")
    for row in rows:
        print(shown(row))
    print(f"\n{len(floods)} floods of a gateway of their own each; default limits.")


main()
