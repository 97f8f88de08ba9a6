"""skipped.py JUNIT.xml ...: the tests that were skipped, one to a line as pytest wants them."""

import sys
from xml.etree import ElementTree

for path in sys.argv[1:]:
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("skipped") is not None:
            print(f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}")
