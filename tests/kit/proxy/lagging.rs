//! A backend of an EVM node that is behind, while others behind the same URL are not.

use serde_json::{Value, json};

use crate::anvil::{hex, number};

/// The heads of a backend that has not seen the last blocks.
pub(super) struct LaggingHead {
    pub(super) latest: u64,
    pub(super) safe: u64,
    pub(super) finalized: u64,
}

impl LaggingHead {
    /// The call with this backend's idea of the tags.
    pub(super) fn ask(&self, call: &Value) -> Value {
        let mut call = call.clone();
        if let Some(params) = call["params"].as_array_mut() {
            for param in params {
                self.untag(param);
                for key in ["fromBlock", "toBlock"] {
                    if let Some(value) = param.get_mut(key) {
                        self.untag(value);
                    }
                }
            }
        }
        call
    }

    fn untag(&self, value: &mut Value) {
        let height = match value.as_str() {
            Some("latest" | "pending") => self.latest,
            Some("safe") => self.safe,
            Some("finalized") => self.finalized,
            _ => return,
        };
        *value = json!(hex(height));
    }

    /// The answer without what is above this backend's head.
    pub(super) fn limit(&self, mut answer: Value) -> Value {
        let above = |value: &Value| {
            let height = ["number", "blockNumber"].iter().find_map(|key| value.get(*key)?.as_str());
            height.is_some_and(|text| number(&json!(text)) > self.latest)
        };
        let result = &mut answer["result"];
        match result {
            // Logs: an honest node would say that it lacks the block; those behind a balancer answer `[]`.
            Value::Array(items) => items.retain(|item| !above(item)),
            Value::Object(_) if above(result) => *result = Value::Null,
            _ => {}
        }
        answer
    }
}
