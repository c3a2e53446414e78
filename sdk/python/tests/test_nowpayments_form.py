import hashlib
import hmac
import json
import unittest

from examples import load
from kassa_sdk import Delivery, FormContext
from kassa_sdk.testing import fake

render = load("nowpayments-form").render
INVOICE = {
    "id": "inv_1", "order_id": "A-7", "title": "Tea & “cups”", "payable_network": "tron", "payable_asset": "USDT",
    "amount": "12.50", "payable_amount": "12.500017", "credited_amount": "12.500017", "destination_address": "TXYZ",
    "payment_comment": None,
}


def signed(message):
    return hmac.new(b"key", message, hashlib.sha512)


def rendered(settings={}, kind="invoice.paid", payload=None, **changes):
    payload = payload or {"data": {"invoice": {**INVOICE, **changes}}}
    delivery = Delivery("dlv_1", "evt_1", kind, 1, 1, payload, json.dumps(payload), "ep_1", "https://shop.example")
    return render(delivery, FormContext(1, settings))


class NowpaymentsForm(unittest.TestCase):
    def setUp(self):
        fake.reset()
        fake.sign = lambda _name, _algorithm, message: signed(message).digest()

    def test_a_payment_is_told_as_nowpayments_tells_it(self):
        request = rendered({"currencies": {"tron/USDT": "usdttrc20"}}, base_amount_usd="12.5")
        self.assertEqual(
            request.body,
            '{"actually_paid":12.500017,"invoice_id":"inv_1","order_description":"Tea & “cups”","order_id":"A-7",'
            '"pay_address":"TXYZ","pay_amount":12.500017,"pay_currency":"usdttrc20","payin_extra_id":null,'
            '"payment_id":"inv_1","payment_status":"finished","price_amount":12.5,"price_currency":"usd"}',
        )
        self.assertEqual(request.headers["x-nowpayments-sig"], signed(request.body.encode()).hexdigest())

    def test_numbers_are_written_as_javascript_writes_them(self):
        for amount, number in (
            ("100.00", "100"),
            ("0.000001", "0.000001"),
            ("0.0000001", '"0.0000001"'),
            ("1234567890.123456", '"1234567890.123456"'),
            ("0.000000000000000000", "0"),
        ):
            self.assertTrue(rendered(credited_amount=amount).body.startswith(f'{{"actually_paid":{number},'), amount)

    def test_other_events_are_passed_over_and_what_is_no_invoice_has_a_reason(self):
        self.assertEqual(rendered(kind="deposit.confirmed").tag, "unsupported")
        self.assertEqual(rendered(payload=["x"]).tag, "malformed")


if __name__ == "__main__":
    unittest.main()
