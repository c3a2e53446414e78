//! Signatures, as Node's OpenSSL makes and checks them.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::*;

/// Prints keys in every form and signatures of `MESSAGE`; then, for each signature on stdin, whether it is good.
const KEYS: &str = r#"
const { generateKeyPairSync, createHmac, sign } = require("node:crypto");
const message = Buffer.from(process.argv[1]);
const pem = (key, type) => key.export({ type, format: "pem" });
const rsa = (modulusLength) => generateKeyPairSync("rsa", { modulusLength });
const ec = (namedCurve) => generateKeyPairSync("ec", { namedCurve });
const ed = generateKeyPairSync("ed25519"), p256 = ec("P-256"), rsa2048 = rsa(2048);
const hmac = (digest) => createHmac(digest, "Jefe").update(message).digest("hex");
console.log(JSON.stringify({
  "HMAC-SHA1": hmac("sha1"), "HMAC-SHA256": hmac("sha256"), "HMAC-SHA512": hmac("sha512"),
  ed: pem(ed.privateKey, "pkcs8"), edSeed: ed.privateKey.export({ format: "jwk" }).d, edPublic: pem(ed.publicKey, "spki"),
  edSignature: sign(null, message, ed.privateKey).toString("hex"),
  p256: pem(p256.privateKey, "pkcs8"), p256Public: pem(p256.publicKey, "spki"),
  p256Sec1: pem(p256.privateKey, "sec1"), p384: pem(ec("P-384").privateKey, "pkcs8"),
  rsa: pem(rsa2048.privateKey, "pkcs8"), rsa1: pem(rsa2048.privateKey, "pkcs1"),
  rsaSignature: sign("sha256", message, rsa2048.privateKey).toString("hex"),
  short: pem(rsa(1024).privateKey, "pkcs8"),
}));"#;
const CHECK: &str = r#"
const { verify } = require("node:crypto");
const { message, key, signature } = JSON.parse(require("node:fs").readFileSync(0));
const good = verify("sha256", Buffer.from(message), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "hex"));
console.log(JSON.stringify(good));"#;
const MESSAGE: &str = "what do ya want for nothing?";

fn node(script: &str, argument: &str, input: &Value) -> Value {
    let mut child = Command::new("node")
        .args(["-e", script, argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

fn signed(algorithm: Algorithm, secret: &str) -> String {
    hex::encode(algorithm.sign(secret, MESSAGE.as_bytes()).unwrap())
}

#[test]
fn signatures_are_those_of_others() {
    let keys = node(KEYS, MESSAGE, &Value::Null);
    let text = |name: &str| keys[name].as_str().unwrap().to_owned();
    for algorithm in [Algorithm::HmacSha1, Algorithm::HmacSha256, Algorithm::HmacSha512] {
        assert_eq!(signed(algorithm, "Jefe"), text(algorithm.as_str()), "{algorithm:?}");
        // The same key as Standard Webhooks writes it.
        assert_eq!(signed(algorithm, "whsec_SmVmZQ=="), text(algorithm.as_str()), "{algorithm:?}");
    }
    let seed = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text("edSeed")).unwrap();
    for key in [text("ed"), hex::encode(seed), format!("\n{}\n", text("ed"))] {
        assert_eq!(signed(Algorithm::Ed25519, &key), text("edSignature"));
    }
    for key in [text("rsa"), text("rsa1")] {
        assert_eq!(signed(Algorithm::Rs256, &key), text("rsaSignature"));
    }
    let signature = signed(Algorithm::Es256, &text("p256"));
    assert_eq!(signature.len(), 128, "r and s, 32 bytes each");
    let input = json!({ "message": MESSAGE, "key": text("p256Public"), "signature": signature });
    assert_eq!(node(CHECK, "", &input), json!(true));

    for (algorithm, key) in [
        (Algorithm::Ed25519, "p256"),
        (Algorithm::Ed25519, "edPublic"),
        (Algorithm::Es256, "p384"),
        (Algorithm::Es256, "p256Sec1"),
        (Algorithm::Es256, "rsa"),
        (Algorithm::Rs256, "ed"),
        (Algorithm::Rs256, "short"),
    ] {
        let why = algorithm.check(&text(key)).unwrap_err().to_string();
        assert!(why.starts_with(algorithm.as_str()) && !why.contains(&text(key)), "{key}: {why}");
    }
}

#[test]
fn an_algorithm_has_one_name_and_an_unknown_one_hears_which_there_are() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
    for name in ["", "hmac-sha256", "HS256", "ES384\u{1b}[2J"] {
        let why = name.parse::<Algorithm>().unwrap_err().to_string();
        assert!(why.ends_with("HMAC-SHA1, HMAC-SHA256, HMAC-SHA512, Ed25519, ES256, RS256"), "{why}");
        assert!(!why.contains('\u{1b}'));
    }
    for secret in ["", "Jefe", "not\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        for algorithm in [Algorithm::Ed25519, Algorithm::Es256, Algorithm::Rs256] {
            assert!(matches!(algorithm.sign(secret, b""), Err(SignError::Key(_))), "{algorithm:?}");
        }
    }
}
