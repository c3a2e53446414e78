//! The contracts of `tests/contracts`, compiled by solc once and kept by the hash of their sources.

use std::{process::Command, sync::OnceLock};

use serde_json::Value;

use crate::tests_folder;

/// A compiled contract.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Code that a deployment sends, hexadecimal without 0x.
    pub code: String,
    /// Code at the address afterwards, hexadecimal without 0x; immutables are zero in it.
    pub runtime: String,
    selectors: Value,
}

impl Contract {
    /// Calldata of a call: a signature like `transfer(address,uint256)` and its words.
    #[must_use]
    pub fn call(&self, signature: &str, words: &[String]) -> String {
        let selector = self.selectors[signature].as_str();
        let selector =
            selector.unwrap_or_else(|| panic!("no function {signature}; there are {}", self.selectors));
        format!("0x{selector}{}", words.concat())
    }
}

/// A contract by its name.
#[must_use]
pub fn contract(name: &str) -> Contract {
    static ALL: OnceLock<Value> = OnceLock::new();
    let all = ALL.get_or_init(compile);
    let text = |key: &str| all[name][key].as_str().unwrap_or_else(|| panic!("no contract {name}")).to_owned();
    Contract { code: text("code"), runtime: text("runtime"), selectors: all[name]["selectors"].clone() }
}

/// An argument as an ABI word: an address (with or without 0x) or a decimal number of up to 128 bits.
#[must_use]
pub fn word(argument: &str) -> String {
    let hex = match argument.strip_prefix("0x") {
        Some(address) => address.to_lowercase(),
        None => format!("{:x}", argument.parse::<u128>().expect("0x… or a decimal number")),
    };
    format!("{hex:0>64}")
}

fn compile() -> Value {
    let node = tests_folder().join("node");
    let cache = crate::kassa::target_folder().join("kassa-tests");
    let output = Command::new("node")
        .arg(node.join("compile.mjs"))
        .arg(tests_folder().join("contracts"))
        .arg(cache)
        .output()
        .expect("Node.js");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the contracts do not compile (`tests/run` installs solc): {errors}");
    let path = String::from_utf8(output.stdout).expect("a path");
    let text = std::fs::read_to_string(path.trim()).expect("the compiled contracts");
    serde_json::from_str(&text).expect("JSON")
}
