//! What there may be so many of, or must be one of, holds when all ask at once.

use futures_util::future::join_all;
use kassa_tests::{Answer, Api, Database, KassaOptions, Sandbox, Suite, quiet, text};
use serde_json::json;

pub(crate) fn cases(suite: &mut Suite) {
    suite.both("limits::hold_for_endpoints_that_are_made_or_enabled_at_once", endpoints);
    suite.both("limits::hold_for_secrets_that_are_set_at_once", secrets);
    suite.both("limits::hold_for_hooks_that_are_uploaded_at_once", hooks);
    suite.both("limits::leave_one_operators_key_when_all_are_revoked_at_once", operators);
}

/// As many of each as the operator may have connections to the database, and more.
const AT_ONCE: usize = 48;

fn done(answers: &[Answer]) -> usize {
    let refused = answers.iter().find(|answer| answer.status >= 500);
    assert!(refused.is_none(), "{refused:?}");
    answers.iter().filter(|answer| answer.status < 300).count()
}

async fn endpoints(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let (api, url) = (&sandbox.shop.api(), sandbox.shop.receiver.url());
    let had = api.get("/v1/endpoints?limit=100").await.ok()["data"].as_array().expect("a list").len();
    let new = |number: usize| {
        let body = json!({"url": format!("{url}/{number}")});
        async move { api.post("/v1/endpoints", &body).await }
    };
    let made = join_all((0..AT_ONCE).map(new)).await;
    assert_eq!(had + done(&made), 32);
    // All are put out of use, others are made, and all want to come back.
    let made = made.iter().filter(|one| one.status < 300);
    let ids: Vec<String> = made.map(|one| text(&one.body["id"])).collect();
    for id in &ids {
        api.post(&format!("/v1/endpoints/{id}/disable"), &json!({})).await.ok();
    }
    let more = join_all((0..16).map(|number| new(100 + number))).await;
    assert_eq!(done(&more), 16);
    let enabled = join_all(ids.iter().map(|id| {
        let path = format!("/v1/endpoints/{id}/enable");
        async move { api.post(&path, &json!({})).await }
    }))
    .await;
    assert_eq!(had + 16 + done(&enabled), 32);
}

async fn secrets(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let hook = text(&sandbox.hooks().try_upload(&quiet("many-secrets"), false).await.ok()["hook"]["id"]);
    let set = join_all((0..AT_ONCE).map(|number| {
        let (api, path) = (sandbox.shop.api(), format!("/v1/hooks/{hook}/secrets/s{number}"));
        async move { api.put(&path, &json!({"value": "x", "use": "sign"})).await }
    }))
    .await;
    assert_eq!(done(&set), 32);
    let listed = sandbox.shop.api().get(&format!("/v1/hooks/{hook}/secrets")).await.ok();
    assert_eq!(listed["data"].as_array().expect("a list").len(), 32);
}

async fn hooks(database: Database) {
    let options = KassaOptions::default()
        .with("KASSA_HOOKS__PER_MERCHANT", "3")
        .with("KASSA_HOOKS__UPLOADS_PER_HOUR", "1000");
    let sandbox = Sandbox::with(database, options).await;
    // One upload of a merchant at a time, so that each asks until it was its turn.
    let made = join_all((0..8).map(|number| {
        let sandbox = &sandbox;
        async move {
            let wasm = quiet(&format!("hook-{number}"));
            kassa_tests::eventually("the turn of an upload", || async {
                let answer = sandbox.hooks().try_upload(&wasm, false).await;
                let waits = answer.status == 429 || answer.status == 503;
                if waits { Err(answer.body.to_string()) } else { Ok(answer) }
            })
            .await
        }
    }))
    .await;
    assert_eq!(done(&made), 3);
}

async fn operators(database: Database) {
    let sandbox = Sandbox::start(database).await;
    let url = sandbox.shop.kassa.url();
    let id_of = async |api: &Api, name: &str| {
        let keys = kassa_tests::list(&api.get("/v1/operator/api_keys?limit=100").await.ok());
        text(&keys.iter().find(|key| key["name"] == name).expect("a key of that name")["id"])
    };
    let mut one = sandbox.shop.kassa.operator();
    let mut one_id = id_of(&one, "first").await;
    for round in 0..10 {
        let made =
            one.post("/v1/operator/api_keys", &json!({"mode": "operator", "name": "other"})).await.ok();
        let (other, other_id) = (Api::new(url, &text(&made["key"])), text(&made["id"]));
        // Each revokes each.
        let all = [(&one, &one_id), (&one, &other_id), (&other, &one_id), (&other, &other_id)];
        let revoked = join_all(all.map(|(api, id)| {
            let path = format!("/v1/operator/api_keys/{id}/revoke");
            async move { api.post(&path, &json!({})).await }
        }))
        .await;
        assert!(done(&revoked) >= 1, "{revoked:?}");
        let open = async |api: &Api| api.get("/v1/operator/api_keys").await.status == 200;
        match (open(&one).await, open(&other).await) {
            (true, false) => {}
            (false, true) => (one, one_id) = (other, other_id),
            left => panic!("round {round}: {left:?} are left: {revoked:?}"),
        }
    }
}
