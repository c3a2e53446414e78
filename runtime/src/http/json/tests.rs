use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Order {
    title: String,
    amount: Option<Decimal>,
    #[serde(default)]
    lines: Vec<Line>,
    meta: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Line {
    price: String,
}

fn refused(body: &str) -> (Kind, Option<String>) {
    let problem = parse::<Order>(body.as_bytes()).unwrap_err();
    assert!(problem.detail.len() < 300, "{}", problem.detail);
    (problem.kind, problem.field)
}

#[test]
fn what_is_no_json() {
    for body in [
        "",
        "  ",
        "{",
        "{\"title\":\"a\"",
        "{\"title\":\"a\"} x",
        "{\"title\":\"a\"}{}",
        "{'title':1}",
        "\u{feff}{\"title\":\"a\"}",
        "{\"title\":\"a\",}",
        "{\"title\":NaN}",
        "{\"title\":Infinity}",
        "{\"meta\":1e400,\"title\":\"a\"}",
        "{\"title\":\"\\ud800\"}",
        "{\"title\":\"\\udc00x\"}",
        "{\"title\":\"a\nb\"}",
        "{\"meta\":-,\"title\":\"a\"}",
        "{\"meta\":01}",
    ] {
        assert_eq!(refused(body).0, Kind::JsonMalformed, "{body}");
    }
    assert_eq!(parse::<Order>(b"{\"title\":\"\xff\"}").unwrap_err().kind, Kind::JsonMalformed);
}

#[test]
fn what_parsers_disagree_about() {
    assert_eq!(refused("{\"title\":\"a\",\"title\":\"b\"}"), (Kind::JsonDuplicateKey, Some("title".into())));
    assert_eq!(refused("{\"title\":\"a\",\"t\\u0069tle\":\"b\"}").0, Kind::JsonDuplicateKey);
    assert_eq!(refused("{\"title\":\"a\",\"meta\":{\"x\":{\"y\":1,\"y\":2}}}").0, Kind::JsonDuplicateKey);
    assert_eq!(refused("{\"title\":\"a\\u0000b\"}").0, Kind::JsonText);
    assert_eq!(refused("{\"title\":\"a\",\"meta\":{\"a\\u0000\":1}}").0, Kind::JsonText);
}

#[test]
fn depth_is_bounded_whatever_the_size() {
    let nested =
        |depth: usize| format!("{{\"title\":\"a\",\"meta\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse::<Order>(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
    assert_eq!(refused(&nested(DEPTH_MAX)).0, Kind::JsonTooDeep);
    assert_eq!(refused(&nested(10_000)).0, Kind::JsonTooDeep);
    assert_eq!(refused(&"{\"a\":".repeat(10_000)).0, Kind::JsonTooDeep);
}

#[test]
fn a_refusal_names_the_field() {
    let at = |kind, field: &str| (kind, Some(field.to_owned()));
    assert_eq!(refused("{}"), at(Kind::FieldMissing, "title"));
    assert_eq!(refused("{\"title\":\"a\",\"amuont\":\"1\"}"), at(Kind::FieldUnknown, "amuont"));
    assert_eq!(refused("{\"title\":\"a\",\"amount\":12.5}"), at(Kind::FieldMalformed, "amount"));
    assert_eq!(refused("{\"title\":\"a\",\"amount\":12}"), at(Kind::FieldMalformed, "amount"));
    assert_eq!(
        refused("{\"title\":\"a\",\"lines\":[{\"price\":\"1\"},{\"price\":2}]}"),
        at(Kind::FieldMalformed, "lines[1].price")
    );
    assert_eq!(refused("{\"title\":\"a\",\"lines\":[{}]}"), at(Kind::FieldMissing, "lines[0].price"));
    assert_eq!(
        refused("{\"title\":\"a\",\"lines\":[{\"price\":\"1\",\"q\":2}]}"),
        at(Kind::FieldUnknown, "lines[0].q")
    );
    assert_eq!(refused("[]").0, Kind::FieldMalformed);
    assert_eq!(refused("null").0, Kind::FieldMalformed);
}
