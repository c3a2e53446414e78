//! Hooks: what a merchant's component is run for, and what follows from a run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    Millis,
    event::Type,
    id::HookRunId,
    retry::{self, Next},
    word::{NoWord, words},
};

/// The one purpose that a secret of a hook may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Sent to this host (with its port, if that is not the usual one).
    Host(String),
    /// Keys signatures, and is sent nowhere.
    Sign,
}

impl Purpose {
    const OF_HOST: &str = "host:";
    const SIGN: &str = "sign";
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host) => write!(f, "{}{host}", Self::OF_HOST),
            Self::Sign => f.write_str(Self::SIGN),
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = NoWord;

    fn from_str(text: &str) -> Result<Self, NoWord> {
        match text.strip_prefix(Self::OF_HOST) {
            Some(host) => Ok(Self::Host(host.to_owned())),
            None if text == Self::SIGN => Ok(Self::Sign),
            None => Err(NoWord { of: "purpose of a secret", text: text.to_owned() }),
        }
    }
}

words! {
    /// An interface that a hook's component exports and the host calls.
    #[schema(as = HookRole)]
    Role {
        /// Fulfils a paid invoice.
        Fulfiller = "fulfiller",
        /// Decides which invoices a transfer pays.
        Matcher = "matcher",
        /// Prices an asset.
        Rates = "rates",
        /// Shapes a delivery: headers, body, signature.
        Form = "form",
    }
}

/// Maximum number of names of each kind in a binding.
const NAMES_MAX: usize = 50;
const NAME_LEN_MAX: usize = 100;

words! {
    /// How a run stands.
    #[schema(as = HookRunState)]
    RunState {
        /// Waits for its time, and for its hook to be neither disabled nor paused.
        Pending = "pending",
        Done = "done",
        /// The hook asked for a person to look at it.
        Rejected = "rejected",
        /// Given up; running it again begins anew.
        Exhausted = "exhausted",
    }
}

words! {
    /// How one call of a run ended.
    #[schema(as = HookOutcome)]
    Outcome {
        Done = "done",
        Retry = "retry",
        Reject = "reject",
        /// Broke or exceeded a limit. Nothing that it stored or queued was kept.
        Failed = "failed",
    }
}

words! {
    /// What came of a question to a matcher.
    #[schema(as = HookMatchOutcome)]
    MatchOutcome {
        /// Says which invoices the transfer pays.
        Pay = "pay",
        /// Asks for a person to look at it.
        Review = "review",
        /// Has no opinion: the built-in policy decided.
        Pass = "pass",
        /// Broke, exceeded a limit, or gave an impossible answer: the built-in policy decided.
        Failed = "failed",
    }
}

/// What a fulfiller is run for, and what a matcher is asked about. What is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HookBinding)]
pub struct Binding {
    /// Types of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<BTreeSet<Type>>,
    /// Names of networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<String>>,
    /// Symbols of assets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<BTreeSet<String>>,
    /// Tags of invoices. A matcher is offered those only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeSet<String>>,
    /// A matcher is asked about every transfer, not only about those that the built-in matching cannot tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub match_first: bool,
}

impl Binding {
    /// The first problem of the binding; `None` if it is valid.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let lists = [("networks", &self.networks), ("assets", &self.assets), ("tags", &self.tags)];
        for (field, names) in lists {
            let Some(names) = names else { continue };
            let sound = |name: &String| (1..=NAME_LEN_MAX).contains(&name.len());
            if names.is_empty() || names.len() > NAMES_MAX || !names.iter().all(sound) {
                return Some(format!(
                    "{field}: 1 to {NAMES_MAX} names of at most {NAME_LEN_MAX} bytes, or leave it out for all"
                ));
            }
        }
        let events = self.events.as_ref()?;
        let odd = events.iter().find(|event| !event.starts_hooks());
        if let Some(odd) = odd {
            return Some(format!("events: hooks are not run for {}", odd.as_str()));
        }
        (events.is_empty() || events.len() > NAMES_MAX)
            .then(|| "events: name at least one type, or leave it out for all".to_owned())
    }

    /// True if it depends on an event's payload.
    #[must_use]
    pub fn looks_inside(&self) -> bool {
        self.networks.is_some() || self.assets.is_some() || self.tags.is_some()
    }

    /// True if the binding accepts this type of event; the payload may still rule an event out.
    #[must_use]
    pub fn wants_type(&self, kind: &Type) -> bool {
        kind.starts_hooks() && self.events.as_ref().is_none_or(|events| events.contains(kind))
    }

    /// True if the binding accepts an event with this content.
    #[must_use]
    pub fn wants(&self, about: &About) -> bool {
        within(&self.networks, about.network.as_deref())
            && within(&self.assets, about.asset.as_deref())
            && within(&self.tags, about.tag.as_deref())
    }

    /// True if a matcher is asked about transfers of this asset on this network.
    #[must_use]
    pub fn wants_transfer(&self, network: &str, asset: &str) -> bool {
        within(&self.networks, Some(network)) && within(&self.assets, Some(asset))
    }

    /// True if a matcher is offered an invoice with this tag.
    #[must_use]
    pub fn offers(&self, tag: Option<&str>) -> bool {
        within(&self.tags, tag)
    }
}

fn within(names: &Option<BTreeSet<String>>, name: Option<&str>) -> bool {
    names.as_ref().is_none_or(|names| name.is_some_and(|name| names.contains(name)))
}

/// The properties of an event that bindings ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub network: Option<String>,
    pub asset: Option<String>,
    pub tag: Option<String>,
}

impl About {
    /// Reads the JSON that webhooks carry.
    #[must_use]
    pub fn of_payload(payload: &str) -> Self {
        let payload: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
        let data = payload.get("data");
        let field =
            |of: &str, name: &str| data.and_then(|data| data.get(of)?.get(name)?.as_str()).map(str::to_owned);
        Self {
            network: field("invoice", "payable_network").or_else(|| field("transfer", "network")),
            asset: field("invoice", "payable_asset").or_else(|| field("transfer", "asset")),
            tag: field("invoice", "tag"),
        }
    }
}

/// Number of calls of a round up to which the wait that the hook asks for holds as it is; later waits last at least an
/// hour.
const RETRIES_AS_ASKED: u32 = retry::ATTEMPTS_MAX;
/// Maximum number of calls of a round for a hook that asks for retries: those, and a week of hourly ones.
const RETRIES_MAX: u32 = RETRIES_AS_ASKED + 7 * 24;
const HOUR: Millis = 3_600_000;

/// Decides what follows a call of a run. `number` counts the calls of this round from 1; `asked_s` is the wait that the
/// hook asked for, in seconds (1 to a day). A failed call is retried like a delivery.
#[must_use]
pub fn judge(run_id: &HookRunId, number: u32, ended_at: Millis, outcome: Outcome, asked_s: u32) -> Next {
    match outcome {
        Outcome::Done => Next::Delivered,
        Outcome::Reject => Next::Exhausted,
        Outcome::Retry if number >= RETRIES_MAX => Next::Exhausted,
        Outcome::Retry => {
            let asked = (Millis::from(asked_s) * 1000).clamp(1000, 24 * HOUR);
            let wait = if number < RETRIES_AS_ASKED { asked } else { asked.max(HOUR) };
            Next::RetryAt(ended_at + wait + retry::jitter(wait, run_id.as_str(), number))
        }
        Outcome::Failed => retry::judge(&retry::AttemptFacts {
            of: run_id.as_str(),
            number,
            ended_at,
            outcome: retry::Outcome::Failed,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<T: std::str::FromStr<Err: std::fmt::Debug> + Ord>(names: &[&str]) -> Option<BTreeSet<T>> {
        Some(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn a_binding_wants_what_it_names() {
        let payload = r#"{"type":"invoice.paid","data":{"invoice":
            {"payable_network":"base","payable_asset":"USDC","tag":"shop"}}}"#;
        let about = About::of_payload(payload);
        assert!(Binding::default().wants(&about));
        assert!(Binding { networks: set(&["base", "ton"]), ..Binding::default() }.wants(&about));
        assert!(!Binding { networks: set(&["ton"]), ..Binding::default() }.wants(&about));
        assert!(!Binding { assets: set(&["USDT"]), ..Binding::default() }.wants(&about));
        assert!(Binding { tags: set(&["shop"]), ..Binding::default() }.wants(&about));
        assert!(!Binding { tags: set(&["shop"]), ..Binding::default() }.wants(&About::default()));
        let deposit = About::of_payload(r#"{"data":{"transfer":{"network":"ton","asset":"GRAM"}}}"#);
        assert!(
            Binding { networks: set(&["ton"]), assets: set(&["GRAM"]), ..Binding::default() }.wants(&deposit)
        );
        assert_eq!(About::of_payload("nonsense"), About::default());
    }

    #[test]
    fn hooks_are_not_run_for_what_hooks_cause() {
        let all = Binding::default();
        assert!(all.wants_type(&"invoice.paid".parse().unwrap()));
        for own in ["hook.license.issued", "hook_run.rejected", "endpoint.test"] {
            let kind: Type = own.parse().unwrap();
            assert!(!all.wants_type(&kind), "{own}");
            let bound = Binding { events: Some([kind].into()), ..Binding::default() };
            assert!(bound.problem().is_some(), "{own}");
        }
        for odd in [
            "",
            "hook.",
            "hook..a",
            "hook.A",
            "hook.a b",
            "invoice.bought",
            &format!("hook.{}", "a".repeat(64)),
        ] {
            assert!(odd.parse::<Type>().is_err(), "{odd}");
        }
    }

    #[test]
    fn empty_lists_and_endless_ones_are_refused() {
        assert_eq!(Binding::default().problem(), None);
        assert!(Binding { events: Some(BTreeSet::new()), ..Binding::default() }.problem().is_some());
        assert!(Binding { tags: set(&[]), ..Binding::default() }.problem().is_some());
        let many = (0..=NAMES_MAX).map(|n| n.to_string()).collect();
        assert!(Binding { assets: Some(many), ..Binding::default() }.problem().is_some());
    }

    #[test]
    fn what_follows_from_a_call() {
        const NOW: Millis = 1_800_000_000_000;
        assert_eq!(judge(&"run_1".into(), 1, NOW, Outcome::Done, 0), Next::Delivered);
        assert_eq!(judge(&"run_1".into(), 1, NOW, Outcome::Reject, 0), Next::Exhausted);
        let wait = |outcome, asked_s| match judge(&"run_1".into(), 1, NOW, outcome, asked_s) {
            Next::RetryAt(at) => at - NOW,
            other => panic!("{other:?}"),
        };
        assert!((300_000..=330_000).contains(&wait(Outcome::Retry, 300)));
        assert!((1_000..=1_100).contains(&wait(Outcome::Retry, 0)));
        assert!((5_000..=5_500).contains(&wait(Outcome::Failed, 300)));
        assert!(wait(Outcome::Retry, u32::MAX) <= retry::LONGEST_WAIT);
        let after = |number| judge(&"run_1".into(), number, NOW, Outcome::Retry, 1);
        assert!(matches!(after(RETRIES_AS_ASKED), Next::RetryAt(at) if at >= NOW + HOUR));
        assert!(matches!(after(RETRIES_MAX - 1), Next::RetryAt(_)));
        assert_eq!(after(RETRIES_MAX), Next::Exhausted);
        assert_eq!(judge(&"run_1".into(), retry::ATTEMPTS_MAX, NOW, Outcome::Failed, 0), Next::Exhausted);
    }
}
