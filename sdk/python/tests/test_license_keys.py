import unittest

from examples import load
from kassa_sdk import Event, FulfillContext, done, retry, storage
from kassa_sdk.testing import fake

fulfill = load("license-keys").fulfill
CONTEXT = FulfillContext("run_1", 1, 0, {})


def paid(id, order_id=None):
    return fulfill(Event("evt", "invoice.paid", {"data": {"invoice": {"id": id, "order_id": order_id}}}), CONTEXT)


class LicenseKeys(unittest.TestCase):
    def setUp(self):
        fake.reset()

    def test_each_invoice_gets_one_key_once(self):
        storage.set("key/b", "BBBB-2222")
        storage.set("key/a", "AAAA-1111")
        first = paid("inv_1", "order-1")
        self.assertEqual(first, done("key …1111 for order-1"))
        data = {"invoice_id": "inv_1", "order_id": "order-1", "key": "AAAA-1111"}
        self.assertEqual(fake.queued, [{"endpoint": None, "event": "hook.license.issued", "data": data}])
        self.assertEqual(paid("inv_1", "order-1"), first)
        self.assertEqual(len(fake.queued), 1)
        self.assertEqual(storage.keys(""), ["key/b", "sold/inv_1"])
        self.assertEqual(paid("inv_2").val, "key …2222 for inv_2")

    def test_without_keys_it_waits_without_an_invoice_it_never_will(self):
        self.assertEqual(paid("inv_1"), retry(300, "no keys left; put more into storage under key/"))
        self.assertEqual(storage.keys(""), [])
        for payload in ({"data": {}}, {}, None, []):
            self.assertEqual(fulfill(Event("evt", "endpoint.test", payload), CONTEXT).tag, "reject")


if __name__ == "__main__":
    unittest.main()
