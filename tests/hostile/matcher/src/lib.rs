//! A matcher that says what its settings tell it to, mostly what cannot be.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used, reason = "it is there to break")]

use kassa_sdk::hook::{self, Host as _, Real};
use kassa_sdk::matcher::{Candidate, Context, Decision, Matcher, Part};
use kassa_sdk::types::Transfer;
use serde::Deserialize;

kassa_sdk::manifest!("plugin.toml");
kassa_sdk::export_matcher!(Hook);

struct Hook;

#[derive(Deserialize)]
struct Settings {
    says: String,
}

impl Matcher for Hook {
    fn match_transfer(transfer: Transfer, candidates: Vec<Candidate>, context: Context) -> Decision {
        let settings: Settings = hook::settings(&context.settings).unwrap();
        let amount = u128::from(transfer.amount.unwrap());
        let part = |candidate: u32, amount: u128| Part { candidate, amount: amount.into() };
        match settings.says.as_str() {
            "panic" => panic!("it was told to"),
            "loop" => loop {
                std::hint::black_box(&context);
            },
            "nobody's" => Decision::Pay(u32::try_from(candidates.len()).unwrap()),
            "more" => Decision::Split(vec![part(0, amount), part(1, 1)]),
            "endless" => Decision::Split(vec![part(0, u128::MAX)]),
            "twice" => Decision::Split(vec![part(0, 1), part(0, 1)]),
            "nothing" => Decision::Split(vec![part(0, 0)]),
            "none" => Decision::Split(Vec::new()),
            "review" => Decision::Review("it\ris told to".to_owned()),
            "remember" => {
                let number = Real.keys("", None, 1000).unwrap().len();
                Real.set(&format!("seen/{number}"), transfer.tx.as_bytes()).unwrap();
                Decision::Pay(0)
            }
            _ => Decision::Pass,
        }
    }
}
