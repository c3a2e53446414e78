//! Balances: what an address holds more than the transfers that were seen explain. Pure.

use super::{
    Millis,
    id::{AddressId, MerchantId},
    money::Amount,
};

/// An address whose balance is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub address_id: AddressId,
    pub address: String,
    pub merchant_id: MerchantId,
    /// True if the address belongs to one invoice alone.
    pub own: bool,
    /// Block at which it was last looked at, or at which it is to be looked at first.
    pub height: i64,
    /// Balance at that block, in base units. `None` before the first look.
    pub amount: Option<Amount>,
    /// Payments are expected until the chain's time is past this.
    pub until: Millis,
}

/// A transfer that was seen, reduced to what the comparison of balances needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub address_id: AddressId,
    pub height: i64,
    /// `None` if it exceeds 128 bits.
    pub amount: Option<Amount>,
}

/// The part of a balance's rise that no transfer explains: the balance at block `to`, less `base` (the balance at block
/// `watched.height`) and less what arrived in between. Spending hides an equal amount, so the result may be too low,
/// never too high. `None` if nothing is unexplained.
#[must_use]
pub fn unexplained(
    watched: &Watched,
    base: Amount,
    to: i64,
    held: Amount,
    arrived: &[Arrived],
) -> Option<Amount> {
    let between = |one: &&Arrived| {
        one.address_id == watched.address_id && watched.height < one.height && one.height <= to
    };
    let explained = arrived
        .iter()
        .filter(between)
        .fold(base.0, |sum, one| sum.saturating_add(one.amount.map_or(u128::MAX, |amount| amount.0)));
    held.0.checked_sub(explained).filter(|rise| *rise > 0).map(Amount)
}

/// The name that stands in place of the transaction's hash for a rise. No chain's hash has this shape.
#[must_use]
pub fn rise_name(address: &str, height: i64) -> String {
    format!("rise:{address}:{height}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watched() -> Watched {
        Watched {
            address_id: "adr".into(),
            address: "0xa".to_owned(),
            merchant_id: "mer".into(),
            own: false,
            height: 10,
            amount: Some(Amount(100)),
            until: 0,
        }
    }

    fn arrived(address_id: &AddressId, height: i64, amount: u128) -> Arrived {
        Arrived { address_id: address_id.clone(), height, amount: Some(Amount(amount)) }
    }

    fn rise(held: u128, arrived: &[Arrived]) -> Option<u128> {
        unexplained(&watched(), Amount(100), 20, Amount(held), arrived).map(|amount| amount.0)
    }

    #[test]
    fn what_was_seen_explains_what_is_there() {
        assert_eq!(rise(100, &[]), None);
        assert_eq!(rise(107, &[]), Some(7));
        assert_eq!(rise(107, &[arrived(&"adr".into(), 11, 3), arrived(&"adr".into(), 20, 4)]), None);
        assert_eq!(rise(109, &[arrived(&"adr".into(), 11, 3), arrived(&"adr".into(), 20, 4)]), Some(2));
        // Before, afterwards, elsewhere.
        assert_eq!(
            rise(
                107,
                &[
                    arrived(&"adr".into(), 10, 3),
                    arrived(&"adr".into(), 21, 3),
                    arrived(&"adr2".into(), 15, 3)
                ]
            ),
            Some(7)
        );
        // Something was spent.
        assert_eq!(rise(99, &[]), None);
        assert_eq!(rise(105, &[arrived(&"adr".into(), 15, 50)]), None);
        let uncountable = Arrived { amount: None, ..arrived(&"adr".into(), 15, 0) };
        assert_eq!(rise(u128::MAX, &[uncountable]), None);
    }

    proptest! {
        #[test]
        fn never_more_than_what_nobody_saw(seen in 0..u128::MAX / 4, unseen in 0..u128::MAX / 4, spent in 0..u128::MAX / 4) {
            let came = 100 + seen + unseen;
            let found = rise(came - spent.min(came), &[arrived(&"adr".into(), 12, seen)]).unwrap_or(0);
            prop_assert!(found <= unseen);
            prop_assert!(spent > 0 || found == unseen);
        }
    }
}
