use super::*;
use crate::{domain::id::MerchantId, flow::deliver::attempt::due_for_test};

fn lanes(concurrency: usize, per_endpoint: usize) -> Lanes {
    Lanes::new(Limits { concurrency, per_endpoint })
}

/// Adds deliveries to an endpoint, which has a merchant of its own.
fn add(lanes: &mut Lanes, endpoint: &str, failures: u32, count: usize) {
    add_of(lanes, &format!("owner of {endpoint}").as_str().into(), endpoint, failures, count);
}

fn add_of(lanes: &mut Lanes, merchant: &MerchantId, endpoint: &str, failures: u32, count: usize) {
    let dues: Vec<_> = (0..count).map(|_| due_for_test(&endpoint.into(), merchant)).collect();
    let target = dues[0].target.clone();
    lanes.add(&target, failures, true, dues);
}

fn next(lanes: &mut Lanes) -> Option<String> {
    lanes.next().map(|due| due.target.endpoint_id.to_string())
}

fn ended(lanes: &mut Lanes, endpoint: &str, delivered: bool) -> bool {
    lanes.ended(&endpoint.into(), Went::of(delivered, 0))
}

/// Ends a delivery slowly.
fn ended_slowly(lanes: &mut Lanes, endpoint: &str) {
    lanes.ended(&endpoint.into(), Went::of(true, SLOW_MS + 1));
}

#[test]
fn endpoints_take_turns_within_their_windows() {
    let mut lanes = lanes(100, 8);
    add(&mut lanes, "a", 0, 10);
    add(&mut lanes, "b", 0, 10);
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order, ["a", "b", "a", "b"]);
    ended(&mut lanes, "a", true);
    let order: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(order, ["a", "a"], "the window has grown by one");
    ended(&mut lanes, "a", false);
    lanes.written(&"a".into());
    assert_eq!(next(&mut lanes), None, "and has fallen to one");
    ended(&mut lanes, "a", false);
    assert_eq!(next(&mut lanes), None, "it rests until the failure is written down");
    lanes.written(&"a".into());
    assert_eq!(next(&mut lanes).as_deref(), None, "another is still under way");
    ended(&mut lanes, "a", true);
    assert_eq!(next(&mut lanes).as_deref(), Some("a"));
}

#[test]
fn a_window_grows_to_what_is_configured_and_then_claims_ahead() {
    let mut lanes = lanes(100, 4);
    add(&mut lanes, "a", 0, 100);
    for _ in 0..20 {
        assert!(next(&mut lanes).is_some());
        ended(&mut lanes, "a", true);
    }
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 4);
    assert_eq!(lanes.allowance().of(&"a".into(), 0), 0, "80 are held");
    lanes.withdraw(&"a".into());
    assert_eq!(lanes.allowance().of(&"a".into(), 0), 4 * AHEAD - 4);
    assert_eq!(lanes.allowance().of(&"new".into(), 0), FIRST_WINDOW);
    assert_eq!(lanes.allowance().of(&"new".into(), 3), 1);
}

#[test]
fn those_that_failed_hold_half_of_the_places_at_most() {
    let mut lanes = lanes(10, 8);
    for i in 0..50 {
        add(&mut lanes, &format!("dead{i}"), 3, 1);
    }
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 5);
    add(&mut lanes, "alive", 0, 100);
    let mut sent = 0;
    while sent < 100 {
        assert_eq!(next(&mut lanes).as_deref(), Some("alive"));
        ended(&mut lanes, "alive", true);
        sent += 1;
    }
    assert_eq!(next(&mut lanes), None);
    ended(&mut lanes, "dead0", false);
    lanes.written(&"dead0".into());
    assert!(next(&mut lanes).unwrap().starts_with("dead"));
}

#[test]
fn those_that_take_their_time_hold_half_of_the_places_at_most() {
    let mut lanes = lanes(16, 4);
    for i in 0..20 {
        add(&mut lanes, &format!("slow{i}"), 0, 100);
    }
    // Of nobody is anything known yet.
    let first: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    assert_eq!(first.len(), 16);
    for endpoint in &first {
        ended_slowly(&mut lanes, endpoint);
    }
    let second: Vec<_> = std::iter::from_fn(|| next(&mut lanes)).collect();
    for endpoint in &second {
        ended_slowly(&mut lanes, endpoint);
    }
    // Their windows grow as those of any, but all together they have half of the places.
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 8);
    add(&mut lanes, "quick", 0, 100);
    assert_eq!(next(&mut lanes).as_deref(), Some("quick"));
    assert_eq!(next(&mut lanes).as_deref(), Some("quick"));
    assert_eq!(next(&mut lanes), None, "its window is as of any");
}

#[test]
fn a_merchant_has_a_quarter_of_the_places_once_half_of_all_are_taken() {
    let mut lanes = lanes(16, 4);
    for i in 0..20 {
        add_of(&mut lanes, &"many".into(), &format!("m{i}"), 0, 10);
    }
    // Alone it has half of them.
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 8);
    for i in 0..4 {
        add_of(&mut lanes, &"more".into(), &format!("n{i}"), 0, 10);
    }
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 4);
    add_of(&mut lanes, &"one".into(), "o", 0, 1);
    assert_eq!(next(&mut lanes).as_deref(), Some("o"));
    assert_eq!(next(&mut lanes), None);
    // What ends of the one with more than its share is somebody else's.
    for i in 0..4 {
        lanes.dropped(&format!("m{i}").as_str().into());
    }
    assert_eq!(next(&mut lanes), None);
    lanes.dropped(&"m4".into());
    assert!(next(&mut lanes).unwrap().starts_with('m'));
}

#[test]
fn the_whole_keeps_to_its_concurrency_and_its_room() {
    let mut lanes = lanes(6, 8);
    for i in 0..10 {
        add(&mut lanes, &format!("e{i}"), 0, 4);
    }
    assert_eq!(lanes.room(), 6 * AHEAD - 40);
    assert_eq!(std::iter::from_fn(|| next(&mut lanes)).count(), 6);
    ended(&mut lanes, "e0", true);
    assert!(next(&mut lanes).is_some());
    assert_eq!(next(&mut lanes), None);
    assert_eq!(lanes.withdraw_all().len(), 40 - 7);
}

#[test]
fn a_lane_asks_for_more_until_there_is_no_more() {
    let mut lanes = lanes(10, 8);
    add(&mut lanes, "a", 0, 2);
    while next(&mut lanes).is_some() {}
    assert!(ended(&mut lanes, "a", true));
    let allowance = lanes.allowance();
    lanes.looked(|_| false, &allowance);
    assert!(!ended(&mut lanes, "a", true));
    let allowance = lanes.allowance();
    lanes.looked(|_| false, &allowance);
    assert!(lanes.lanes.is_empty());
}

#[test]
fn a_place_that_was_not_used_is_free_again() {
    let mut lanes = lanes(1, 1);
    add(&mut lanes, "a", 1, 2);
    assert!(next(&mut lanes).is_some());
    lanes.dropped(&"a".into());
    assert!(next(&mut lanes).is_some());
    assert_eq!((lanes.sending, lanes.suspects_sending, lanes.waiting), (1, 1, 0));
}
