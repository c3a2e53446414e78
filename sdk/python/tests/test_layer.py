import unittest
from dataclasses import make_dataclass
from types import SimpleNamespace

from kassa_sdk import (
    Memo, Part, Price, Rendered, ServiceError, clock, done, http, log, no_price, pass_, pay, random, reject, retry, review,
    roles, secrets, split, storage, unknown_pair, unsupported, webhooks,
)
from kassa_sdk.testing import Err, answer, fail, fake, types


class Services(unittest.TestCase):
    def setUp(self):
        fake.reset()

    def test_storage_keeps_text_bytes_and_json(self):
        storage.set("a/1", "тест")
        storage.set_json("a/2", {"n": [1, None]})
        storage.set("b", b"\xff")
        self.assertEqual(storage.get("a/1"), "тест")
        self.assertEqual(storage.get_json("a/2"), {"n": [1, None]})
        self.assertEqual((storage.get_bytes("b"), storage.get("b")), (b"\xff", "\ufffd"))
        self.assertEqual((storage.get("none"), storage.get_bytes("none"), storage.get_json("none")), (None, None, None))
        self.assertEqual(storage.get_many(["none", "a/1", "b"]), [None, "тест", "\ufffd"])
        self.assertEqual(storage.get_many_bytes([]), [])
        self.assertEqual(storage.keys("a/"), ["a/1", "a/2"])
        self.assertEqual(storage.keys("a/", after="a/1"), ["a/2"])
        self.assertEqual(storage.keys("", limit=1), ["a/1"])
        storage.delete("a/1")
        self.assertIsNone(storage.get("a/1"))
        with self.assertRaises(ServiceError) as raised:
            storage.set("", "x")
        self.assertEqual((raised.exception.service, raised.exception.kind), ("storage", "bad-key"))

    def test_http_sends_json_text_and_secrets_and_answers_what_came(self):
        fake.answer = lambda _request: answer(201, json={"id": 7}, headers={"x-a": "1"})
        response = http.post(
            "https://a.example/{secret:key}", json={"a": 1}, headers={"authorization": f"Bearer {http.secret('token')}"}
        )
        self.assertEqual((response.status, response.ok, response.headers), (201, True, {"x-a": "1"}))
        self.assertEqual(response.json(), {"id": 7})
        (request,) = fake.requests
        self.assertEqual((request.method, request.url), ("post", "https://a.example/{secret:key}"))
        self.assertEqual(request.json, {"a": 1})
        self.assertEqual(
            request.headers, {"content-type": "application/json", "authorization": "Bearer {secret:token}"}
        )
        self.assertEqual(http.literal("{secret:a} {b}"), "{secret:}a} {b}")

        fake.answer = lambda request: answer(404, text=f"{request.method} {request.text}")
        self.assertEqual(http.put("https://a.example", body="b").text(), "put b")
        self.assertEqual(http.get("https://a.example").text(), "get ")
        self.assertEqual(http.head("https://a.example").text(), "head ")
        self.assertEqual(http.patch("https://a.example", json=[1]).text(), "patch [1]")
        self.assertEqual(http.send(http.Request("https://a.example", "propfind")).text(), "PROPFIND ")
        self.assertFalse(http.delete("https://a.example").ok)

    def test_http_says_why_there_was_no_answer(self):
        fake.answer = lambda request: answer(text="a") if request.url.endswith("/a") else fail("rate-limited", 700)
        with self.assertRaises(ServiceError) as raised:
            http.get("https://x.example/b")
        error = raised.exception
        self.assertEqual((error.service, error.kind, error.detail), ("http", "rate-limited", 700))
        self.assertEqual(str(error), "http: rate-limited: 700")
        a, b = http.send_all([http.Request("https://x.example/a"), http.Request("https://x.example/b", "post", json=1)])
        self.assertEqual((a.text(), b.kind), ("a", "rate-limited"))
        self.assertEqual([request.method for request in fake.requests], ["get", "get", "post"])

    def test_the_other_services_reach_the_host(self):
        self.assertEqual(webhooks.queue("hook.a", {"b": 1}), "evt_1")
        webhooks.queue("hook.a", {}, "ep_1")
        self.assertEqual([queued["endpoint"] for queued in fake.queued], [None, "ep_1"])
        with self.assertRaises(ServiceError):
            webhooks.queue("a", {})
        fake.sign = lambda name, algorithm, message: bytes([len(name), len(algorithm), len(message)])
        self.assertEqual(secrets.sign("key", "ES256", "ab"), b"\x03\x05\x02")
        self.assertEqual(random.randbytes(3), b"\x00\x01\x02")
        with self.assertRaises(ServiceError) as raised:
            random.randbytes(4097)
        self.assertEqual((raised.exception.service, raised.exception.kind), ("random", "quota"))
        self.assertEqual(clock.now_ms(), fake.now_ms)
        log.warn("half \ud83c")
        self.assertEqual(fake.logs, [("warn", "half ?")])


def record(**fields):
    return make_dataclass("Record", fields)(**fields)


def case(name):
    return lambda *value: (name, *value)


TYPES = SimpleNamespace(
    **{f"Outcome_{name}": case(name) for name in ("Done", "Retry", "Reject")},
    **{f"Decision_{name}": case(name) for name in ("Pay", "Split", "Review", "Pass")},
    **{f"RatesError_{name}": case(name) for name in ("UnknownPair", "Source")},
    **{f"FormError_{name}": case(name) for name in ("Unsupported", "Malformed", "Secret")},
    Taken=case("Taken"),
    Request=case("Request"),
    Part=case("Part"),
    Price=case("Price"),
    Err=Err,
    types=SimpleNamespace(Amount=case("Amount"), Method_Post=types.Method_Post, Method_Put=types.Method_Put),
)


class Roles(unittest.TestCase):
    def test_answers_have_the_contracts_form(self):
        self.assertEqual(done(), ("done", ""))
        self.assertEqual(reject("why"), ("reject", "why"))
        self.assertEqual(retry(1.2, "why"), ("retry", (2, "why")))
        self.assertEqual(retry(float("inf"), "why"), ("retry", (2147483647, "why")))
        with self.assertRaises(ValueError):
            retry(float("nan"), "why")

    def fulfill(self, hook, payload):
        context = record(run="run_1", attempt=1, now_ms=1, settings='{"a": 1}')
        return roles.fulfiller(hook, TYPES)().fulfill(record(id="evt", kind="k", payload=payload), context)

    def test_a_fulfiller_gets_json_as_dicts(self):
        def hook(event, context):
            return done(f"{event.kind} {event.payload['x']} {context.settings['a']} {context.run}")

        self.assertEqual(self.fulfill(hook, '{"x": 2}'), ("Done", "k 2 1 run_1"))
        self.assertEqual(self.fulfill(hook, "nonsense")[0], "Reject")
        self.assertEqual(self.fulfill(lambda *_: retry(5, "why"), "{}"), ("Retry", (5, "why")))
        with self.assertRaisesRegex(TypeError, "answered None"):
            self.fulfill(lambda *_: None, "{}")

    def test_a_matcher_counts_in_integers(self):
        def words(amount):
            return None if amount is None else record(**{f"w{n}": amount >> 32 * n & 2**32 - 1 for n in range(4)})

        def match(hook, amount, dues=()):
            transfer = record(
                tx="1", ordinal=0, asset=0, sender=None, recipient="r", amount=words(amount), height=1,
                memo=type("Memo_Text", (), {"value": "m"})(),
            )
            candidates = [
                record(due=words(due), received=words(0), created_ms=0, expires_ms=0, tag="", order_id="")
                for due in dues
            ]
            context = record(network="n", asset="A", decimals=18, now_ms=1, settings="{}")
            return roles.matcher(hook, TYPES)().match_transfer(transfer, candidates, context)

        def both(transfer, candidates, _context):
            first = candidates[0].due
            return split([Part(0, first), Part(1, transfer.amount - first)])

        self.assertEqual(
            match(both, (3 << 64) + 2**63 + 5, [2**63, 9]),
            ("Split", [("Part", 0, ("Amount", 0, 0, 2**31, 0)), ("Part", 1, ("Amount", 0, 3, 0, 5))]),
        )
        self.assertEqual(match(lambda *_: pay(1), 1), ("Pay", 1))
        self.assertEqual(match(lambda *_: review("why"), 1), ("Review", "why"))
        self.assertEqual(match(lambda transfer, *_: pass_() if transfer.amount is None else pay(0), None), ("Pass",))
        self.assertEqual(match(lambda transfer, *_: pay(int(transfer.memo == Memo("text", "m"))), 1), ("Pay", 1))

    def test_a_price_is_a_price_or_an_error_of_the_contract(self):
        def price(answer):
            context = record(now_ms=1, settings="{}", more=[("new", "1")])
            pair = record(asset="A", currency="USD", more=[])
            return roles.rates(lambda *_: answer, TYPES)().price_of(pair, context)

        self.assertEqual(price(Price(2**63, 1, 5)), ("Price", 2**63, 1, 5, []))
        for wrong, error in ((unknown_pair(), ("UnknownPair",)), (no_price("down"), ("Source", "down"))):
            with self.assertRaises(Err) as raised:
                price(wrong)
            self.assertEqual(raised.exception.value, error)

    def test_a_form_answers_a_request_or_why_there_is_none(self):
        def render(hook, payload="{}"):
            delivery = record(
                id="dlv_1", event="evt_1", kind="invoice.paid", created_ms=1, attempt=1, payload=payload,
                endpoint="ep_1", url="https://shop.example", more=[],
            )
            return roles.form(hook, TYPES)().render(delivery, record(now_ms=1, settings="{}", secrets=["key"], more=[]))

        def plain(delivery, context):
            headers = {"x-sig": secrets.sign("key", "HMAC-SHA512", delivery.payload_text).hex()}
            return Rendered(headers, json=[delivery.payload["a"], context.secrets], statuses=[200], answer="ok")

        fake.sign = lambda *_: b"\x01"
        self.assertEqual(
            render(plain, '{"a": 1}'),
            (
                "Request", types.Method_Post(), [("content-type", "application/json"), ("x-sig", "01")],
                b'[1, ["key"]]', ("Taken", [200], "ok", []), [],
            ),
        )
        put = ("Request", types.Method_Put(), [], b"", ("Taken", [], None, []), [])
        self.assertEqual(render(lambda *_: Rendered(method="put")), put)
        fake.sign = lambda *_: fail("unknown", "key")
        for hook, payload, error in (
            (lambda *_: unsupported("why"), "{}", ("Unsupported", "why")),
            (plain, "nonsense", ("Malformed", "the payload is no JSON")),
            (plain, '{"a": 1}', ("Secret", "secrets: unknown: key")),
        ):
            with self.assertRaises(Err) as raised:
                render(hook, payload)
            self.assertEqual(raised.exception.value, error)


if __name__ == "__main__":
    unittest.main()
