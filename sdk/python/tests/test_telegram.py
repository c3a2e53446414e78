import unittest

from examples import load
from kassa_sdk import Event, FulfillContext, done, reject, retry, storage
from kassa_sdk.testing import answer, fail, fake

fulfill = load("telegram").fulfill
API = "https://api.telegram.org/bot{secret:bot_token}"
INVOICE = {
    "id": "inv_1", "order_id": "order-1", "title": "Tea", "amount": "12.50", "payable_asset": "USDT", "meta": None,
}


def run(settings={"chat_id": "42"}, **changes):
    payload = {"data": {"invoice": {**INVOICE, **changes}}}
    return fulfill(Event("evt", "invoice.paid", payload), FulfillContext("run_1", 1, 0, settings))


def sent(_request):
    return answer(json={"ok": True, "result": {"message_id": 5, "invite_link": "https://t.me/+x"}})


class Telegram(unittest.TestCase):
    def setUp(self):
        fake.reset()

    def calls(self):
        return [(request.url, request.json) for request in fake.requests]

    def test_it_sends_the_text_to_the_chat(self):
        fake.answer = sent
        self.assertEqual(run(), done("message 5"))
        text = "{title}: {amount} {asset} for {order_id} {other}"
        run({"text": text, "api_url": "http://localhost:1"}, meta={"telegram_chat_id": 7})
        run({"chat_id": "42", "text": "[{order_id}]"}, order_id=None)
        self.assertEqual(self.calls(), [
            (f"{API}/sendMessage", {"chat_id": "42", "text": "Paid: Tea"}),
            (
                "http://localhost:1/bot{secret:bot_token}/sendMessage",
                {"chat_id": 7, "text": "Tea: 12.50 USDT for order-1 {other}"},
            ),
            (f"{API}/sendMessage", {"chat_id": "42", "text": "[]"}),
        ])

    def test_an_invite_link_is_made_once_for_an_invoice(self):
        settings = {"chat_id": "42", "invite_to": "-100", "text": "Join: {invite}"}
        fake.answer = lambda request: (
            answer(502, text="<html>") if request.url.endswith("/sendMessage") else sent(request)
        )
        self.assertEqual(run(settings), retry(30, "sendMessage: status 502"))
        self.assertEqual(storage.get("invite/inv_1"), "https://t.me/+x")
        fake.answer = sent
        self.assertEqual(run(settings).tag, "done")
        message = (f"{API}/sendMessage", {"chat_id": "42", "text": "Join: https://t.me/+x"})
        invite = (f"{API}/createChatInviteLink", {"chat_id": "-100", "name": "run_1", "member_limit": 1})
        self.assertEqual(self.calls(), [invite, message, message])

    def test_each_failure_has_its_outcome(self):
        waiting = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 7}}
        refused = {"ok": False, "description": "chat not found"}
        for failure, outcome in (
            (lambda: answer(429, json=waiting), retry(7, "sendMessage: Too Many Requests")),
            (lambda: answer(429, text="slow down"), retry(30, "sendMessage: status 429")),
            (lambda: answer(500), retry(30, "sendMessage: status 500")),
            (lambda: answer(200, text="<html>"), retry(30, "sendMessage: status 200")),
            (lambda: fail("timeout"), retry(30, "http: timeout")),
            (lambda: fail("connection", "refused"), retry(30, "http: connection: refused")),
            (lambda: fail("denied", "api.telegram.org"), reject("http: denied: api.telegram.org")),
            (lambda: answer(400, json=refused), reject("sendMessage: chat not found")),
            (lambda: answer(403, text="null"), reject("sendMessage: status 403")),
        ):
            with self.subTest(outcome=outcome):
                fake.answer = lambda _request: failure()
                self.assertEqual(run(), outcome)

    def test_no_chat_and_no_invoice_are_for_a_person(self):
        self.assertRegex(run({}).val, "chat_id")
        event = Event("evt", "endpoint.test", {"data": {}})
        self.assertRegex(fulfill(event, FulfillContext("run_1", 1, 0, {})).val, "no invoice")
        self.assertEqual(fake.requests, [])


if __name__ == "__main__":
    unittest.main()
