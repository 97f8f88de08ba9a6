"""skipped.py JUNIT.xml ...: the tests that were skipped, one to a line as pytest wants them."""

import sys
from xml.etree import ElementTree


def as_pytest_wants(case):
    module, name = case.get("classname"), case.get("name")
    if not module:  # a whole file: it skipped itself when it was imported
        return f"{name.replace('.', '/')}.py"
    return f"{module.replace('.', '/')}.py::{name}"


for path in sys.argv[1:]:
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("skipped") is not None:
            print(as_pytest_wants(case))
