use super::*;
use kassa_sdk::hook::testing::{Scripted, answer};
use kassa_sdk::http::{HttpError, Target};
use serde_json::json;

fn context() -> Context {
    let settings = json!({
        "url": "https://prices.example/v3?ids={id}&vs={currency}", "price": "/{id}/{currency}", "ids": {"TRX": "tron"},
    });
    Context { now_ms: 1_800_000_000_000, settings: settings.to_string(), more: Vec::new() }
}

fn pair(asset: &str) -> Pair {
    Pair { asset: asset.into(), currency: "USD".into(), more: Vec::new() }
}

fn price(body: &str) -> Result<(u64, u8), RatesError> {
    let host = Scripted::answering([answer(200, body)]);
    price_of(&host, &pair("TRX"), &context()).map(|price| (price.mantissa, price.scale))
}

#[test]
fn the_price_is_read_from_the_answer() {
    let host = Scripted::answering([answer(200, r#"{"tron":{"usd":0.2754}}"#)]);
    let price = price_of(&host, &pair("TRX"), &context()).unwrap();
    assert_eq!((price.mantissa, price.scale, price.at_ms), (2754, 4, 1_800_000_000_000));
    let asked = host.sent.borrow()[0].target.clone();
    assert_eq!(asked, Target::Url("https://prices.example/v3?ids=tron&vs=usd".into()));
}

#[test]
fn numbers_and_texts_are_prices() {
    assert_eq!(price(r#"{"tron":{"usd":"0.27540"}}"#), Ok((2754, 4)));
    assert_eq!(price(r#"{"tron":{"usd":3}}"#), Ok((3, 0)));
    assert_eq!(price(r#"{"tron":{"usd":0.0000112}}"#), Ok((112, 7)));
    assert_eq!(price(r#"{"tron":{"usd":1.12e-05}}"#), Ok((112, 7)));
    assert_eq!(
        price(r#"{"tron":{"usd":"1.1234567890123456789012345"}}"#),
        Ok((1_123_456_789_012_345_678, 18))
    );
}

#[test]
fn what_is_no_price_is_none() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"tron":{}}"#,
        r#"{"tron":{"usd":null}}"#,
        r#"{"tron":{"usd":-1}}"#,
        r#"{"tron":{"usd":0}}"#,
        r#"{"tron":{"usd":"1e3"}}"#,
        r#"{"tron":{"usd":"99999999999999999999999"}}"#,
    ] {
        assert!(matches!(price(body), Err(RatesError::Source(_))), "{body}");
    }
    let host = Scripted::answering([answer(429, "slow down")]);
    assert_eq!(
        price_of(&host, &pair("TRX"), &context()),
        Err(RatesError::Source("the source answered 429".into()))
    );
    let host = Scripted::answering([Err(HttpError::Timeout)]);
    assert!(matches!(price_of(&host, &pair("TRX"), &context()), Err(RatesError::Source(_))));
    assert_eq!(price_of(&Scripted::default(), &pair("DOGE"), &context()), Err(RatesError::UnknownPair));
}
