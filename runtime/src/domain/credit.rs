//! When a transfer is credited: how deep it has to lie, which may depend on how much it is, and whether two providers have to
//! have seen it.
//!
//! A large payment is worth more to whoever can reorganise a chain, or answers for a provider. Small payments that belong
//! together are no way around that: what counts is all that the address holds at risk ([`counted`]).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    id::{AddressId, TransferId},
    money::Amount,
};

/// Maximum number of tiers of one asset.
const TIERS_MAX: usize = 10;

/// Depth at which a transfer is credited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Credit {
    /// At so many confirmations; its own block is the first.
    Confirmations(u32),
    /// As soon as the chain itself calls its block so.
    Tag(Tag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FinalityTag)]
pub enum Tag {
    Safe,
    Final,
}

/// Error of a network's or an asset's rules for crediting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    #[error("at least 1 confirmation, or \"safe\", or \"final\"")]
    NoConfirmation,
    #[error("from 1 to {TIERS_MAX} tiers")]
    Count,
    #[error("each tier but the last has `up_to`, the last has none")]
    Ends,
    #[error("up_to {text}: an amount of at most {decimals} decimals, as text")]
    Amount { text: String, decimals: u8 },
    #[error("each `up_to` is more than the one before")]
    Order,
    #[error("what is more is not credited sooner, nor on fewer words")]
    Sooner,
}

impl Credit {
    pub(super) fn check(self) -> Result<(), CreditError> {
        if self == Self::Confirmations(0) {
            return Err(CreditError::NoConfirmation);
        }
        Ok(())
    }

    /// True if this is known to come no later than `other`. The tag `safe` cannot be compared with confirmations.
    fn is_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::Confirmations(one), Self::Confirmations(other)) => one <= other,
            (Self::Tag(Tag::Final), Self::Tag(Tag::Safe) | Self::Confirmations(_)) => false,
            _ => true,
        }
    }
}

/// Depth at which transfers up to an amount are credited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreditTier)]
pub struct Tier {
    /// The largest amount that it is for, in whole coins. Only the last tier has none: it is for all that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "100")]
    pub up_to: Option<String>,
    pub at: Credit,
    /// True if a second, independent provider has to have seen the transfer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agreed: bool,
}

impl Tier {
    fn up_to(&self, decimals: u8) -> Option<Amount> {
        self.up_to.as_deref().and_then(|text| Amount::from_decimal(text, decimals).ok())
    }
}

/// The credit rule of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub at: Credit,
    pub agreed: bool,
}

/// The rule for an amount of an asset; `None` stands for more than 128 bits.
pub(super) fn rule(tiers: &[Tier], decimals: u8, amount: Option<Amount>) -> Option<Rule> {
    let fits = |tier: &&Tier| match (tier.up_to(decimals), amount) {
        (Some(up_to), Some(amount)) => amount <= up_to,
        (Some(_), None) => false,
        (None, _) => tier.up_to.is_none(),
    };
    let tier = tiers.iter().find(fits)?;
    Some(Rule { at: tier.at, agreed: tier.agreed })
}

/// Checks an asset's tiers. The error says what is wrong.
pub(super) fn check(tiers: &[Tier], decimals: u8) -> Result<(), CreditError> {
    if !(1..=TIERS_MAX).contains(&tiers.len()) {
        return Err(CreditError::Count);
    }
    let mut before: Option<(&Tier, Amount)> = None;
    for (index, tier) in tiers.iter().enumerate() {
        tier.at.check()?;
        let is_last = index + 1 == tiers.len();
        if is_last != tier.up_to.is_none() {
            return Err(CreditError::Ends);
        }
        let up_to = match (&tier.up_to, tier.up_to(decimals)) {
            (Some(text), None) => {
                return Err(CreditError::Amount { text: text.clone(), decimals });
            }
            (_, up_to) => up_to.unwrap_or(Amount(u128::MAX)),
        };
        if let Some((lower, most)) = before {
            if up_to <= most {
                return Err(CreditError::Order);
            }
            if !lower.at.is_before(tier.at) || (lower.agreed && !tier.agreed) {
                return Err(CreditError::Sooner);
            }
        }
        before = Some((tier, up_to));
    }
    Ok(())
}

/// A transfer that is on chain and not final yet.
#[derive(Debug, Clone)]
pub struct AtRisk {
    pub transfer_id: TransferId,
    pub asset_id: String,
    pub address_id: AddressId,
    /// True if payers of many invoices share the address and are told apart by memo or by amount.
    pub is_shared: bool,
    pub memo: Option<String>,
    /// `None` if it exceeds 128 bits.
    pub amount: Option<Amount>,
}

/// Amount that decides the rule of each transfer, by the transfer's id: the sum of all that is at risk of the same
/// asset for the same purpose. A purpose is an own address, or a memo of a shared one. Where only the amount tells
/// payments of a shared address apart, each transfer is a purpose of its own. `None` if a sum exceeds 128 bits.
#[must_use]
pub fn counted(all: &[AtRisk]) -> HashMap<&TransferId, Option<Amount>> {
    let purpose = |one: &AtRisk| {
        let own = one.is_shared && one.memo.is_none();
        let memo = if one.is_shared { one.memo.clone() } else { None };
        (one.asset_id.clone(), one.address_id.clone(), memo, own.then(|| one.transfer_id.clone()))
    };
    let mut sums: HashMap<_, Option<Amount>> = HashMap::new();
    for one in all {
        let sum = sums.entry(purpose(one)).or_insert(Some(Amount::ZERO));
        *sum = sum.zip(one.amount).and_then(|(sum, amount)| sum.checked_add(amount));
    }
    all.iter().map(|one| (&one.transfer_id, sums.get(&purpose(one)).copied().flatten())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(up_to: Option<&str>, at: Credit, agreed: bool) -> Tier {
        Tier { up_to: up_to.map(str::to_owned), at, agreed }
    }

    const AFTER_2: Credit = Credit::Confirmations(2);
    const FINAL: Credit = Credit::Tag(Tag::Final);
    const SAFE: Credit = Credit::Tag(Tag::Safe);

    #[test]
    fn the_first_tier_that_is_wide_enough_counts() {
        let tiers =
            [tier(Some("0.5"), AFTER_2, false), tier(Some("100"), SAFE, false), tier(None, FINAL, true)];
        assert_eq!(check(&tiers, 2), Ok(()));
        for (amount, at, agreed) in [
            (Some(1), AFTER_2, false),
            (Some(50), AFTER_2, false),
            (Some(51), SAFE, false),
            (Some(10_000), SAFE, false),
            (Some(10_001), FINAL, true),
            (Some(u128::MAX), FINAL, true),
            (None, FINAL, true),
        ] {
            assert_eq!(rule(&tiers, 2, amount.map(Amount)), Some(Rule { at, agreed }), "{amount:?}");
        }
    }

    #[test]
    fn tiers_that_do_not_rise_are_refused() {
        let last = tier(None, FINAL, false);
        for (tiers, why) in [
            (vec![], "from 1 to 10"),
            (vec![last.clone(); 11], "from 1 to 10"),
            (vec![tier(Some("1"), FINAL, false)], "the last has none"),
            (vec![last.clone(), last.clone()], "the last has none"),
            (vec![tier(Some("1.234"), AFTER_2, false), last.clone()], "at most 2 decimals"),
            (vec![tier(Some("a lot"), AFTER_2, false), last.clone()], "at most 2 decimals"),
            (vec![tier(Some("-1"), AFTER_2, false), last.clone()], "at most 2 decimals"),
            (vec![tier(Some("1"), Credit::Confirmations(0), false), last.clone()], "at least 1"),
            (vec![tier(Some("2"), AFTER_2, false), tier(Some("1"), FINAL, false), last.clone()], "more than"),
            (
                vec![tier(Some("2"), AFTER_2, false), tier(Some("2.00"), FINAL, false), last.clone()],
                "more than",
            ),
            (vec![tier(Some("1"), FINAL, false), tier(None, SAFE, false)], "not credited sooner"),
            (vec![tier(Some("1"), FINAL, false), tier(None, AFTER_2, false)], "not credited sooner"),
            (vec![tier(Some("1"), AFTER_2, false), tier(None, Credit::Confirmations(1), false)], "sooner"),
            (vec![tier(Some("1"), FINAL, true), last], "fewer words"),
        ] {
            let refused = check(&tiers, 2).unwrap_err().to_string();
            assert!(refused.contains(why), "{tiers:?}: {refused}");
        }
    }

    #[test]
    fn payments_for_one_purpose_count_together() {
        let one = |id: &str, address: &str, is_shared, memo: Option<&str>, amount: Option<u128>| AtRisk {
            transfer_id: id.into(),
            asset_id: "base:usdc".to_owned(),
            address_id: address.into(),
            is_shared,
            memo: memo.map(str::to_owned),
            amount: amount.map(Amount),
        };
        let mut all = vec![
            one("own 1", "own", false, None, Some(5)),
            one("own 2", "own", false, Some("x"), Some(6)),
            one("memo 1", "shared", true, Some("m"), Some(1)),
            one("memo 2", "shared", true, Some("m"), Some(2)),
            one("memo 3", "shared", true, Some("n"), Some(4)),
            one("amount 1", "shared", true, None, Some(10)),
            one("amount 2", "shared", true, None, Some(20)),
            one("huge 1", "other", false, None, Some(u128::MAX)),
            one("huge 2", "other", false, None, Some(1)),
            one("huge 3", "another", false, None, None),
        ];
        let coin = AtRisk { asset_id: "base:native".to_owned(), ..one("coin", "own", false, None, Some(9)) };
        all.push(coin);
        let counted = counted(&all);
        for (id, amount) in [
            ("own 1", Some(11)),
            ("own 2", Some(11)),
            ("memo 1", Some(3)),
            ("memo 2", Some(3)),
            ("memo 3", Some(4)),
            ("amount 1", Some(10)),
            ("amount 2", Some(20)),
            ("huge 1", None),
            ("huge 2", None),
            ("huge 3", None),
            ("coin", Some(9)),
        ] {
            assert_eq!(counted[&TransferId::from(id)], amount.map(Amount), "{id}");
        }
    }
}
