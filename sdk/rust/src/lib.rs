#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![warn(missing_docs)]

mod amount;
#[cfg(any(target_arch = "wasm32", test))]
mod arena;
#[doc(hidden)]
#[allow(missing_docs)]
pub mod bindings;
#[cfg(feature = "bip32")]
pub mod bip32;
#[cfg(any(feature = "bip32", feature = "recovery"))]
mod curve;
mod export;
pub mod hook;
#[cfg(feature = "recovery")]
pub mod recovery;
mod request;
pub mod upstream;
pub mod uri;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: arena::Arena = arena::Arena::new();

/// Key-value storage, transactional with the call.
pub use bindings::services::kassa::plugin::storage;

/// Outbound HTTP to the network's upstream or to granted hosts.
pub mod http {
    pub use crate::bindings::services::kassa::plugin::http::*;
    pub use crate::request::literal;
}

/// Watched addresses (chains only).
pub use bindings::services::kassa::plugin::watch;

/// The host's log.
pub use bindings::services::kassa::plugin::log;

/// The host's time, rounded down to 100 ms.
pub use bindings::services::kassa::plugin::clock;

/// Deliveries to the merchant's endpoints (hooks only).
pub use bindings::services::kassa::plugin::webhooks;

/// Signing with the merchant's secrets (hooks only).
pub use bindings::services::kassa::plugin::secrets;

/// Randomness that is recorded with the run (hooks only).
pub use bindings::services::kassa::plugin::random;

/// The nouns that several interfaces share.
pub use bindings::services::kassa::plugin::types;

/// Role `chain`: implement [`Chain`](chain::Chain), then call [`export_chain!`].
pub mod chain {
    pub use crate::bindings::chain::exports::kassa::plugin::chain::Guest as Chain;
    pub use crate::bindings::chain::exports::kassa::plugin::chain::*;

    #[doc(hidden)]
    pub fn implements<T: Chain>() {}
}

/// Role `finder`: implement [`Finder`](finder::Finder), then call [`export_finder!`].
pub mod finder {
    pub use crate::bindings::finder::exports::kassa::plugin::finder::Guest as Finder;
    pub use crate::bindings::finder::exports::kassa::plugin::finder::*;

    #[doc(hidden)]
    pub fn implements<T: Finder>() {}
}

/// Role `balances`: implement [`Balances`](balances::Balances), then call [`export_balances!`].
pub mod balances {
    pub use crate::bindings::balances::exports::kassa::plugin::balances::Guest as Balances;
    pub use crate::bindings::balances::exports::kassa::plugin::balances::*;

    #[doc(hidden)]
    pub fn implements<T: Balances>() {}
}

/// Role `ownership`: implement [`Ownership`](ownership::Ownership), then call [`export_ownership!`].
pub mod ownership {
    pub use crate::bindings::ownership::exports::kassa::plugin::ownership::Guest as Ownership;
    pub use crate::bindings::ownership::exports::kassa::plugin::ownership::*;

    #[doc(hidden)]
    pub fn implements<T: Ownership>() {}
}

/// Role `simulator`: implement [`Simulator`](simulator::Simulator), then call [`export_simulator!`].
pub mod simulator {
    pub use crate::bindings::simulator::exports::kassa::plugin::simulator::Guest as Simulator;
    pub use crate::bindings::simulator::exports::kassa::plugin::simulator::*;

    #[doc(hidden)]
    pub fn implements<T: Simulator>() {}
}

/// Role `matcher`: implement [`Matcher`](matcher::Matcher), then call [`export_matcher!`].
pub mod matcher {
    pub use crate::bindings::matcher::exports::kassa::plugin::matcher::Guest as Matcher;
    pub use crate::bindings::matcher::exports::kassa::plugin::matcher::*;

    #[doc(hidden)]
    pub fn implements<T: Matcher>() {}
}

/// Role `fulfiller`: implement [`Fulfiller`](fulfiller::Fulfiller), then call [`export_fulfiller!`].
pub mod fulfiller {
    pub use crate::bindings::fulfiller::exports::kassa::plugin::fulfiller::Guest as Fulfiller;
    pub use crate::bindings::fulfiller::exports::kassa::plugin::fulfiller::*;

    #[doc(hidden)]
    pub fn implements<T: Fulfiller>() {}
}

/// Role `rates`: implement [`Rates`](rates::Rates), then call [`export_rates!`].
pub mod rates {
    pub use crate::bindings::rates::exports::kassa::plugin::rates::Guest as Rates;
    pub use crate::bindings::rates::exports::kassa::plugin::rates::*;

    #[doc(hidden)]
    pub fn implements<T: Rates>() {}
}

/// Role `form`: implement [`Form`](form::Form), then call [`export_form!`].
pub mod form {
    pub use crate::bindings::form::exports::kassa::plugin::form::Guest as Form;
    pub use crate::bindings::form::exports::kassa::plugin::form::*;

    #[doc(hidden)]
    pub fn implements<T: Form>() {}
}
