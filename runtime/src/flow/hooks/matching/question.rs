//! The question to a matcher: the choice of invoices that it is offered, and the check of its decision.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    db::{
        DbError,
        hooks::{candidates, match_queue::DueMatch},
        transfers,
    },
    domain::{
        Millis,
        id::InvoiceId,
        invoice::Invoice,
        matching::{self, Candidate, Decision},
        money::Amount,
        settlement::{MatcherAnswer, Share},
        transfer::Status,
        verbatim::Verbatim,
    },
    host::{Memo, PluginTransfer, matcher},
};

/// Maximum number of invoices offered.
const OFFERED_MAX: usize = 100;
/// Number of offers kept for invoices on either side of the amount, even if others are nearer.
const EACH_SIDE: usize = OFFERED_MAX / 2;

/// A candidate was chosen that was not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it chose candidate {chosen}, but was offered {offered} (from 0)")]
pub(super) struct NoCandidate {
    chosen: u32,
    offered: usize,
}

/// A question to a matcher, as it is stored: the transfer, the invoices offered, and their context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    network: String,
    asset: String,
    decimals: u8,
    /// Index in the network's list of assets.
    asset_index: u32,
    tx_hash: String,
    ordinal: u32,
    sender: Option<String>,
    address: String,
    amount: Amount,
    memo: Option<String>,
    memo_problem: Option<String>,
    height: u64,
    at: Millis,
    /// Settings of the hook at the time of the question.
    settings: Verbatim,
    /// The oldest first.
    offers: Vec<Offer>,
}

/// An invoice that is offered. The matcher does not learn its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Offer {
    invoice_id: InvoiceId,
    due: Amount,
    received: Amount,
    created_at: Millis,
    expires_at: Millis,
    tag: Option<String>,
    order_id: Option<String>,
}

impl From<Invoice> for Offer {
    fn from(invoice: Invoice) -> Self {
        Self {
            invoice_id: invoice.id,
            due: invoice.due,
            // `Invoice::credited` and `pending` were checked to fit together when each payment was taken.
            received: Amount(invoice.credited.0.saturating_add(invoice.pending.0)),
            created_at: invoice.created_at,
            expires_at: invoice.expires_at,
            tag: invoice.tag,
            order_id: invoice.order_id,
        }
    }
}

/// The question about a claimed transfer. `None` if it is no longer on chain or no invoice can be offered.
pub(super) async fn about(
    app: &App,
    claimed: &DueMatch,
    settings: &Verbatim,
    at: Millis,
) -> Result<Option<Question>, DbError> {
    let mut conn = app.db.read().await?;
    let found = transfers::by_ids(&mut conn, std::slice::from_ref(&claimed.transfer_id)).await?;
    let Some(transfer) = found.into_iter().find(|transfer| transfer.status != Status::Retracted) else {
        return Ok(None);
    };
    let Some(amount) = transfer.amount else { return Ok(None) };
    let near = candidates::near(&mut conn, &transfer, &claimed.tenant, amount).await?;
    let seen = matching::Transfer::from(&transfer);
    let may_pay = |invoice: &Invoice| {
        invoice.tenant == claimed.tenant
            && claimed.binding.offers(invoice.tag.as_deref())
            && matches!(matching::decide(&seen, Some(&Candidate::from(invoice))), Decision::Pay { .. })
    };
    let offered = choose(near.into_iter().filter(may_pay).collect(), amount);
    let Some(first) = offered.first() else { return Ok(None) };
    let asset_index = app.networks.get(&transfer.network).and_then(|network| {
        network.assets.iter().position(|asset| asset.id(&network.name) == transfer.asset_id)
    });
    Ok(Some(Question {
        asset: first.symbol.clone(),
        decimals: first.decimals,
        asset_index: asset_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
        address: first.address.clone(),
        network: transfer.network,
        tx_hash: transfer.tx,
        ordinal: u32::try_from(transfer.ordinal).unwrap_or(0),
        sender: transfer.sender,
        amount,
        memo: transfer.memo,
        memo_problem: transfer.memo_problem,
        height: u64::try_from(transfer.height).unwrap_or(0),
        at,
        settings: settings.clone(),
        offers: offered.into_iter().map(Offer::from).collect(),
    }))
}

/// Chooses the invoices to offer, oldest first, from candidates sorted by nearness.
fn choose(near: Vec<Invoice>, amount: Amount) -> Vec<Invoice> {
    let (mut above, mut others, mut below) = (Vec::new(), Vec::new(), Vec::new());
    for invoice in near {
        let side = if invoice.due > amount { &mut above } else { &mut below };
        if side.len() < EACH_SIDE { side.push(invoice) } else { others.push(invoice) }
    }
    above.append(&mut below);
    let left = OFFERED_MAX.saturating_sub(above.len());
    above.extend(others.into_iter().take(left));
    above.sort_by(|a, b| a.id.cmp(&b.id));
    above
}

impl Question {
    /// The same question with other settings.
    pub(super) fn with_settings(self, settings: Verbatim) -> Self {
        Self { settings, ..self }
    }

    /// The transfer in the interface's types.
    pub(super) fn transfer(&self) -> PluginTransfer {
        PluginTransfer {
            tx: self.tx_hash.clone(),
            ordinal: self.ordinal,
            asset: self.asset_index,
            sender: self.sender.clone(),
            recipient: self.address.clone(),
            amount: Some(self.amount.into()),
            memo: match (&self.memo, &self.memo_problem) {
                (Some(text), _) => Memo::Text(text.clone()),
                (None, Some(why)) => Memo::Unreadable(why.clone()),
                (None, None) => Memo::None,
            },
            height: self.height,
            more: Vec::new(),
        }
    }

    /// The offers in the interface's types.
    pub(super) fn candidates(&self) -> Vec<matcher::Candidate> {
        let ms = |at: Millis| u64::try_from(at).unwrap_or(0);
        self.offers
            .iter()
            .map(|offer| matcher::Candidate {
                due: offer.due.into(),
                received: offer.received.into(),
                created_ms: ms(offer.created_at),
                expires_ms: ms(offer.expires_at),
                tag: offer.tag.clone().unwrap_or_default(),
                order_id: offer.order_id.clone().unwrap_or_default(),
                more: None,
            })
            .collect()
    }

    pub(super) fn context(&self) -> matcher::Context {
        matcher::Context {
            network: self.network.clone(),
            asset: self.asset.clone(),
            decimals: self.decimals,
            now_ms: u64::try_from(self.at).unwrap_or(0),
            settings: self.settings.text().to_owned(),
            more: Vec::new(),
        }
    }

    /// Checks a decision and converts it.
    pub(super) fn check(&self, decision: matcher::Decision) -> Result<MatcherAnswer, NoCandidate> {
        let share = |index: u32, amount| {
            let offer = usize::try_from(index).ok().and_then(|index| self.offers.get(index));
            let offer = offer.ok_or(NoCandidate { chosen: index, offered: self.offers.len() })?;
            Ok::<_, NoCandidate>(Share { invoice_id: offer.invoice_id.clone(), amount })
        };
        Ok(match decision {
            matcher::Decision::Pay(index) => MatcherAnswer::Pay(vec![share(index, self.amount)?]),
            matcher::Decision::Split(parts) => {
                let parts = parts.into_iter().map(|part| share(part.candidate, part.amount.into()));
                MatcherAnswer::Pay(parts.collect::<Result<_, _>>()?)
            }
            matcher::Decision::Review(_) => MatcherAnswer::Review,
            matcher::Decision::Pass => MatcherAnswer::Pass,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(offers: usize) -> Question {
        let offer = |number: usize| Offer {
            invoice_id: format!("inv_{number}").as_str().into(),
            due: Amount(5),
            received: Amount::ZERO,
            created_at: 0,
            expires_at: 0,
            tag: None,
            order_id: None,
        };
        Question {
            network: "base".to_owned(),
            asset: "USDC".to_owned(),
            decimals: 6,
            asset_index: 0,
            tx_hash: "0x1".to_owned(),
            ordinal: 0,
            sender: None,
            address: "0xa".to_owned(),
            amount: Amount(10),
            memo: None,
            memo_problem: None,
            height: 1,
            at: 0,
            settings: Verbatim::of(&()),
            offers: (0..offers).map(offer).collect(),
        }
    }

    fn part(candidate: u32, amount: u128) -> matcher::Part {
        matcher::Part { candidate, amount: Amount(amount).into() }
    }

    #[test]
    fn a_decision_names_what_was_offered() {
        let question = question(2);
        let share = |id: &str, amount| Share { invoice_id: id.into(), amount: Amount(amount) };
        assert_eq!(
            question.check(matcher::Decision::Pay(1)),
            Ok(MatcherAnswer::Pay(vec![share("inv_1", 10)]))
        );
        let split = matcher::Decision::Split(vec![part(0, 4), part(1, 5)]);
        assert_eq!(question.check(split), Ok(MatcherAnswer::Pay(vec![share("inv_0", 4), share("inv_1", 5)])));
        assert!(question.check(matcher::Decision::Pay(2)).unwrap_err().to_string().contains("was offered 2"));
        assert!(question.check(matcher::Decision::Split(vec![part(u32::MAX, 1)])).is_err());
        assert_eq!(question.check(matcher::Decision::Review("?".to_owned())), Ok(MatcherAnswer::Review));
        assert_eq!(question.check(matcher::Decision::Pass), Ok(MatcherAnswer::Pass));
    }
}
