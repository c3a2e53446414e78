//! The host over a scripted index: what goes out, and what is refused.

use super::index::{Index, PROOFS};
use crate::host::{Answer, Host, Request};
use kassa_sdk::upstream::{Fault, retry_after_ms};
use serde_json::json;

impl Host for Index {
    fn send_all(&self, requests: Vec<Request>) -> Vec<Result<Answer, Fault>> {
        assert!(requests.len() <= 8);
        let send = |request: Request| {
            assert!(request.path.len() <= 8_192 && request.path.is_ascii());
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            let version = path.get(..3).filter(|version| matches!(*version, "/v2" | "/v3"));
            assert_eq!(version.is_some(), self.settings == PROOFS, "{path}");
            let path = path.strip_prefix("/v3").unwrap_or(path);
            *self.requests.borrow_mut().entry(path.into()).or_default() += 1;
            if let Some((status, retry_after, body)) = &*self.raw.borrow() {
                let (status, body) = (*status, body.clone().into_bytes());
                return Ok(Answer { status, retry_after_ms: retry_after_ms(*retry_after), body });
            }
            if let (Some(refusal), "/v2/getTransactions") = (&*self.refusal.borrow(), path)
                && let Some(fault) = refusal(self.count(path))
            {
                return Err(fault);
            }
            let query: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
            let mut answer = match path {
                "/masterchainInfo" => json!({"last": self.block(self.head), "first": self.block(1)}),
                "/blocks" => self.blocks(&query),
                "/accountStates" => self.states(&query),
                "/transactions" => self.transactions(&query),
                "/traces" => self.traces(&query),
                "/v2/getTransactions" => self.get_transactions(&query),
                "/runGetMethod" => self.get_method(&request.body.unwrap()),
                _ => panic!("{path}"),
            };
            if let Some(twist) = &*self.twist.borrow() {
                twist(path, &mut answer);
            }
            let body = answer.to_string().into_bytes();
            if body.len() > self.budget.get() {
                return Err(Fault::Budget("the answer is larger than what is left".into()));
            }
            Ok(Answer { status: 200, retry_after_ms: retry_after_ms(None), body })
        };
        let served = self.served_max.get();
        let refused = |_: Request| {
            let body = br#"{"ok":false,"error":"Ratelimit exceed","code":429}"#.to_vec();
            Ok(Answer { status: 200, retry_after_ms: retry_after_ms(None), body })
        };
        let mut requests = requests.into_iter();
        let mut answers: Vec<_> = requests.by_ref().take(served).map(send).collect();
        answers.extend(requests.map(refused));
        answers
    }

    fn refused(&self, _: u32, retry_ms: u32) {
        self.waits.borrow_mut().push(retry_ms);
    }

    fn watched(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, Fault> {
        let mut all: Vec<_> = self.owners.borrow().iter().map(|owner| owner.show(false)).collect();
        all.sort();
        let page = all.into_iter().filter(|text| Some(text.as_str()) > after);
        Ok(page.take(limit as usize).collect())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        Ok(self.stored.borrow().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.stored.borrow().get(key).cloned())
    }

    fn keep(&self, key: &str, value: &[u8]) -> Result<(), Fault> {
        self.stored.borrow_mut().insert(key.into(), value.into());
        Ok(())
    }

    fn forget(&self, key: &str) -> Result<(), Fault> {
        self.stored.borrow_mut().remove(key);
        Ok(())
    }
}
