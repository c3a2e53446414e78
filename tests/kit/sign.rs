//! Wallets that sign: the official clients of the chains, from npm.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Calls `node/sign.mjs`. Returns the address, and the proof if there is a statement to sign.
pub fn sign(asked: &Value) -> Value {
    let mut child = Command::new("node")
        .arg(crate::tests_folder().join("node/sign.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js");
    child.stdin.take().expect("its stdin").write_all(asked.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{asked}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
