//! Unique amounts: which suffix the next invoice of a price gets.
//!
//! A *ring* is one price on one address: the amounts `price + slot × unit` for the slots 1 to `slots`. The next
//! slot is found by stepping through the ring with a stride that visits every slot before it repeats one, so
//! that the slot free for longest comes first, and neighbours in time are not neighbours in amount. Random
//! probing would need a hundred tries when 99 % are taken; this needs one, since slots come free in about the
//! order in which they were given out.
//!
//! The database's unique index is the judge; what is here only proposes.

use super::money::Amount;

/// What an operator lets unique amounts look like for an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// The last decimal that the suffix may use. Wallets and exchanges cut off more than 6 to 8.
    pub decimals: u8,
    /// How many suffixes there are, from 1 unit of that decimal upwards.
    pub slots: u32,
}

/// Places in a ring, in the order in which they are given out.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    slots: u32,
    stride: u32,
    unit: u128,
}

impl Ring {
    /// `None` if the asset's decimals leave no room for a suffix.
    #[must_use]
    pub fn new(unique: Unique, asset_decimals: u8) -> Option<Self> {
        let below = asset_decimals.checked_sub(unique.decimals)?;
        let unit = 10u128.checked_pow(u32::from(below))?;
        if unique.slots == 0 {
            return None;
        }
        // The golden section spreads neighbours far apart; the next coprime makes the period full.
        let mut stride = u32::try_from(u64::from(unique.slots) * 618 / 1000).unwrap_or(1).max(1);
        while gcd(stride, unique.slots) != 1 {
            stride += 1;
        }
        Some(Self { slots: unique.slots, stride, unit })
    }

    #[must_use]
    pub fn slots(self) -> u32 {
        self.slots
    }

    /// The place after `place`. Places are 0 to `slots - 1`.
    #[must_use]
    pub fn next(self, place: u32) -> u32 {
        let sum = u64::from(place) + u64::from(self.stride);
        u32::try_from(sum % u64::from(self.slots)).unwrap_or(0)
    }

    /// What an invoice of this price is due when it has this place. `None` on overflow.
    #[must_use]
    pub fn due(self, price: Amount, place: u32) -> Option<Amount> {
        self.unit.checked_mul(u128::from(place) + 1).map(Amount).and_then(|suffix| price.checked_add(suffix))
    }

    /// The place that `due` gives this amount, if it is one of this ring.
    #[must_use]
    pub fn place(self, price: Amount, due: Amount) -> Option<u32> {
        let suffix = due.checked_sub(price)?.0;
        if suffix % self.unit != 0 {
            return None;
        }
        u32::try_from(suffix / self.unit).ok()?.checked_sub(1).filter(|place| *place < self.slots)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_asset_without_room_has_no_ring() {
        assert!(Ring::new(Unique { decimals: 6, slots: 9 }, 2).is_none());
        assert!(Ring::new(Unique { decimals: 6, slots: 0 }, 6).is_none());
    }

    #[test]
    fn the_suffix_stands_in_the_last_allowed_decimal() {
        let ring = Ring::new(Unique { decimals: 6, slots: 9999 }, 18).unwrap();
        let price = Amount::from_decimal("100", 18).unwrap();
        assert_eq!(ring.due(price, 122).unwrap().to_decimal(18), "100.000123");
    }

    proptest! {
        #[test]
        fn every_place_comes_once_before_any_comes_twice(slots in 1u32..3000, decimals in 6u8..18) {
            let ring = Ring::new(Unique { decimals: 6, slots }, decimals).unwrap();
            let mut seen = std::collections::HashSet::new();
            let mut place = 0;
            for _ in 0..slots {
                place = ring.next(place);
                prop_assert!(place < slots);
                prop_assert!(seen.insert(place));
                let due = ring.due(Amount(5), place).unwrap();
                prop_assert_eq!(ring.place(Amount(5), due), Some(place));
            }
        }
    }
}
