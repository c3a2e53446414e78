use super::*;
use kassa_sdk::types::Memo;
use proptest::prelude::*;

fn transfer(amount: Option<u128>) -> Transfer {
    Transfer {
        tx: "0x1".into(),
        ordinal: 0,
        asset: 0,
        sender: None,
        recipient: "shop".into(),
        amount: amount.map(Into::into),
        memo: Memo::None,
        height: 7,
        more: Vec::new(),
    }
}

fn candidate(due: u128, received: u128) -> Candidate {
    Candidate {
        due: due.into(),
        received: received.into(),
        created_ms: 1,
        expires_ms: u64::MAX,
        tag: String::new(),
        order_id: String::new(),
        more: None,
    }
}

fn context(settings: &str, decimals: u8) -> Context {
    Context {
        network: "sandbox".into(),
        asset: "USDT".into(),
        decimals,
        now_ms: 1_800_000_000_000,
        settings: settings.into(),
        more: Vec::new(),
    }
}

/// Decision about a transfer, with two decimals: one whole unit is 100.
fn of(amount: u128, open: &[u128], settings: &str) -> Decision {
    let open: Vec<_> = open.iter().map(|due| candidate(*due, 0)).collect();
    decide(&transfer(Some(amount)), &open, &context(settings, 2)).unwrap()
}

const PERCENT: &str = r#"{"percent":"1.5"}"#;
const ABSOLUTE: &str = r#"{"absolute":"0.25"}"#;

#[test]
fn an_amount_within_the_tolerance_pays() {
    for (amount, open, settings, pays) in [
        (10_000, 10_000, "{}", true),
        (9_999, 10_000, "{}", false),
        (9_850, 10_000, PERCENT, true),
        (9_849, 10_000, PERCENT, false),
        (10_150, 10_000, PERCENT, true),
        (10_151, 10_000, PERCENT, false),
        // Fractions of a base unit do not count: 1.5 % of 99 is 1.
        (98, 99, PERCENT, true),
        (97, 99, PERCENT, false),
        (9_975, 10_000, ABSOLUTE, true),
        (9_974, 10_000, ABSOLUTE, false),
        (10_025, 10_000, ABSOLUTE, true),
        (10_026, 10_000, ABSOLUTE, false),
        // The larger of the two.
        (9_850, 10_000, r#"{"percent":"1.5","absolute":"0.25"}"#, true),
        (75, 100, r#"{"percent":"1.5","absolute":"0.25"}"#, true),
        (9_000, 10_000, r#"{"percent":"10"}"#, true),
        (8_999, 10_000, r#"{"percent":"10.0000"}"#, false),
    ] {
        let expected = if pays { Decision::Pay(0) } else { Decision::Pass };
        assert_eq!(of(amount, &[open], settings), expected, "{amount} {open} {settings}");
    }
}

#[test]
fn what_was_received_before_counts() {
    let open = [candidate(10_000, 5_000), candidate(5_000, 5_000), candidate(5_000, 9_000), candidate(0, 0)];
    let decide = |amount| decide(&transfer(amount), &open, &context(PERCENT, 2)).unwrap();
    assert_eq!(decide(Some(4_950)), Decision::Pay(0));
    assert_eq!(decide(Some(9_950)), Decision::Pass);
    assert_eq!(decide(None), Decision::Pass);
}

#[test]
fn nothing_pays_nothing() {
    assert_eq!(of(0, &[10], r#"{"absolute":"1"}"#), Decision::Pass);
    assert_eq!(of(1, &[10], r#"{"absolute":"1"}"#), Decision::Pay(0));
    assert_eq!(of(1, &[], r#"{"absolute":"1"}"#), Decision::Pass);
}

#[test]
fn of_several_only_the_closest_pays() {
    assert_eq!(of(9_950, &[10_000, 20_000], PERCENT), Decision::Pay(0));
    assert_eq!(of(9_950, &[10_000, 9_960, 10_001], PERCENT), Decision::Pay(1));
    assert_eq!(of(10_000, &[10_001, 10_000, 9_999], PERCENT), Decision::Pay(1));
    for open in [[10_000, 10_000, 10_001], [9_999, 10_001, 10_002]] {
        let Decision::Review(why) = of(10_000, &open, PERCENT) else { panic!() };
        assert_eq!(why, "2 open invoices are equally close to the amount");
    }
}

#[test]
fn settings_that_are_no_tolerance_are_told() {
    let told = |settings: &str, decimals| {
        let decision = decide(&transfer(Some(1)), &[], &context(settings, decimals));
        decision.unwrap_err().0
    };
    for percent in ["", "-1", "10.0001", "11", "1.00001", "1e1", "1,5", "ten", &"9".repeat(100)] {
        let why = told(&format!(r#"{{"percent":"{percent}"}}"#), 6);
        assert!(why.starts_with("percent is a decimal from 0 to 10"), "{why}");
    }
    for absolute in ["", "-1", "0.0000001", "1e1", "340282366920938463463374607431768211455.1"] {
        let why = told(&format!(r#"{{"absolute":"{absolute}"}}"#), 6);
        assert!(why.starts_with("absolute is a decimal, with at most 6 digits"), "{why}");
    }
    told(r#"{"absolute":"1"}"#, 255);
    for settings in ["", "null7", r#"{"percent":1.5}"#, r#"{"absolute":1}"#] {
        told(settings, 6);
    }
}

/// Amounts near each other, and amounts whose sums and products overflow.
fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![
        0..50u128,
        1_000_000..1_100_000u128,
        any::<u128>(),
        (0..9u128).prop_map(|less| u128::MAX - less)
    ]
}

proptest! {
    #[test]
    fn only_what_is_in_tolerance_is_paid(
        paid in amount(),
        open in prop::collection::vec((amount(), amount()), 0..12),
        percent in 0..=100_000u32,
        absolute in prop_oneof![0..100u128, any::<u128>()],
    ) {
        // Four decimals of a percentage, and no decimals of the asset: base units.
        let percent_text = format!("{}.{:04}", percent / 10_000, percent % 10_000);
        let settings = format!(r#"{{"percent":"{percent_text}","absolute":"{absolute}"}}"#);
        let candidates: Vec<_> = open.iter().map(|(due, received)| candidate(*due, *received)).collect();
        // Division instead of multiplication, where the product would not fit.
        let near = |open: u128| {
            let distance = paid.abs_diff(open);
            let in_share = match open.checked_mul(percent.into()) {
                Some(product) => distance <= product / 1_000_000,
                None => distance / u128::from(percent) <= open / 1_000_000,
            };
            paid > 0 && open > 0 && (in_share || distance <= absolute)
        };
        let distances: Vec<_> = open
            .iter()
            .map(|(due, received)| due.saturating_sub(*received))
            .map(|open| near(open).then(|| paid.abs_diff(open)))
            .collect();
        let least = distances.iter().flatten().min();
        let least_count = distances.iter().flatten().filter(|distance| Some(*distance) == least).count();
        match decide(&transfer(Some(paid)), &candidates, &context(&settings, 0)).unwrap() {
            Decision::Pay(index) => {
                prop_assert_eq!(distances[usize::try_from(index).unwrap()].as_ref(), least);
                prop_assert_eq!(least_count, 1);
            }
            Decision::Review(_) => prop_assert!(least_count > 1),
            Decision::Pass => prop_assert_eq!(least_count, 0),
            Decision::Split(parts) => panic!("{parts:?}"),
        }
    }
}
