import re
import tempfile
import unittest
from pathlib import Path

from kassa_sdk.build import BuildError, build
from kassa_sdk.component import sections

SDK = Path(__file__).parent.parent


def outline(path):
    """Imports, exports and manifests of a component."""

    def names(wanted):
        # Names are plain in the bytes; what is imported and exported are interfaces, each with a package.
        content = b"".join(content for id, content in sections(path.read_bytes()) if id == wanted)
        found = re.findall(rb"[a-z:-]+/[a-z-]+@[0-9.]+|exports", content)
        return sorted(re.sub("kassa:plugin/([a-z]+)@0.1.0", r"\1", name.decode()) for name in found)

    prefix = b"\x0ekassa:manifest"
    manifests = [content for id, content in sections(path.read_bytes()) if id == 0 and content.startswith(prefix)]
    return names(10), names(11), [manifest.removeprefix(prefix).decode() for manifest in manifests]


class Build(unittest.TestCase):
    def in_folder(self, files, use):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            return use(Path(folder))

    def test_the_examples_import_what_they_use_and_export_their_role(self):
        imports, exports, manifests = outline(build(SDK / "examples/license-keys"))
        self.assertEqual(imports, ["clock", "log", "storage", "webhooks"])
        self.assertEqual(exports, ["fulfiller"])
        self.assertEqual(manifests, [(SDK / "examples/license-keys/plugin.toml").read_text()])
        self.assertEqual(outline(build(SDK / "examples/telegram"))[0], ["clock", "http", "log", "storage", "types"])
        imports, exports, _ = outline(build(SDK / "examples/nowpayments-form"))
        self.assertEqual((imports, exports), (["clock", "log", "secrets", "types"], ["form"]))
        self.assertEqual(outline(build(SDK / "template"))[0], ["clock", "log"])

    def test_a_hook_has_several_roles_and_files(self):
        files = {
            "plugin.toml": 'name = "all"\nroles = ["fulfiller", "matcher", "rates"]\n',
            "hook.py": "from kassa_sdk import pass_, unknown_pair\nfrom other import fulfill\n"
            "def match_transfer(*_):\n    return pass_()\ndef price_of(*_):\n    return unknown_pair()\n",
            "other.py": "from kassa_sdk import done, secrets\ndef fulfill(*_):\n    return done()\n",
        }
        imports, exports, _ = self.in_folder(files, lambda folder: outline(build(folder)))
        self.assertEqual(imports, ["clock", "log", "secrets", "types"])
        self.assertEqual(exports, ["fulfiller", "matcher", "rates"])

    def test_what_cannot_be_built_says_why(self):
        def failing(why, **files):
            named = {name.replace("_", "."): text for name, text in files.items()}
            with self.assertRaisesRegex(BuildError, why):
                self.in_folder(named, build)

        rates = 'name = "bad"\nroles = ["rates"]\n'
        failing("plugin.toml")
        failing("name: 1 to 40", plugin_toml='name = "Bad"')
        failing("one or more of matcher, fulfiller, rates, form", plugin_toml='name = "bad"\nroles = ["chain"]\n')
        failing("hook.py", plugin_toml=rates)
        failing("hook.py:2: ", plugin_toml=rates, hook_py="\ndef price_of(: pass")
        failing("no attribute 'price_of'", plugin_toml=rates, hook_py="def fulfill(): pass")
        failing('/hook.py", line 2, in <module>', plugin_toml=rates, hook_py="\nRATE = 2 * PRICE")
        failing(
            "storage.* while it is loaded",
            plugin_toml=rates,
            hook_py="from kassa_sdk import storage\nstorage.get('a')\ndef price_of(): pass",
        )


if __name__ == "__main__":
    unittest.main()
