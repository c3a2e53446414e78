//! Invoicing: where invoices are made.
//!
//! An invoice on a shared address needs an amount (or a memo) that nobody else is asked for ([`amount_pool`]), one on an
//! address of its own the next child of a key ([`children`]); the database's unique keys decide, and what loses is
//! made again. What is to be written by requests that arrive at about the same time goes into one transaction
//! ([`batch`]), together with their Idempotency-Keys and answers. Its deadline counts by the chain's time
//! (`flow::chain_clock`).

mod amount_pool;
mod batch;
pub(crate) mod children;
mod error;
pub(crate) mod state;

use std::sync::Arc;

use amount_pool::Priced;
pub(crate) use batch::Claimant;
use children::ChildError;
pub(crate) use error::InvoicingError;

use crate::{
    app::App,
    db::{
        addresses::{self, ReceiveAddress},
        chain,
        idempotency::StoredAnswer,
    },
    domain::{
        id::InvoiceId,
        invoice::{Exception, Invoice, Matching, Status},
        matching::{amount_key, memo_key},
        money::Amount,
        network::Manifest,
        policy::Policy,
        slots::Ring,
        tenant::Tenant,
        verbatim::Verbatim,
    },
    host::MemoSupport,
};

/// Maximum number of proposals lost to others before an error.
const PROPOSALS_MAX: usize = 20;
/// Length of a memo in characters: 32^8 values are enough to be unique, and it is short enough to be typed.
const MEMO_LEN: usize = 8;

/// A merchant's request for an invoice.
#[derive(Debug, Clone)]
pub(crate) struct NewInvoice {
    pub(crate) tenant: Tenant,
    pub(crate) network: Arc<Manifest>,
    /// Index in the network's list of assets.
    pub(crate) asset: usize,
    pub(crate) asset_id: String,
    pub(crate) amount: Amount,
    pub(crate) currency: Option<String>,
    pub(crate) price: Option<String>,
    pub(crate) title: String,
    pub(crate) order_id: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) meta: Option<Verbatim>,
    /// `None`: the way that suits the network and the merchant's addresses.
    pub(crate) matching: Option<Matching>,
    pub(crate) policy: Policy,
    pub(crate) expires_in_s: i64,
}

/// Result of [`make`].
#[derive(Debug)]
pub(crate) enum Made {
    New(Box<Invoice>),
    /// The same request was answered before; this was the answer.
    Replay(StoredAnswer),
}

/// Makes an invoice, once for each claimant.
pub(crate) async fn make(
    app: &App,
    new: NewInvoice,
    claimant: Option<Claimant>,
) -> Result<Made, InvoicingError> {
    let (address, matching) = choose(app, &new).await?;
    let exhausted = || InvoicingError::AmountSpaceExhausted { network: new.network.name.clone() };
    for _ in 0..PROPOSALS_MAX {
        let draft = draft(app, &new, address.as_ref(), matching).await?;
        let (ring, due) = (draft.ring, draft.due);
        let verdict = app.invoicing.order(draft.written, claimant.clone()).await;
        let used = matches!(verdict, Ok(batch::Verdict::New(_) | batch::Verdict::HoldTaken));
        if let (false, Some(ring), Some(shared)) = (used, ring, &address) {
            app.invoicing.amounts.give_back(priced(shared, &new, ring), due).await;
        }
        match verdict? {
            batch::Verdict::New(invoice) => return Ok(Made::New(invoice)),
            batch::Verdict::Replay(stored) => return Ok(Made::Replay(stored)),
            batch::Verdict::OrderIdTaken { invoice_id } => {
                return Err(InvoicingError::OrderIdTaken { invoice_id });
            }
            batch::Verdict::NotStarted => {
                return Err(InvoicingError::NotStarted { network: new.network.name.clone() });
            }
            // One amount alone, and it is taken.
            batch::Verdict::HoldTaken if matching == Matching::Amount && ring.is_none() => break,
            batch::Verdict::HoldTaken | batch::Verdict::AddressTaken => {}
        }
    }
    Err(if matching == Matching::Address { InvoicingError::NoFreeChild } else { exhausted() })
}

async fn draft(
    app: &App,
    new: &NewInvoice,
    shared: Option<&ReceiveAddress>,
    matching: Matching,
) -> Result<Draft, InvoicingError> {
    let network = &new.network;
    let asset = network.assets.get(new.asset).ok_or(InvoicingError::AmountTooLarge)?;
    let now = app.clock.now();
    let id = app.ids.next::<InvoiceId>(now);
    let (new_address, address_id, address) = match shared {
        Some(shared) => (None, shared.id.clone(), shared.address.clone()),
        None => {
            let own = own_address(app, new, now).await?;
            let (id, text) = (own.id.clone(), own.address.clone());
            (Some(own), id, text)
        }
    };
    let asset_id = asset.id(&network.name);
    let (mut memo, mut ring, mut due) = (None, None, new.amount);
    let key = match (matching, shared) {
        (Matching::Address, _) => None,
        (Matching::Memo, _) => {
            let text: String = id.as_str().chars().rev().take(MEMO_LEN).collect();
            Some(memo_key(&address_id, memo.insert(text)))
        }
        (Matching::Amount, shared) => {
            if shared.is_some() && !new.policy.works_by_amount(new.amount, asset) {
                let why = "under_tolerance_bp of so small an amount leaves no room for a fee that keeps the \
                               suffix's digits; ask for more, use memo or address, or set it to 0";
                return Err(InvoicingError::CannotMatch { by: "amount", why });
            }
            if let (Some(_), Some(shared)) = (asset.unique, shared) {
                let of_price = asset.ring(new.amount).ok_or(InvoicingError::AmountTooSmall)?;
                let taken =
                    app.invoicing.amounts.take(&app.db, &app.ids, priced(shared, new, of_price)).await?;
                due = taken
                    .ok_or_else(|| InvoicingError::AmountSpaceExhausted { network: network.name.clone() })?;
                ring = Some(of_price);
            }
            Some(amount_key(&address_id, &asset_id, due))
        }
    };
    let index = u32::try_from(new.asset).map_err(|_| InvoicingError::AmountTooLarge)?;
    let link = app.host.payment_link(network, &address, index, due, memo.as_deref()).await?;
    let compared = asset.contract.is_none() && app.host.compares(network).await?;
    let moment = app.chain_clock.moment(network);
    let expires_at = moment.at.saturating_add(new.expires_in_s.saturating_mul(1000));
    let invoice = Invoice {
        id,
        tenant: new.tenant.clone(),
        order_id: new.order_id.clone(),
        title: new.title.clone(),
        tag: new.tag.clone(),
        meta: new.meta.clone(),
        network: network.name.clone(),
        asset_id,
        symbol: asset.symbol.clone(),
        decimals: asset.decimals,
        address_id,
        address,
        matching,
        memo,
        currency: new.currency.clone(),
        price: new.price.clone(),
        amount: new.amount,
        due,
        status: Status::New,
        exception: Exception::None,
        pending: Amount::ZERO,
        credited: Amount::ZERO,
        marked: Amount::ZERO,
        sequence: 0,
        payment_uri: link.uri,
        policy: new.policy,
        sighted: 0,
        created_at: now,
        expires_at,
        held_until: expires_at.saturating_add(i64::from(new.policy.late_window_s) * 1000),
        pinned: moment.certain,
        expired_at: None,
        cancelled_at: None,
        paid_at: None,
    };
    Ok(Draft { written: batch::Draft { invoice, key, new_address, compared }, ring, due })
}

/// An invoice ready to be written, and the source of its amount.
struct Draft {
    written: batch::Draft,
    ring: Option<Ring>,
    due: Amount,
}

fn priced<'a>(shared: &'a ReceiveAddress, new: &'a NewInvoice, ring: Ring) -> Priced<'a> {
    Priced { address_id: &shared.id, asset_id: &new.asset_id, amount: new.amount, ring }
}

/// Chooses the address, and the way to tell the payment apart.
async fn choose(app: &App, new: &NewInvoice) -> Result<(Option<ReceiveAddress>, Matching), InvoicingError> {
    let network = &new.network;
    let mut conn = app.db.read().await?;
    if chain::standing(&mut conn, &network.name).await?.is_none() {
        return Err(InvoicingError::NotStarted { network: network.name.clone() });
    }
    let shared = addresses::shared_of(&mut conn, &new.tenant.merchant, &network.name).await?;
    let matching = match (new.matching, &shared) {
        (Some(matching), _) => matching,
        (None, None) => Matching::Address,
        (None, Some(_)) => {
            let usual = app.host.describe(network).await?.memo == MemoSupport::Usual;
            if usual { Matching::Memo } else { Matching::Amount }
        }
    };
    if matching == Matching::Address {
        let has_key =
            addresses::extended_key_of(&mut conn, &new.tenant.merchant, &network.name).await?.is_some();
        return if has_key {
            Ok((None, matching))
        } else {
            Err(InvoicingError::NoAddress { network: network.name.clone() })
        };
    }
    drop(conn);
    let description = app.host.describe(network).await?;
    if matching == Matching::Memo && description.memo == MemoSupport::No {
        return Err(InvoicingError::CannotMatch { by: "memo", why: "the network has none" });
    }
    let native = network.assets.get(new.asset).is_some_and(|asset| asset.contract.is_none());
    if matching == Matching::Amount && native && !description.exact_native_amounts {
        let why = "wallets may take the fee from the amount; use memo";
        return Err(InvoicingError::CannotMatch { by: "amount", why });
    }
    match shared {
        Some(shared) => Ok((Some(shared), matching)),
        None => Err(InvoicingError::NoAddress { network: network.name.clone() }),
    }
}

/// The next address of the merchant's extended key. Its index is used up even if the invoice is not made.
async fn own_address(app: &App, new: &NewInvoice, now: i64) -> Result<addresses::NewAddress, InvoicingError> {
    let child = children::next(app, &new.tenant.merchant, &new.network)
        .await
        .map_err(|error| of_child(error, &new.network))?;
    Ok(addresses::NewAddress {
        id: app.ids.next(now),
        merchant_id: new.tenant.merchant.clone(),
        network: new.network.name.clone(),
        address: child.text,
        key: child.key,
        kind: addresses::Kind::Invoice,
        unique_id: None,
        meta: None,
        derived_index: Some(child.index),
        created_at: now,
    })
}

fn of_child(error: ChildError, network: &Manifest) -> InvoicingError {
    match error {
        ChildError::Db(error) => InvoicingError::Db(error),
        ChildError::Plugin(failed) => InvoicingError::Plugin(failed),
        ChildError::NoKey | ChildError::UsedUp | ChildError::Refused(_) => {
            InvoicingError::NoAddress { network: network.name.clone() }
        }
        ChildError::AllInUse => InvoicingError::NoFreeChild,
    }
}
