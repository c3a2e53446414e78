//! Whose an address is, for every plugin that exports the role: what nobody has signed proves nothing.

use kassa_tests::text;
use serde_json::{Value, json};

use super::stage::Stage;

pub(super) async fn nonsense_proves_nothing(stage: Stage) {
    let address = &stage.addresses[1];
    let asked = json!({"network": stage.network, "address": address});
    let made = stage.api().post("/v1/ownership_statements", &asked).await;
    if made.status != 200 {
        assert_eq!(made.problem(422), "/problems/ownership_unsupported");
        println!("  conformance: ownership cannot be proven");
        return;
    }
    let statement = text(&made.ok()["statement"]);
    let proof = |signature: &str| {
        let domain = json!({"lengthBytes": 1, "value": "a"});
        json!({"timestamp": 1, "domain": domain, "payload": statement, "signature": signature, "state_init": signature})
            .to_string()
    };
    let long = "f".repeat(16_384);
    let nested = "[".repeat(16_384);
    let texts = [
        "",
        " ",
        "0x",
        "null",
        "{}",
        "[]",
        "\u{202e}\u{1f600}",
        "-1",
        &statement,
        address,
        &long,
        &nested,
        &"0".repeat(130),
        &format!("0x{}", "0".repeat(130)),
        &format!("0x{}1b", "f".repeat(128)),
        &proof(""),
        &proof("AA=="),
        &proof(&"A".repeat(86)),
        &proof(&"A".repeat(8_000)),
        &proof("te6cckEBAQEAAgAAAEysuc0="),
    ];
    for text in texts {
        let ownership = json!({"statement": statement, "proof": text});
        let body =
            json!({"network": stage.network, "address": address, "unique_id": "a", "ownership": ownership});
        let refused = stage.api().post("/v1/receive_addresses", &body).await;
        assert_eq!(refused.problem(422), "/problems/ownership_refused", "{text:.100}: {refused:?}");
    }
    let shared: Vec<Value> = kassa_tests::list(&stage.api().get("/v1/receive_addresses").await.ok());
    assert_eq!(shared.len(), 1, "{shared:?}");
    stage.settled().await;
}
