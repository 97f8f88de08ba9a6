"""closing_line.py JUNIT.xml ...: how many tests passed in all of these runs, as pytest says it."""

import sys
from xml.etree import ElementTree

suites = [s for path in sys.argv[1:] for s in ElementTree.parse(path).iter("testsuite")]
total, failed, errors, skipped = (
    sum(int(s.get(what)) for s in suites) for what in ("tests", "failures", "errors", "skipped")
)
seconds = sum(float(s.get("time")) for s in suites)
passed = total - failed - errors - skipped
print(f"== {passed} passed, {failed + errors} failed, {skipped} skipped in {seconds:.2f}s ==")
