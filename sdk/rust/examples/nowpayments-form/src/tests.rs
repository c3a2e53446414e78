use super::*;
use kassa_sdk::hook::testing::Scripted;
use kassa_sdk::http::Method;
use serde_json::json;

fn host() -> Scripted {
    // What is signed can be read in the signature.
    let sign = |algorithm: &str, message: &[u8]| [algorithm.as_bytes(), b" ", message].concat();
    Scripted { sign: Some(sign), ..Scripted::default() }
}

fn delivery(kind: &str, fields: &Value) -> Delivery {
    let mut invoice = json!({
        "id": "inv_1", "order_id": "A-7", "title": "Tea & “cups”", "payable_network": "tron", "payable_asset": "USDT",
        "amount": "12.50", "payable_amount": "12.500017", "credited_amount": "12.500017",
        "destination_address": "TXYZ", "payment_comment": null,
    });
    for (field, value) in fields.as_object().unwrap() {
        invoice[field] = value.clone();
    }
    Delivery {
        id: "dlv_1".into(),
        event: "evt_1".into(),
        kind: kind.into(),
        created_ms: 1,
        attempt: 1,
        payload: json!({ "type": kind, "data": { "invoice": invoice } }).to_string(),
        endpoint: "ep_1".into(),
        url: "https://shop.example/ipn".into(),
        more: Vec::new(),
    }
}

fn context(settings: &Value) -> Context {
    let secrets = vec!["ipn_key".into()];
    Context { now_ms: 1, settings: settings.to_string(), secrets, more: Vec::new() }
}

fn rendered(fields: &Value, settings: &Value) -> String {
    let request = render(&host(), &delivery("invoice.paid", fields), &context(settings)).unwrap();
    String::from_utf8(request.body).unwrap()
}

#[test]
fn a_payment_is_told_as_nowpayments_tells_it() {
    let settings = json!({ "currencies": { "tron/USDT": "usdttrc20" } });
    let paid = delivery("invoice.paid", &json!({ "base_amount_usd": "12.5" }));
    let request = render(&host(), &paid, &context(&settings)).unwrap();
    let body = "{\"actually_paid\":12.500017,\"invoice_id\":\"inv_1\",\"order_description\":\"Tea & “cups”\",\
                \"order_id\":\"A-7\",\"pay_address\":\"TXYZ\",\"pay_amount\":12.500017,\"pay_currency\":\"usdttrc20\",\
                \"payin_extra_id\":null,\"payment_id\":\"inv_1\",\"payment_status\":\"finished\",\"price_amount\":12.5,\
                \"price_currency\":\"usd\"}";
    assert_eq!(String::from_utf8_lossy(&request.body), body);
    let signature: String = format!("HMAC-SHA512 {body}").bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        request.headers,
        [("content-type", "application/json"), ("x-nowpayments-sig", signature.as_str())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(request.method, Method::Post);
    assert!(request.taken.statuses.is_empty() && request.taken.body.is_none());
}

#[test]
fn without_a_price_in_dollars_the_asset_is_the_price() {
    let body = rendered(&json!({ "order_id": null }), &json!({}));
    assert!(body.ends_with("\"price_amount\":12.5,\"price_currency\":\"usdt\"}"), "{body}");
    assert!(body.contains("\"order_id\":null"), "{body}");
}

#[test]
fn numbers_are_written_as_javascript_writes_them() {
    for (decimal, number) in [
        ("0", "0"),
        ("0.00", "0"),
        ("100.00", "100"),
        ("12.50", "12.5"),
        ("0.000001", "0.000001"),
        ("0.0000001", "\"0.0000001\""),
        ("123456789.123456", "123456789.123456"),
        ("1234567890.123456", "\"1234567890.123456\""),
        ("0.123456789012345", "0.123456789012345"),
        ("0.000000000000000000", "0"),
    ] {
        assert_eq!(super::number(decimal), number, "{decimal}");
    }
}

#[test]
fn what_it_has_no_word_for_and_what_is_wrong_has_a_reason() {
    let refused =
        |delivery: Delivery, settings: &Value| render(&host(), &delivery, &context(settings)).unwrap_err();
    let none = json!({});
    assert!(matches!(refused(delivery("deposit.confirmed", &none), &none), FormError::Unsupported(_)));
    let odd = Delivery { payload: "{}".into(), ..delivery("invoice.paid", &none) };
    assert!(matches!(refused(odd, &none), FormError::Malformed(_)));
    let settings = json!({ "currencies": 7 });
    assert!(matches!(refused(delivery("invoice.paid", &none), &settings), FormError::Settings(_)));
    let without = render(&Scripted::default(), &delivery("invoice.paid", &none), &context(&none));
    assert!(matches!(without, Err(FormError::Secret(why)) if why.contains("ipn_key")));
}
