//! Unique amounts: which suffix the next invoice of a price gets.
//!
//! A *ring* is one price on one address: the amounts `price + slot × unit` for the slots 1 to `slots`. Slots are given
//! out by a count that only goes up and is kept in the database: the count's position is found by stepping through the
//! ring with a stride that visits every slot before it repeats one. So the amount that was asked for longest ago comes
//! first, neighbours in time are not neighbours in amount, and a count that begins where a random id says cannot be
//! guessed.
//!
//! The database's unique key is the judge; what is here only proposes.

use sha2::{Digest as _, Sha256};

use super::money::Amount;

/// The shape of an asset's unique amounts, set by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// The last decimal that the suffix may use. Wallets and exchanges cut off more than 6 to 8.
    pub decimals: u8,
    /// Number of suffixes, from 1 unit of that decimal upwards.
    pub slots: u32,
    /// Maximum share of a price that a suffix may be, in parts per 10,000. A small price has fewer suffixes, and none
    /// where not even one unit fits.
    #[serde(default = "share_bp")]
    pub share_bp: u16,
}

/// One percent: payers take it for a fee, not for another price.
fn share_bp() -> u16 {
    100
}

impl Unique {
    /// Amount that one slot adds, base units. `None` if the asset's decimals leave no room or the numbers make no ring.
    #[must_use]
    pub fn unit(self, asset_decimals: u8) -> Option<u128> {
        let below = asset_decimals.checked_sub(self.decimals)?;
        let usable = self.slots > 0 && (1..=10_000).contains(&self.share_bp);
        10u128.checked_pow(u32::from(below)).filter(|_| usable)
    }

    /// The power of ten above all suffixes, base units: amounts that differ by a multiple of it end in the same digits.
    /// An exchange's fee is such a multiple, or it changes the digits.
    #[must_use]
    pub fn step(self, asset_decimals: u8) -> Option<u128> {
        let digits = self.slots.checked_ilog10()? + 1;
        self.unit(asset_decimals)?.checked_mul(10u128.checked_pow(digits)?)
    }
}

/// The unique amounts of a price, in the order in which they are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    price: Amount,
    slots: u32,
    stride: u32,
    unit: u128,
}

impl Ring {
    /// Makes the ring of a price. `None` if no suffix fits the asset's decimals or the price.
    #[must_use]
    pub fn new(unique: Unique, asset_decimals: u8, price: Amount) -> Option<Self> {
        let unit = unique.unit(asset_decimals)?;
        let most = price.share(unique.share_bp).0;
        let slots = u32::try_from(most / unit).unwrap_or(u32::MAX).min(unique.slots);
        if slots == 0 {
            return None;
        }
        // The golden section spreads neighbours far apart; the next coprime makes the period full.
        let mut stride = u32::try_from(u64::from(slots) * 618 / 1000).unwrap_or(1).max(1);
        while gcd(stride, slots) != 1 {
            stride += 1;
        }
        Some(Self { price, slots, stride, unit })
    }

    #[must_use]
    pub fn slots(self) -> u32 {
        self.slots
    }

    /// Amount due of the invoice with this count; `None` on overflow.
    #[must_use]
    pub fn due(self, count: i64) -> Option<Amount> {
        let slots = u64::from(self.slots);
        let position = count.unsigned_abs() % slots * u64::from(self.stride) % slots;
        let suffix = self.unit.checked_mul(u128::from(position) + 1)?;
        self.price.checked_add(Amount(suffix))
    }

    /// The least and the largest amount of the ring.
    #[must_use]
    pub fn range(self) -> (Amount, Amount) {
        let last = self.unit.saturating_mul(u128::from(self.slots));
        (Amount(self.price.0.saturating_add(self.unit)), Amount(self.price.0.saturating_add(last)))
    }

    /// The first count of a ring with this name, the same in every life of a database: a life that has forgotten the
    /// ring leaps over it as it leaps over a known one. The name holds a random id, so that installations begin apart.
    #[must_use]
    pub fn begin(self, name: &str) -> i64 {
        i64::from(drawn_from(name) % self.slots.max(1))
    }

    /// Number of counts to skip where the stored count may be older than the amounts that payers were told: at least an
    /// eighth of the ring and, by `random`, up to a half. Two lives that began from one backup should not ask for the
    /// same amounts.
    #[must_use]
    pub fn leap(self, random: u32) -> i64 {
        let eighth = self.slots.div_ceil(8);
        i64::from(eighth) + i64::from(random % (3 * eighth).max(1))
    }
}

/// A number derived from a name: the same in every life of a database, and hard to guess if the name holds a random id.
#[must_use]
pub fn drawn_from(name: &str) -> u32 {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(name));
    u32::from_be_bytes([a, b, c, d])
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unique(decimals: u8, slots: u32) -> Unique {
        Unique { decimals, slots, share_bp: share_bp() }
    }

    #[test]
    fn an_asset_without_room_has_no_ring() {
        assert!(Ring::new(unique(6, 9), 2, Amount(1_000_000)).is_none());
        assert!(Ring::new(unique(6, 0), 6, Amount(1_000_000)).is_none());
        assert!(Ring::new(Unique { share_bp: 0, ..unique(6, 9) }, 6, Amount(1_000_000)).is_none());
    }

    #[test]
    fn a_step_leaves_every_suffix_as_it_is() {
        assert_eq!(unique(6, 9_999).step(6), Some(10_000));
        assert_eq!(unique(6, 10_000).step(6), Some(100_000));
        assert_eq!(unique(4, 9).step(6), Some(1_000));
        assert_eq!(unique(6, 0).step(6), None);
    }

    #[test]
    fn a_suffix_is_a_small_share_of_the_price() {
        let slots = |price: &str| {
            let price = Amount::from_decimal(price, 18).unwrap();
            Ring::new(unique(6, 9999), 18, price).map(Ring::slots)
        };
        assert_eq!(slots("100"), Some(9999));
        assert_eq!(slots("0.5"), Some(5000));
        assert_eq!(slots("0.0001"), Some(1));
        assert_eq!(slots("0.00009"), None);
        let all = Unique { decimals: 6, slots: u32::MAX, share_bp: 10_000 };
        assert_eq!(Ring::new(all, 18, Amount(u128::MAX)).map(Ring::slots), Some(u32::MAX));
    }

    #[test]
    fn the_suffix_stands_in_the_last_allowed_decimal() {
        let price = Amount::from_decimal("100", 18).unwrap();
        let ring = Ring::new(unique(6, 9999), 18, price).unwrap();
        assert_eq!(ring.due(0).unwrap().to_decimal(18), "100.000001");
        assert_eq!(ring.due(1).unwrap().to_decimal(18), "100.00618");
        assert_eq!(ring.due(9_998).unwrap().to_decimal(18), "100.003821");
    }

    proptest! {
        #[test]
        fn every_position_comes_once_before_any_comes_twice(
            slots in 1u32..3000, decimals in 6u8..18, from in 0i64..1 << 40,
        ) {
            let price = Amount(10u128.pow(u32::from(decimals)));
            let ring = Ring::new(unique(6, slots), decimals, price).unwrap();
            let (least, largest) = ring.range();
            let mut seen = std::collections::HashSet::new();
            for count in from..from + i64::from(slots) {
                let due = ring.due(count).unwrap();
                prop_assert!(least <= due && due <= largest && seen.insert(due));
            }
            prop_assert_eq!(ring.due(from), ring.due(from + i64::from(slots)));
        }

        #[test]
        fn a_leap_passes_an_eighth_and_at_most_a_half(slots in 8u32..100_000, random in any::<u32>()) {
            let ring = Ring::new(Unique { decimals: 6, slots, share_bp: 10_000 }, 6, Amount(u128::MAX / 4)).unwrap();
            let leap = ring.leap(random);
            prop_assert!(leap >= i64::from(slots / 8) && leap <= i64::from(slots / 2) + 4);
        }
    }
}
