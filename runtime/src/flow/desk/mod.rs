//! The desk: where invoices are made.
//!
//! An invoice on a shared address needs an amount (or a memo) that nobody else is asked for ([`rings`]), one on an
//! address of its own the next child of a key (`flow::children`); the database's unique keys decide, and what loses is
//! made again. What is to be written by requests that arrive at about the same time goes into one transaction
//! ([`batch`]), together with their Idempotency-Keys and answers. Its deadline counts by the chain's time
//! (`flow::chain_clock`).

mod batch;
mod rings;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

pub(crate) use batch::Claimant;
use rings::{Priced, Rings};

use super::children::{self, ChildError};
use crate::{
    app::App,
    db::{
        DbError,
        addresses::{self, ReceiveAddress},
        chain,
        idempotency::Stored,
    },
    domain::{
        id,
        invoice::{Exception, Invoice, Matching, Status},
        matching::{amount_key, memo_key},
        money::Amount,
        network::Manifest,
        policy::Policy,
        slots::Ring,
        verbatim::Verbatim,
    },
    host::{CallFailed, MemoSupport},
};

/// Requests that may wait for the desk.
const ORDERS_WAITING: usize = 4096;
/// How often a proposal may lose to somebody else before the desk gives up.
const PROPOSALS_MAX: usize = 20;
/// Characters of a memo: 32^8 are enough to be unique, few enough to be typed.
const MEMO_LEN: usize = 8;

#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(
        "every unique amount at this price is taken on {network}; try again when invoices have expired, use another price, or add an address"
    )]
    AmountSpaceExhausted { network: String },
    #[error(
        "{network} was not read yet, so a payment could be missed; try again when its provider answers (the operator sees it with `kassa network show {network}`)"
    )]
    NotStarted { network: String },
    #[error(
        "no receive address on {network}: register one with POST /v1/receive_addresses, or a public key with PUT /v1/extended_keys"
    )]
    NoAddress { network: String },
    #[error("payments of this asset cannot be told apart by {by}: {why}")]
    CannotMatch { by: &'static str, why: &'static str },
    #[error("order_id belongs to invoice {invoice_id}")]
    OrderIdTaken { invoice_id: String },
    #[error(
        "the amount is so small that a suffix which tells its payment apart would be another price; ask for more, or use matching by memo or by an address of its own"
    )]
    AmountTooSmall,
    #[error("the amount is too large")]
    AmountTooLarge,
    #[error("too many children of the extended public key are in use; the search goes on")]
    NoFreeChild,
    #[error("the chain plugin failed: {0}")]
    Plugin(#[from] CallFailed),
}

impl DeskError {
    fn of_child(error: ChildError, network: &Manifest) -> Self {
        match error {
            ChildError::Db(error) => Self::Db(error),
            ChildError::Plugin(failed) => Self::Plugin(failed),
            ChildError::NoKey | ChildError::UsedUp | ChildError::Refused(_) => {
                Self::NoAddress { network: network.name.clone() }
            }
            ChildError::AllInUse => Self::NoFreeChild,
        }
    }
}

/// What a merchant asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
    pub(crate) network: Arc<Manifest>,
    /// Place in the network's list of assets.
    pub(crate) asset: usize,
    pub(crate) asset_id: String,
    pub(crate) amount: Amount,
    pub(crate) currency: Option<String>,
    pub(crate) price: Option<String>,
    pub(crate) title: String,
    pub(crate) order_id: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) meta: Option<Verbatim>,
    /// None: what suits the network and the merchant's addresses.
    pub(crate) matching: Option<Matching>,
    pub(crate) policy: Policy,
    pub(crate) expires_in_s: i64,
}

/// What became of a wish.
#[derive(Debug)]
pub(crate) enum Made {
    New(Box<Invoice>),
    /// The same request was answered before; this was the answer.
    Replay(Stored),
}

/// Makes invoices. One a process.
pub(crate) struct Desk {
    rings: Rings,
    orders: mpsc::Sender<batch::Order>,
}

impl Desk {
    /// The desk, and what its batcher works on; see [`run`].
    pub(crate) fn new() -> (Self, Orders) {
        let (orders, waiting) = mpsc::channel(ORDERS_WAITING);
        (Self { rings: Rings::default(), orders }, Orders(waiting))
    }

    /// Makes an invoice, once for each claimant.
    pub(crate) async fn make(
        &self,
        app: &App,
        wish: Wish,
        claimant: Option<Claimant>,
    ) -> Result<Made, DeskError> {
        let (address, matching) = choose(app, &wish).await?;
        let exhausted = || DeskError::AmountSpaceExhausted { network: wish.network.name.clone() };
        for _ in 0..PROPOSALS_MAX {
            let draft = self.draft(app, &wish, address.as_ref(), matching).await?;
            let (ring, due) = (draft.ring, draft.due);
            let (answer, answered) = oneshot::channel();
            let order = batch::Order { draft: draft.written, claimant: claimant.clone(), answer };
            self.orders.send(order).await.map_err(|_| DbError::Closed)?;
            let verdict = answered.await.map_err(|_| DbError::Closed)?;
            let used = matches!(verdict, Ok(batch::Verdict::New(_) | batch::Verdict::HoldTaken));
            if let (false, Some(ring), Some(shared)) = (used, ring, &address) {
                self.rings.give_back(priced(shared, &wish, ring), due).await;
            }
            match verdict? {
                batch::Verdict::New(invoice) => return Ok(Made::New(invoice)),
                batch::Verdict::Replay(stored) => return Ok(Made::Replay(stored)),
                batch::Verdict::OrderIdTaken { invoice_id } => {
                    return Err(DeskError::OrderIdTaken { invoice_id });
                }
                batch::Verdict::NotStarted => {
                    return Err(DeskError::NotStarted { network: wish.network.name.clone() });
                }
                // One amount alone, and it is taken.
                batch::Verdict::HoldTaken if matching == Matching::Amount && ring.is_none() => break,
                batch::Verdict::HoldTaken | batch::Verdict::AddressTaken => {}
            }
        }
        Err(if matching == Matching::Address { DeskError::NoFreeChild } else { exhausted() })
    }

    async fn draft(
        &self,
        app: &App,
        wish: &Wish,
        shared: Option<&ReceiveAddress>,
        matching: Matching,
    ) -> Result<Draft, DeskError> {
        let network = &wish.network;
        let asset = network.assets.get(wish.asset).ok_or(DeskError::AmountTooLarge)?;
        let now = app.clock.now();
        let id = app.ids.next(id::Kind::Invoice, now);
        let (new_address, address_id, address) = match shared {
            Some(shared) => (None, shared.id.clone(), shared.address.clone()),
            None => {
                let new = own_address(app, wish, now).await?;
                let (id, text) = (new.id.clone(), new.address.clone());
                (Some(new), id, text)
            }
        };
        let asset_id = asset.id(&network.name);
        let (mut memo, mut ring, mut due) = (None, None, wish.amount);
        let key = match (matching, shared) {
            (Matching::Address, _) => None,
            (Matching::Memo, _) => {
                let text: String = id.chars().rev().take(MEMO_LEN).collect();
                Some(memo_key(&address_id, memo.insert(text)))
            }
            (Matching::Amount, shared) => {
                if shared.is_some() && !wish.policy.works_by_amount(wish.amount, asset) {
                    let why = "under_tolerance_bp of so small an amount leaves no room for a fee that keeps the \
                               suffix's digits; ask for more, use memo or address, or set it to 0";
                    return Err(DeskError::CannotMatch { by: "amount", why });
                }
                if let (Some(_), Some(shared)) = (asset.unique, shared) {
                    let of_price = asset.ring(wish.amount).ok_or(DeskError::AmountTooSmall)?;
                    let taken = self.rings.take(app, priced(shared, wish, of_price)).await?;
                    due = taken
                        .ok_or_else(|| DeskError::AmountSpaceExhausted { network: network.name.clone() })?;
                    ring = Some(of_price);
                }
                Some(amount_key(&address_id, &asset_id, due))
            }
        };
        let index = u32::try_from(wish.asset).map_err(|_| DeskError::AmountTooLarge)?;
        let link = app.host.payment_link(network, &address, index, due, memo.as_deref()).await?;
        let compared = asset.contract.is_none() && app.host.compares(network).await?;
        let moment = app.chain_clock.moment(network);
        let expires_at = moment.at.saturating_add(wish.expires_in_s.saturating_mul(1000));
        let invoice = Invoice {
            id,
            merchant_id: wish.merchant_id.clone(),
            test: wish.test,
            order_id: wish.order_id.clone(),
            title: wish.title.clone(),
            tag: wish.tag.clone(),
            meta: wish.meta.clone(),
            network: network.name.clone(),
            asset_id,
            symbol: asset.symbol.clone(),
            decimals: asset.decimals,
            address_id,
            address,
            matching,
            memo,
            currency: wish.currency.clone(),
            price: wish.price.clone(),
            amount: wish.amount,
            due,
            status: Status::New,
            exception: Exception::None,
            pending: Amount::ZERO,
            credited: Amount::ZERO,
            marked: Amount::ZERO,
            sequence: 0,
            payment_uri: link.uri,
            policy: wish.policy,
            sighted: 0,
            created_at: now,
            expires_at,
            held_until: expires_at.saturating_add(i64::from(wish.policy.late_window_s) * 1000),
            pinned: moment.certain,
            expired_at: None,
            cancelled_at: None,
            paid_at: None,
        };
        Ok(Draft { written: batch::Draft { invoice, key, new_address, compared }, ring, due })
    }
}

/// An invoice ready to be written, and where its amount came from.
struct Draft {
    written: batch::Draft,
    ring: Option<Ring>,
    due: Amount,
}

fn priced<'a>(shared: &'a ReceiveAddress, wish: &'a Wish, ring: Ring) -> Priced<'a> {
    Priced { address_id: &shared.id, asset_id: &wish.asset_id, amount: wish.amount, ring }
}

/// On which address, and told apart by what.
async fn choose(app: &App, wish: &Wish) -> Result<(Option<ReceiveAddress>, Matching), DeskError> {
    let network = &wish.network;
    let mut conn = app.db.read().await?;
    if chain::standing(&mut conn, &network.name).await?.is_none() {
        return Err(DeskError::NotStarted { network: network.name.clone() });
    }
    let shared = addresses::shared_of(&mut conn, &wish.merchant_id, &network.name).await?;
    let matching = match (wish.matching, &shared) {
        (Some(matching), _) => matching,
        (None, None) => Matching::Address,
        (None, Some(_)) => {
            let usual = app.host.describe(network).await?.memo == MemoSupport::Usual;
            if usual { Matching::Memo } else { Matching::Amount }
        }
    };
    if matching == Matching::Address {
        let has_key =
            addresses::extended_key_of(&mut conn, &wish.merchant_id, &network.name).await?.is_some();
        return if has_key {
            Ok((None, matching))
        } else {
            Err(DeskError::NoAddress { network: network.name.clone() })
        };
    }
    drop(conn);
    let description = app.host.describe(network).await?;
    if matching == Matching::Memo && description.memo == MemoSupport::No {
        return Err(DeskError::CannotMatch { by: "memo", why: "the network has none" });
    }
    let native = network.assets.get(wish.asset).is_some_and(|asset| asset.contract.is_none());
    if matching == Matching::Amount && native && !description.exact_native_amounts {
        let why = "wallets may take the fee from the amount; use memo";
        return Err(DeskError::CannotMatch { by: "amount", why });
    }
    match shared {
        Some(shared) => Ok((Some(shared), matching)),
        None => Err(DeskError::NoAddress { network: network.name.clone() }),
    }
}

/// The next address of the merchant's extended key. Its number is used up even when the invoice is not made.
async fn own_address(app: &App, wish: &Wish, now: i64) -> Result<addresses::NewAddress, DeskError> {
    let child = children::next(app, &wish.merchant_id, &wish.network)
        .await
        .map_err(|error| DeskError::of_child(error, &wish.network))?;
    Ok(addresses::NewAddress {
        id: app.ids.next(id::Kind::ReceiveAddress, now),
        merchant_id: wish.merchant_id.clone(),
        network: wish.network.name.clone(),
        address: child.text,
        key: child.key,
        kind: addresses::Kind::Invoice,
        unique_id: None,
        meta: None,
        derived_index: Some(child.index),
        created_at: now,
    })
}

/// What [`run`] works on.
pub(crate) struct Orders(mpsc::Receiver<batch::Order>);

/// Writes orders, whatever waits in one transaction, until the desk is gone.
pub(crate) async fn run(db: crate::db::Db, mut orders: Orders) {
    let mut waiting = Vec::new();
    while orders.0.recv_many(&mut waiting, batch::ORDERS_PER_COMMIT).await > 0 {
        let started = tokio::time::Instant::now();
        let count = waiting.len();
        batch::write(&db, std::mem::take(&mut waiting)).await;
        if started.elapsed() > Duration::from_secs(1) {
            tracing::warn!(count, elapsed_ms = %started.elapsed().as_millis(), "slow commit of invoices");
        }
    }
}
