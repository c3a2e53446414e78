//! For the tests of hooks; not available on wasm.

use super::Host;
use crate::fulfiller::{Context, Event};
use crate::http::{HttpError, Request, Response};
use crate::random::RandomError;
use crate::secrets::SecretError;
use crate::storage::StorageError;
use crate::webhooks::WebhooksError;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

/// A function of the algorithm's name and the message.
pub type Sign = fn(&str, &[u8]) -> Vec<u8>;

/// A host with storage in memory that answers as the test says, and records what it was asked.
#[derive(Default)]
pub struct Scripted {
    /// The stored values.
    pub storage: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Number of values that can still be stored. `None` for any number.
    pub sets_left: Cell<Option<u32>>,
    /// Answers to requests, in their order. Without one, the connection fails.
    pub answers: RefCell<VecDeque<Result<Response, HttpError>>>,
    /// Requests that were sent.
    pub sent: RefCell<Vec<Request>>,
    /// Webhooks that were queued: event and data.
    pub queued: RefCell<Vec<(String, Value)>>,
    /// Error with which webhooks are refused, if they are.
    pub refuses_webhooks: Option<WebhooksError>,
    /// Function that signs, if a secret for signing is set.
    pub sign: Option<Sign>,
    /// Number of random bytes that were given out: they count up from zero.
    pub random: Cell<u8>,
}

fn checked(key: &str) -> Result<(), StorageError> {
    let fits = (1..=256).contains(&key.len()) && !key.contains('\0');
    fits.then_some(()).ok_or(StorageError::BadKey)
}

impl Host for Scripted {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        checked(key)?;
        Ok(self.storage.borrow().get(key).cloned())
    }

    fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StorageError> {
        checked(key)?;
        if let Some(left) = self.sets_left.get() {
            let left = left.checked_sub(1).ok_or_else(|| StorageError::Quota("full".into()))?;
            self.sets_left.set(Some(left));
        }
        self.storage.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        checked(key)?;
        self.storage.borrow_mut().remove(key);
        Ok(())
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StorageError> {
        let storage = self.storage.borrow();
        let keys = storage.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(usize::try_from(limit.min(1_000)).unwrap_or(0)).cloned().collect())
    }

    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.sent.borrow_mut().push(request.clone());
        let answer = self.answers.borrow_mut().pop_front();
        answer.unwrap_or_else(|| Err(HttpError::Connection("no answer is left".into())))
    }

    fn queue(&self, _endpoint: Option<&str>, event: &str, data: &Value) -> Result<String, WebhooksError> {
        if let Some(error) = &self.refuses_webhooks {
            return Err(error.clone());
        }
        self.queued.borrow_mut().push((event.into(), data.clone()));
        Ok("evt_1".into())
    }

    fn sign(&self, secret: &str, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, SecretError> {
        self.sign.map(|sign| sign(algorithm, message)).ok_or_else(|| SecretError::Unknown(secret.into()))
    }

    fn random(&self, count: u32) -> Result<Vec<u8>, RandomError> {
        if count > 4096 {
            return Err(RandomError::Quota("4096 random bytes of a call".into()));
        }
        let next = || {
            let byte = self.random.get();
            self.random.set(byte.wrapping_add(1));
            byte
        };
        Ok(std::iter::repeat_with(next).take(usize::try_from(count).unwrap_or(0)).collect())
    }
}

impl Scripted {
    /// A host that gives these answers.
    #[must_use]
    pub fn answering<const N: usize>(answers: [Result<Response, HttpError>; N]) -> Self {
        Self { answers: RefCell::new(answers.into()), ..Self::default() }
    }

    /// The bodies of the requests that were sent, as JSON (null if one is not JSON).
    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.sent.borrow().iter().map(|sent| serde_json::from_slice(&sent.body).unwrap_or_default()).collect()
    }
}

/// An HTTP answer.
pub fn answer(status: u16, body: &str) -> Result<Response, HttpError> {
    Ok(Response { status, headers: Vec::new(), body: body.into() })
}

/// The event of a paid invoice: 12.50 USDT, order `A-7`, except where `fields` (an object) says otherwise.
#[must_use]
pub fn paid(fields: Value) -> Event {
    let mut invoice = json!({
        "id": "inv_1", "order_id": "A-7", "title": "Order 7", "tag": null, "meta": null, "status": "paid",
        "payable_network": "sandbox", "payable_asset": "USDT", "amount": "12.50",
        "credited_amount": "12.50", "credited_amount_units": "12500000",
    });
    if let (Some(invoice), Value::Object(fields)) = (invoice.as_object_mut(), fields) {
        invoice.extend(fields);
    }
    let payload = json!({
        "type": "invoice.paid",
        "timestamp": "2026-11-22T06:10:47.123Z",
        "data": { "invoice": invoice, "tx_hash": "0x1" },
    });
    Event { id: "evt_1".into(), kind: "invoice.paid".into(), payload: payload.to_string(), more: Vec::new() }
}

/// The context of a run with these settings.
#[must_use]
pub fn context(settings: &Value) -> Context {
    Context {
        run: "run_1".into(),
        attempt: 1,
        now_ms: 1_800_000_000_000,
        settings: settings.to_string(),
        more: Vec::new(),
    }
}
