//! The desk: where invoices are made.
//!
//! An invoice on a shared address needs an amount (or a memo) that no other open invoice has. The desk proposes
//! one from memory ([`rings`]) and the database's unique key decides; a proposal that loses is made again. What is
//! to be written by requests that arrive at about the same time goes into one transaction ([`batch`]), together
//! with their Idempotency-Keys and answers.

mod batch;
mod rings;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

pub(crate) use batch::Claimant;
use rings::Rings;

use crate::{
    app::App,
    db::{
        DbError,
        addresses::{self, ReceiveAddress},
        idempotency::Stored,
    },
    domain::{
        id,
        invoice::{Exception, Invoice, Matching, Status},
        matching::{amount_key, memo_key},
        money::Amount,
        network::Manifest,
        policy::Policy,
    },
    host::{CallFailed, MemoSupport},
};

/// Requests that may wait for the desk.
const ORDERS_WAITING: usize = 4096;
/// How often a proposal may lose to another replica before the desk gives up.
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
        "no receive address on {network}: register one with POST /v1/receive_addresses, or a public key with PUT /v1/extended_keys"
    )]
    NoAddress { network: String },
    #[error("payments of this asset cannot be told apart by {by}: {why}")]
    CannotMatch { by: &'static str, why: &'static str },
    #[error("order_id belongs to invoice {invoice_id}")]
    OrderIdTaken { invoice_id: String },
    #[error("the amount is too large")]
    AmountTooLarge,
    #[error("the chain plugin failed: {0}")]
    Plugin(#[from] CallFailed),
}

/// What a merchant asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) merchant_id: String,
    pub(crate) test: bool,
    pub(crate) network: Arc<Manifest>,
    /// Place in the network's list of assets.
    pub(crate) asset: usize,
    pub(crate) amount: Amount,
    pub(crate) currency: Option<String>,
    pub(crate) price: Option<String>,
    pub(crate) title: String,
    pub(crate) order_id: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) meta: Option<serde_json::Value>,
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

    /// These holds (key and ring) were let go of.
    pub(crate) fn released(&self, released: &[(String, String)]) {
        self.rings.released(released);
    }

    /// Makes an invoice, once for each claimant.
    pub(crate) async fn make(
        &self,
        app: &App,
        wish: Wish,
        claimant: Option<Claimant>,
    ) -> Result<Made, DeskError> {
        let (address, matching) = choose(app, &wish).await?;
        for _ in 0..PROPOSALS_MAX {
            let draft = self.draft(app, &wish, address.as_ref(), matching).await?;
            let ring = draft.hold.as_ref().map(|hold| (hold.ring.clone(), draft.invoice.due));
            let (answer, answered) = oneshot::channel();
            let order = batch::Order { draft, claimant: claimant.clone(), answer };
            self.orders.send(order).await.map_err(|_| DbError::Closed)?;
            let verdict = answered.await.map_err(|_| DbError::Closed)?;
            if let (false, Some((ring, due))) =
                (matches!(verdict, Ok(batch::Verdict::New(_) | batch::Verdict::HoldTaken)), ring)
            {
                // Not used after all. (A hold that another replica has stays marked.)
                self.rings.give_back(&ring, due);
            }
            match verdict? {
                batch::Verdict::New(invoice) => return Ok(Made::New(invoice)),
                batch::Verdict::Replay(stored) => return Ok(Made::Replay(stored)),
                batch::Verdict::OrderIdTaken { invoice_id } => {
                    return Err(DeskError::OrderIdTaken { invoice_id });
                }
                batch::Verdict::HoldTaken => {}
            }
        }
        Err(DeskError::AmountSpaceExhausted { network: wish.network.name.clone() })
    }

    async fn draft(
        &self,
        app: &App,
        wish: &Wish,
        shared: Option<&ReceiveAddress>,
        matching: Matching,
    ) -> Result<batch::Draft, DeskError> {
        let network = &wish.network;
        let Some(asset) = network.assets.get(wish.asset) else { return Err(DeskError::AmountTooLarge) };
        let asset_id = asset.id(&network.name);
        let now = app.clock.now();
        let id = id::new(id::Kind::Invoice, now);
        let (new_address, address_id, address) = match shared {
            Some(shared) => (None, shared.id.clone(), shared.address.clone()),
            None => {
                let new = own_address(app, wish, now).await?;
                let (id, text) = (new.id.clone(), new.address.clone());
                (Some(new), id, text)
            }
        };
        let expires_at = now.saturating_add(wish.expires_in_s.saturating_mul(1000));
        let held_until = expires_at.saturating_add(i64::from(wish.policy.late_window_s) * 1000);
        let mut memo = None;
        let (due, hold) = match matching {
            Matching::Address => (wish.amount, None),
            Matching::Memo => {
                let text: String = id.chars().rev().take(MEMO_LEN).collect();
                let key = memo_key(&address_id, &text);
                memo = Some(text);
                (wish.amount, Some((key.clone(), key)))
            }
            Matching::Amount => {
                let ring_key = amount_key(&address_id, &asset_id, wish.amount);
                let due = self.rings.propose(&app.db, &ring_key, asset.ring(), wish.amount).await?;
                let due =
                    due.ok_or_else(|| DeskError::AmountSpaceExhausted { network: network.name.clone() })?;
                (due, Some((amount_key(&address_id, &asset_id, due), ring_key)))
            }
        };
        let index = u32::try_from(wish.asset).map_err(|_| DeskError::AmountTooLarge)?;
        let link = app.host.payment_link(network, &address, index, due, memo.as_deref()).await?;
        let hold = hold.map(|(key, ring)| crate::db::invoices::Hold {
            key,
            ring,
            invoice_id: id.clone(),
            held_until,
        });
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
            sequence: 0,
            payment_uri: link.uri,
            policy: wish.policy,
            head: 0,
            created_at: now,
            expires_at,
            held_until,
            expired_at: None,
            cancelled_at: None,
            paid_at: None,
        };
        Ok(batch::Draft { invoice, hold, new_address })
    }
}

/// On which address, and told apart by what.
async fn choose(app: &App, wish: &Wish) -> Result<(Option<ReceiveAddress>, Matching), DeskError> {
    let network = &wish.network;
    let mut conn = app.db.read().await?;
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
    let (merchant_id, network) = (wish.merchant_id.clone(), wish.network.name.clone());
    let taken = app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let Some(key) = addresses::extended_key_of(conn, &merchant_id, &network).await? else {
                    return Ok(None);
                };
                let index = addresses::next_index(conn, &key.id).await?;
                Ok(index.map(|index| (key.public_key, index)))
            })
        })
        .await?;
    let none = || DeskError::NoAddress { network: wish.network.name.clone() };
    let (public_key, index) = taken.ok_or_else(none)?;
    let child = u32::try_from(index).map_err(|_| none())?;
    let derived = app.host.derive_address(&wish.network, &public_key, child).await?;
    let address = derived.map_err(|error| {
        tracing::error!(network = wish.network.name, ?error, "a stored extended key derives no address");
        none()
    })?;
    Ok(addresses::NewAddress {
        id: id::new(id::Kind::ReceiveAddress, now),
        merchant_id: wish.merchant_id.clone(),
        network: wish.network.name.clone(),
        address: address.text,
        key: address.key,
        kind: addresses::Kind::Invoice,
        unique_id: None,
        meta: None,
        derived_index: Some(index),
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
