use super::*;
use kassa_sdk::types::Memo;
use proptest::prelude::*;
use std::collections::HashSet;

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

fn candidate(due: u128, received: u128, created_ms: u64, tag: &str) -> Candidate {
    Candidate {
        due: due.into(),
        received: received.into(),
        created_ms,
        expires_ms: u64::MAX,
        tag: tag.into(),
        order_id: String::new(),
        more: None,
    }
}

fn context(settings: &str) -> Context {
    Context {
        network: "sandbox".into(),
        asset: "USDT".into(),
        decimals: 6,
        now_ms: 1_800_000_000_000,
        settings: settings.into(),
        more: Vec::new(),
    }
}

fn of(amount: u128, candidates: &[Candidate], settings: &str) -> Decision {
    decide(&transfer(Some(amount)), candidates, &context(settings)).unwrap()
}

fn parts(list: &[(u32, u128)]) -> Decision {
    Decision::Split(list.iter().map(|(candidate, amount)| part(*candidate, *amount)).collect())
}

fn part(candidate: u32, amount: u128) -> Part {
    Part { candidate, amount: amount.into() }
}

const PARTIAL: &str = r#"{"partial":true}"#;

#[test]
fn the_oldest_are_paid_first() {
    let open =
        [candidate(50, 0, 3, ""), candidate(30, 10, 1, ""), candidate(40, 0, 2, ""), candidate(5, 0, 2, "")];
    assert_eq!(of(20, &open, "{}"), Decision::Pay(1));
    assert_eq!(of(60, &open, "{}"), parts(&[(1, 20), (2, 40)]));
    assert_eq!(of(65, &open, "{}"), parts(&[(1, 20), (2, 40), (3, 5)]));
    assert_eq!(of(115, &open, "{}"), parts(&[(1, 20), (2, 40), (3, 5), (0, 50)]));
    // What is left stays in review, also where it would pay a later invoice.
    assert_eq!(of(25, &open, "{}"), parts(&[(1, 20)]));
    assert_eq!(of(1_000, &open, PARTIAL), parts(&[(1, 20), (2, 40), (3, 5), (0, 50)]));
}

#[test]
fn the_last_is_paid_partly_only_if_the_merchant_wants_it() {
    let open = [candidate(20, 0, 1, ""), candidate(40, 0, 2, ""), candidate(40, 0, 3, "")];
    assert_eq!(of(59, &open, "{}"), parts(&[(0, 20)]));
    assert_eq!(of(59, &open, r#"{"partial":false}"#), parts(&[(0, 20)]));
    assert_eq!(of(59, &open, PARTIAL), parts(&[(0, 20), (1, 39)]));
    assert_eq!(of(20, &open, PARTIAL), Decision::Pay(0));
}

#[test]
fn what_pays_nothing_in_full_is_left_to_the_policy() {
    let open = [candidate(20, 0, 1, ""), candidate(5, 0, 2, "")];
    for settings in ["{}", PARTIAL] {
        assert_eq!(of(19, &open, settings), Decision::Pass);
        assert_eq!(of(0, &open, settings), Decision::Pass);
        assert_eq!(of(19, &[], settings), Decision::Pass);
        assert_eq!(decide(&transfer(None), &open, &context(settings)), Ok(Decision::Pass));
    }
}

#[test]
fn what_waits_for_nothing_gets_nothing() {
    let open =
        [candidate(20, 20, 1, ""), candidate(20, 90, 2, ""), candidate(0, 0, 3, ""), candidate(20, 0, 4, "")];
    assert_eq!(of(20, &open, "{}"), Decision::Pay(3));
}

#[test]
fn a_tag_chooses() {
    let open = [candidate(20, 0, 1, "rent"), candidate(20, 0, 2, ""), candidate(20, 0, 3, "rent")];
    assert_eq!(of(40, &open, r#"{"tag":"rent"}"#), parts(&[(0, 20), (2, 20)]));
    assert_eq!(of(40, &open, r#"{"tag":"other"}"#), Decision::Pass);
    assert_eq!(of(40, &open, r#"{"tag":null}"#), parts(&[(0, 20), (1, 20)]));
}

#[test]
fn settings_that_cannot_be_read_are_told() {
    for settings in ["", "[]x", r#"{"partial":"yes"}"#, r#"{"tag":7}"#] {
        decide(&transfer(Some(1)), &[], &context(settings)).unwrap_err();
    }
}

/// Amounts for which sums match, and for which they overflow.
fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![0..20u128, any::<u128>(), Just(u128::MAX), Just(u128::MAX - 1)]
}

proptest! {
    #[test]
    fn no_more_is_given_than_there_is_or_than_is_open(
        paid in amount(),
        open in prop::collection::vec((amount(), amount(), 0..4u64, 0..2u8), 0..12),
        partial: bool,
        tagged: bool,
    ) {
        let tag = |which: u8| if which == 0 { "a" } else { "b" };
        let open: Vec<_> =
            open.into_iter().map(|(due, received, at, which)| candidate(due, received, at, tag(which))).collect();
        let tag = if tagged { r#""a""# } else { "null" };
        let settings = format!(r#"{{"partial":{partial},"tag":{tag}}}"#);
        let list = match of(paid, &open, &settings) {
            Decision::Pay(candidate) => vec![part(candidate, paid)],
            Decision::Split(list) => list,
            Decision::Pass => Vec::new(),
            Decision::Review(why) => panic!("{why}"),
        };
        let mut rest = paid;
        let mut order = (0, 0);
        let mut seen = HashSet::new();
        for (index, part) in list.iter().enumerate() {
            let candidate = &open[usize::try_from(part.candidate).unwrap()];
            let (given, wanted) = (u128::from(part.amount), wanted(candidate));
            prop_assert!(given > 0 && given <= wanted && given <= rest);
            prop_assert!(given == wanted || (partial && index > 0 && index + 1 == list.len() && given == rest));
            prop_assert!(!tagged || candidate.tag == "a");
            prop_assert!(seen.insert(part.candidate));
            prop_assert!(index == 0 || order < (candidate.created_ms, part.candidate));
            order = (candidate.created_ms, part.candidate);
            rest -= given;
        }
        // The oldest invoice that got nothing could not have been paid in full.
        let left = (0u32..).zip(&open).filter(|(index, _)| !seen.contains(index));
        let left = left.filter(|(_, candidate)| wanted(candidate) > 0 && (!tagged || candidate.tag == "a"));
        if let Some((_, next)) = left.min_by_key(|(index, candidate)| (candidate.created_ms, *index)) {
            prop_assert!(rest < wanted(next));
        }
    }
}
