"""Makes a component of a hook's folder: plugin.toml and hook.py become <name>.wasm."""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from modulefinder import ModuleFinder
from pathlib import Path

from kassa_sdk.component import with_custom_section, without_export

#: The function that a hook has for each role.
FUNCTIONS = {"matcher": "match_transfer", "fulfiller": "fulfill", "rates": "price_of", "form": "render"}
SERVICES = ("http", "storage", "webhooks", "secrets", "random", "log", "clock")

_PACKAGE = Path(__file__).parent
_VERSION = "0.1.0"


class BuildError(Exception):
    """Why a hook cannot be built."""


def build(folder: Path) -> Path:
    """Builds the hook of a folder, and answers the path of its component."""
    manifest = _read(folder / "plugin.toml")
    name, roles = _manifest(manifest.decode())
    _read(folder / "hook.py")
    with tempfile.TemporaryDirectory(prefix="kassa-hook-") as work:
        component = _componentize(folder, roles, Path(work))
    # The function that took the snapshot is still exported, and the host refuses exports that are no role.
    component = without_export(component, "exports")
    path = folder / f"{name}.wasm"
    path.write_bytes(with_custom_section(component, "kassa:manifest", manifest))
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}") from None


def _manifest(text: str) -> tuple[str, list[str]]:
    try:
        manifest = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"plugin.toml: {error}") from None
    # It names a file; the host checks the rest.
    name, roles = manifest.get("name"), manifest.get("roles")
    if not isinstance(name, str) or not re.fullmatch("[a-z0-9-]{1,40}", name):
        raise BuildError("plugin.toml: name: 1 to 40 of a-z, 0-9 and -")
    if not isinstance(roles, list) or not roles or not all(role in FUNCTIONS for role in roles):
        raise BuildError(f"plugin.toml: roles: one or more of {', '.join(FUNCTIONS)}")
    return name, roles


def _componentize(folder: Path, roles: list[str], work: Path) -> bytes:
    # A published package has a copy of the contract; a checkout has the contract itself.
    contract = next(path for path in (_PACKAGE / "wit", _PACKAGE.parents[2] / "wit") if path.is_dir())
    shutil.copytree(contract, work / "wit/deps/kassa")
    items = [f"import kassa:plugin/{service}@{_VERSION};" for service in _services(folder)]
    items += [f"export kassa:plugin/{role}@{_VERSION};" for role in roles]
    (work / "wit/world.wit").write_text("package kassa:build;\nworld hook-world {\n" + "\n".join(items) + "\n}\n")

    entry = ["from kassa_sdk import _component, roles", "_component.before_the_hook()", "import hook"]
    for role in roles:
        entry.append(f"from wit_world.exports import {role}")
        entry.append(f"{role.title()} = roles.{role}(hook.{FUNCTIONS[role]}, {role})")
    entry.append("_component.after_the_hook()")
    (work / "app").mkdir()
    (work / "app/kassa_hook.py").write_text("\n".join(entry) + "\n")

    paths = [work / "app", folder, _PACKAGE.parent, *map(Path, sys.path[1:])]
    command = [sys.executable, "-c", "import componentize_py; componentize_py.script()", "--quiet"]
    command += ["--wit-path", str(work / "wit"), "--world", "hook-world", "componentize", "--stub-wasi"]
    command += [part for path in paths if path.is_dir() for part in ("--python-path", str(path))]
    command += ["--output", str(work / "hook.wasm"), "kassa_hook"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        # The tool has numbers for folders; this one is the second.
        raise BuildError(_cause(result.stderr.replace('"/1/', f'"{folder}/')))
    return (work / "hook.wasm").read_bytes()


def _cause(output: str) -> str:
    """Without the frames of the tool itself."""
    called = re.search(r"called trapping stub: (kassa:\S+)", output)
    if called:
        return f"the hook calls {called[1]} while it is loaded, which is now; call it in its functions"
    return output.split("\n\nCaused by:")[0].partition("AssertionError: ")[2].strip() or output.strip()


def _services(folder: Path) -> list[str]:
    """Those whose modules the hook imports, itself or by modules beside it; and what Python itself needs."""
    finder = ModuleFinder([str(folder), str(_PACKAGE.parent)])
    try:
        finder.run_script(str(folder / "hook.py"))
    except SyntaxError as error:
        raise BuildError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    return [name for name in SERVICES if name in ("log", "clock") or f"kassa_sdk.{name}" in finder.modules]
