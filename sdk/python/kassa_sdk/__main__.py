import sys
from pathlib import Path

from kassa_sdk.build import BuildError, build

if len(sys.argv) != 3 or sys.argv[1] != "build":
    sys.exit("usage: python -m kassa_sdk build <folder with plugin.toml and hook.py>")
try:
    print(build(Path(sys.argv[2])))
except BuildError as error:
    sys.exit(str(error))
