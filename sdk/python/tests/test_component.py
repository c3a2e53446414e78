"""What stands in a component for the system. It changes Python itself, so each case has a process of its own."""

import subprocess
import sys
import unittest

PROLOGUE = """
from kassa_sdk import _component
_component.before_the_hook()
import datetime, os, random, sys, time
early = time.time
assert time.time() != 1767225600.0
_component.after_the_hook()
from kassa_sdk.testing import fake
def refused(call, why):
    try:
        call()
    except (RuntimeError, ImportError) as error:
        assert why in str(error), error
    else:
        raise AssertionError(f"not refused: {why}")
"""


class Component(unittest.TestCase):
    def check(self, code):
        result = subprocess.run([sys.executable, "-c", PROLOGUE + code], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_time_is_the_hosts(self):
        self.check("""
assert time.time() == early() == 1767225600.0
assert time.time_ns() == 1767225600 * 10**9
assert datetime.datetime.now(datetime.UTC).isoformat() == "2026-01-01T00:00:00+00:00"
assert isinstance(datetime.datetime.now(), datetime.date)
refused(lambda: time.sleep(1), "retry")
""")

    def test_there_is_no_randomness(self):
        self.check("""
for call in (random.random, lambda: random.choice([1]), lambda: os.urandom(1)):
    refused(call, "no randomness")
assert random.Random(5).random() == random.Random(5).random()
""")

    def test_there_are_no_files_and_no_late_imports(self):
        self.check("""
refused(lambda: open("x"), "no files")
refused(lambda: __import__("wave"), "top of a file")
""")

    def test_output_and_errors_are_in_the_log(self):
        self.check("""
print("a", 1)
print("two\\nlines", end="")
print(file=sys.stderr)
try:
    {}["x"]
except KeyError:
    sys.excepthook(*sys.exc_info())
assert fake.logs[:3] == [("info", "a 1"), ("info", "two"), ("error", "")], fake.logs
level, text = fake.logs[3]
assert level == "error" and text.startswith("KeyError: 'x'\\n  <string>:"), text
""")


if __name__ == "__main__":
    unittest.main()
