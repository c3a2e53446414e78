//! A few scans one after the other, as a host makes them, against an upstream that is tampered with.
//!
//! An input is the answers themselves if it begins with `r` and a line feed (`n`: without a cursor), or else
//! what to do with the answers of a chain that it chooses.

use crate::contract::{self, Asked};
use crate::input::Input;
use crate::tamper::Tamper;
use kassa_sdk::chain::{Address, AddressError, Finality, ScanError, ScanLimits, ScanResult};
use kassa_sdk::types::{Network, Position};
use std::cell::RefCell;

/// A scripted upstream: what the plugins' `fuzzing::Script` have in common.
pub trait Script {
    fn new(pick: &mut dyn FnMut(u64) -> u64) -> Self;
    fn network(&self) -> Network;
    fn begin(&self) -> Position;
    fn watched(&self) -> Vec<String>;
    fn scan(
        &self,
        cursor: Option<&Position>,
        limits: &ScanLimits,
        tamper: &mut dyn FnMut(&mut u16, &mut Vec<u8>) -> bool,
    ) -> Result<ScanResult, ScanError>;
    fn normalize(text: &str) -> Result<Address, AddressError>;
}

/// Implements [`Script`] by the functions of a plugin.
#[macro_export]
macro_rules! script {
    ($plugin:ident, $normalize:expr) => {
        struct Script($plugin::Script);

        impl kassa_fuzz::scans::Script for Script {
            fn new(pick: &mut dyn FnMut(u64) -> u64) -> Self {
                Self($plugin::Script::new(pick))
            }

            fn network(&self) -> kassa_sdk::types::Network {
                self.0.network()
            }

            fn begin(&self) -> kassa_sdk::types::Position {
                self.0.begin()
            }

            fn watched(&self) -> Vec<String> {
                self.0.watched()
            }

            fn scan(
                &self,
                cursor: Option<&kassa_sdk::types::Position>,
                limits: &kassa_sdk::chain::ScanLimits,
                tamper: &mut dyn FnMut(&mut u16, &mut Vec<u8>) -> bool,
            ) -> Result<kassa_sdk::chain::ScanResult, kassa_sdk::chain::ScanError> {
                self.0.scan(cursor, limits, tamper)
            }

            fn normalize(text: &str) -> Result<kassa_sdk::chain::Address, kassa_sdk::chain::AddressError> {
                ($normalize)(text)
            }
        }
    };
}

const SCANS: usize = 3;

pub fn run<S: Script>(data: &[u8]) {
    let raw = data.strip_prefix(b"r\n").or(data.strip_prefix(b"n\n"));
    let mut input = Input::new(raw.unwrap_or(data));
    // In raw mode the bytes are all answers, so there the choices are always the same.
    let mut pick = |below| if raw.is_some() { 1 % below } else { input.pick(below) };
    let script = S::new(&mut pick);
    let (network, watched) = (script.network(), script.watched());
    let mut cursor = match pick(4) {
        3 => None,
        2 => Some(Position { height: pick(u64::MAX), hash: String::new() }),
        _ => Some(script.begin()).filter(|_| !data.starts_with(b"n\n")),
    };
    let limits = ScanLimits {
        blocks: [0, 1_000, 1, 5][pick(4) as usize],
        transfers: [0, 10_000, 1, 3][pick(4) as usize],
        known: (pick(2) == 0).then(|| Finality { safe: None, final_: pick(4) }),
        next_is_head: pick(2) == 0,
        more: Vec::new(),
    };
    let tamper = RefCell::new((Tamper::new(raw), input));
    let mut has_failed = false;
    for _ in 0..SCANS {
        tamper.borrow_mut().0.begin();
        let result = script.scan(cursor.as_ref(), &limits, &mut |status, body| {
            let (tamper, input) = &mut *tamper.borrow_mut();
            tamper.answer(input, status, body)
        });
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                contract::check_error(&error);
                // What fails is tried again, once.
                if std::mem::replace(&mut has_failed, true) {
                    return;
                }
                continue;
            }
        };
        let asked = Asked {
            network: &network,
            cursor: cursor.as_ref(),
            limits: &limits,
            watched: &watched,
            normalize: S::normalize,
        };
        contract::check(&asked, &result);
        if let Some(last) = result.blocks.last() {
            cursor = Some(Position { height: last.height, hash: last.hash.clone() });
        }
    }
}
