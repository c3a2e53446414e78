//! The invoice of an event.

use crate::fulfiller::{Event, Outcome};
use crate::upstream::clean;
use serde::Deserialize;
use serde_json::Value;

/// Maximum size of an event's payload, bytes. The host sends some kilobytes.
const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// Maximum length of the text that a template makes, bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The fields of the invoice in an `invoice.…` event that hooks need.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    /// Kassa's id.
    pub id: String,
    /// The merchant's id, if there is one.
    pub order_id: Option<String>,
    /// Title of what is paid for.
    pub title: String,
    /// Data that the merchant attached.
    pub meta: Option<Value>,
    /// Symbol of the asset.
    pub payable_asset: String,
    /// Amount that was asked for, in whole units: `12.50`.
    pub amount: String,
    /// Amount that was credited, in whole units.
    pub credited_amount: String,
}

impl Invoice {
    /// Reads the invoice of an event. Without one, the run is rejected.
    pub fn of(event: &Event) -> Result<Self, Outcome> {
        #[derive(Deserialize)]
        struct Payload {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            invoice: Invoice,
        }
        if event.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Outcome::reject(format!("the event is over {PAYLOAD_BYTES_MAX} bytes")));
        }
        match serde_json::from_str(&event.payload) {
            Ok(Payload { data: Data { invoice } }) => Ok(invoice),
            Err(error) => Err(Outcome::reject(format!(
                "the event has no invoice ({}): run this hook for invoice.… events only",
                clean(&error.to_string())
            ))),
        }
    }

    /// The merchant's order id, or Kassa's id if there is none.
    #[must_use]
    pub fn order(&self) -> &str {
        self.order_id.as_deref().unwrap_or(&self.id)
    }

    /// A field of `meta` that is text (not empty) or an integer, as text. `None` for anything else.
    #[must_use]
    pub fn meta(&self, field: &str) -> Option<String> {
        match self.meta.as_ref()?.get(field)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }

    /// Fills in the template's `{order_id}` (see [`order`](Self::order)), `{title}`, `{amount}`, `{asset}` and the
    /// fields of `more`. Other braces stay, and what was filled in is not read again: a title cannot ask for a field.
    pub fn render(&self, template: &str, more: &[(&str, &str)]) -> Result<String, Outcome> {
        let value = |name: &str| match name {
            "order_id" => Some(self.order()),
            "title" => Some(self.title.as_str()),
            "amount" => Some(self.amount.as_str()),
            "asset" => Some(self.payable_asset.as_str()),
            _ => more.iter().find(|(field, _)| *field == name).map(|(_, value)| *value),
        };
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, from_brace)) = rest.find('{').map(|at| rest.split_at(at)) {
            text.push_str(before);
            let field = from_brace[1..].split_once('}');
            if let Some((value, after)) = field.and_then(|(name, after)| Some((value(name)?, after))) {
                text.push_str(value);
                rest = after;
            } else {
                text.push('{');
                rest = &from_brace[1..];
            }
            if text.len() > TEXT_BYTES_MAX {
                break;
            }
        }
        text.push_str(rest);
        if text.len() > TEXT_BYTES_MAX {
            return Err(Outcome::reject(format!(
                "the text is over {TEXT_BYTES_MAX} bytes: shorten its template"
            )));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::testing::paid;
    use serde_json::json;

    fn invoice(fields: Value) -> Invoice {
        Invoice::of(&paid(fields)).unwrap()
    }

    fn event(payload: impl Into<String>) -> Event {
        Event { id: "evt_1".into(), kind: "invoice.paid".into(), payload: payload.into(), more: Vec::new() }
    }

    #[test]
    fn an_event_without_an_invoice_is_rejected_with_a_reason() {
        for payload in [
            String::new(),
            "nonsense".into(),
            "null".into(),
            "[]".into(),
            r#"{"data":{}}"#.into(),
            r#"{"data":{"invoice":null}}"#.into(),
            r#"{"data":{"invoice":"inv_1"}}"#.into(),
            r#"{"data":{"invoice":{"id":7}}}"#.into(),
            paid(json!({"order_id": 7})).payload,
            paid(json!({"title": null})).payload,
            paid(json!({"amount": 12.5})).payload,
            "[".repeat(100_000),
            format!(r#"{{"data":{{"invoice":"{}"}}}}"#, "x".repeat(100_000)),
        ] {
            let Err(Outcome::Reject(why)) = Invoice::of(&event(payload)) else { panic!() };
            assert!(why.starts_with("the event has no invoice") && why.len() < 300, "{why}");
        }
        let huge = Invoice::of(&event(" ".repeat(PAYLOAD_BYTES_MAX + 1)));
        assert!(matches!(huge, Err(Outcome::Reject(why)) if why.contains("262144")));
    }

    #[test]
    fn the_order_is_the_merchants_where_there_is_one() {
        assert_eq!(invoice(json!({})).order(), "A-7");
        assert_eq!(invoice(json!({"order_id": null})).order(), "inv_1");
    }

    #[test]
    fn meta_is_text_or_an_integer() {
        let invoice =
            invoice(json!({"meta": {"a": "x", "b": -7, "c": 1.5, "d": "", "e": [], "f": null, "g": true}}));
        assert_eq!(invoice.meta("a").as_deref(), Some("x"));
        assert_eq!(invoice.meta("b").as_deref(), Some("-7"));
        for field in ["c", "d", "e", "f", "g", "h"] {
            assert_eq!(invoice.meta(field), None);
        }
        for meta in [json!(null), json!("text"), json!([1]), json!(7)] {
            assert_eq!(self::invoice(json!({ "meta": meta })).meta("a"), None);
        }
    }

    #[test]
    fn templates_are_filled_once() {
        let invoice = invoice(json!({"title": "{amount} {order_id}"}));
        let render = |template| invoice.render(template, &[("invite", "https://t.example/1")]).unwrap();
        assert_eq!(render("{order_id}: {amount} {asset}"), "A-7: 12.50 USDT");
        assert_eq!(render("{title}"), "{amount} {order_id}");
        assert_eq!(render("{invite}{invite}"), "https://t.example/1https://t.example/1");
        assert_eq!(
            render("{} {unknown} {{title}} } { {title"),
            "{} {unknown} {{amount} {order_id}} } { {title"
        );
        assert_eq!(render("{é{asset}"), "{éUSDT");
        assert_eq!(render(""), "");
    }

    #[test]
    fn a_text_has_an_end() {
        let invoice = invoice(json!({"title": "x".repeat(1_000)}));
        assert!(invoice.render(&"{title}".repeat(16), &[]).is_ok());
        for template in ["{title}".repeat(1_000_000), "{".repeat(20_000), "x".repeat(20_000)] {
            assert!(matches!(invoice.render(&template, &[]), Err(Outcome::Reject(_))));
        }
    }
}
