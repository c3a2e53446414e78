//! Writing many invoices in one transaction: a statement for each table, however many there are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::error::InvoicingError;
use crate::{
    db::{
        Conn, Db, DbError,
        addresses::{self, NewAddress},
        balances::{self, Begin},
        chain::{self, NetworkPosition},
        holds::{self, NewHold},
        idempotency::{self, Claim, ClaimOutcome, NewAnswer, StoredAnswer},
        invoices,
    },
    domain::{Millis, id::InvoiceId, invoice::Invoice, matching::Hold, tenant::Tenant, view::InvoiceView},
};

/// Maximum number of orders in a commit.
pub(super) const ORDERS_PER_COMMIT: usize = 200;
const HOUR_MS: Millis = 3_600_000;
/// HTTP status of the answer to whoever creates an invoice.
const CREATED: i64 = 201;

/// Idempotency key of a request, with its owner.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(crate) owner: String,
    pub(crate) key: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) now: Millis,
}

/// An invoice ready to be written.
pub(super) struct Draft {
    pub(super) invoice: Invoice,
    /// Key that tells its payment apart on a shared address.
    pub(super) key: Option<String>,
    pub(super) new_address: Option<NewAddress>,
    /// True if the balance of its address is compared.
    pub(super) compared: bool,
}

pub(super) struct Order {
    pub(super) draft: Draft,
    pub(super) claimant: Option<Claimant>,
    pub(super) answer: oneshot::Sender<Result<Verdict, InvoicingError>>,
}

#[derive(Debug, Clone)]
pub(super) enum Verdict {
    New(Box<Invoice>),
    Replay(StoredAnswer),
    OrderIdTaken {
        invoice_id: InvoiceId,
    },
    /// Another invoice holds this amount or memo.
    HoldTaken,
    /// Somebody else has this address.
    AddressTaken,
    /// The network was never read.
    NotStarted,
}

/// Writes orders and answers each. A failure ends only the order that causes it: a batch that fails is tried again in
/// halves.
pub(super) async fn write(db: &Db, orders: Vec<Order>) {
    let (mut work, mut answers) = (Vec::with_capacity(orders.len()), Vec::with_capacity(orders.len()));
    for order in orders {
        work.push(Arc::new((order.draft, order.claimant)));
        answers.push(order.answer);
    }
    let mut parts = vec![(work, answers)];
    while let Some((mut work, mut answers)) = parts.pop() {
        let tried = work.clone();
        let verdicts =
            db.write::<_, DbError, _>(move |conn| Box::pin(async move { commit(conn, &tried).await })).await;
        match verdicts {
            Ok(verdicts) => {
                for (answer, verdict) in answers.into_iter().zip(verdicts) {
                    // Whoever asked may have gone; the invoice stands, and the same key will find it.
                    let _ = answer.send(Ok(verdict));
                }
            }
            // Where nobody can write, halves cannot either.
            Err(error)
                if work.len() == 1 || matches!(error, DbError::Closed) || error.trouble().is_some() =>
            {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(DbError::Shared(Arc::clone(&error)).into()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, orders = work.len(), "a commit of invoices failed; tried again in halves");
                let half = work.len() / 2;
                let second = (work.split_off(half), answers.split_off(half));
                parts.push(second);
                parts.push((work, answers));
            }
        }
    }
}

type Work = Arc<(Draft, Option<Claimant>)>;

async fn commit(conn: &mut Conn, work: &[Work]) -> Result<Vec<Verdict>, DbError> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; work.len()];
    let twins = claim(conn, work, &mut verdicts).await?;
    // Everything in one order for all who write several: no two can wait for each other.
    let standings = stand(conn, work, &twins, &mut verdicts).await?;
    check_order_ids(conn, work, &twins, &mut verdicts).await?;
    make_addresses(conn, work, &twins, &mut verdicts).await?;
    take_holds(conn, work, &twins, &standings, &mut verdicts).await?;
    let (mut made, mut begin) = (Vec::new(), Vec::new());
    for index in open(work, &twins, &verdicts) {
        let Some(Draft { invoice, compared, .. }) = work.get(index).map(|order| &order.0) else { continue };
        let Some(standing) = standings.get(&invoice.network) else { continue };
        let sighted = standing.seq;
        if *compared {
            begin.push(Begin {
                address_id: invoice.address_id.clone(),
                network: invoice.network.clone(),
                height: standing.r#final,
                // Whole hours, so that one invoice after the other does not write it anew.
                until: (invoice.held_until / HOUR_MS).saturating_add(1).saturating_mul(HOUR_MS),
            });
        }
        let invoice = Invoice { sighted, ..invoice.clone() };
        verdicts[index] = Some(Verdict::New(Box::new(invoice.clone())));
        made.push(invoice);
    }
    invoices::insert(conn, &made).await?;
    balances::begin(conn, begin).await?;
    answer(conn, work, &verdicts).await?;
    // A twin has the answer of the request that came with the same key a moment before.
    for (index, of) in twins {
        verdicts[index] = verdicts.get(of).cloned().flatten();
    }
    Ok(verdicts.into_iter().map(|verdict| verdict.unwrap_or(Verdict::HoldTaken)).collect())
}

/// Indexes of the orders that have no verdict yet and do not repeat another order of the batch.
fn open(work: &[Work], twins: &HashMap<usize, usize>, verdicts: &[Option<Verdict>]) -> Vec<usize> {
    let is_open =
        |index: &usize| verdicts.get(*index).is_some_and(Option::is_none) && !twins.contains_key(index);
    (0..work.len()).filter(is_open).collect()
}

/// Standings of the orders' networks. Orders of networks without one get a verdict.
async fn stand(
    conn: &mut Conn,
    work: &[Work],
    twins: &HashMap<usize, usize>,
    verdicts: &mut [Option<Verdict>],
) -> Result<BTreeMap<String, NetworkPosition>, DbError> {
    let mut standings: BTreeMap<String, Option<NetworkPosition>> = BTreeMap::new();
    for index in open(work, twins, verdicts) {
        let Some(network) = work.get(index).map(|order| &order.0.invoice.network) else { continue };
        let standing = match standings.get(network) {
            Some(standing) => *standing,
            None => *standings.entry(network.clone()).or_insert(chain::standing(conn, network).await?),
        };
        if standing.is_none() {
            verdicts[index] = Some(Verdict::NotStarted);
        }
    }
    Ok(standings.into_iter().filter_map(|(network, standing)| Some((network, standing?))).collect())
}

async fn make_addresses(
    conn: &mut Conn,
    work: &[Work],
    twins: &HashMap<usize, usize>,
    verdicts: &mut [Option<Verdict>],
) -> Result<(), DbError> {
    let mut new: Vec<(usize, &NewAddress)> = open(work, twins, verdicts)
        .into_iter()
        .filter_map(|index| Some((index, work.get(index)?.0.new_address.as_ref()?)))
        .collect();
    new.sort_by(|(_, a), (_, b)| a.network.cmp(&b.network));
    for (index, address) in new {
        match addresses::create(conn, address.clone()).await {
            Ok(_) => {}
            Err(addresses::CreateError::Taken) => verdicts[index] = Some(Verdict::AddressTaken),
            Err(addresses::CreateError::Db(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Takes the holds on the keys that tell payments apart. Each begins at the time of the final block: earlier holders
/// let go before that.
async fn take_holds(
    conn: &mut Conn,
    work: &[Work],
    twins: &HashMap<usize, usize>,
    standings: &BTreeMap<String, NetworkPosition>,
    verdicts: &mut [Option<Verdict>],
) -> Result<(), DbError> {
    let mut wanted = Vec::new();
    let mut holders = Vec::new();
    for index in open(work, twins, verdicts) {
        let Some((draft, _)) = work.get(index).map(|order| &**order) else { continue };
        let Some(key) = &draft.key else { continue };
        let invoice = &draft.invoice;
        let since = standings.get(&invoice.network).map_or(0, |standing| standing.final_time);
        let until = if invoice.pinned { invoice.held_until } else { holds::UNPINNED_UNTIL };
        let hold = Hold { key: key.clone(), invoice_id: invoice.id.clone(), since, until };
        wanted.push(NewHold { network: invoice.network.clone(), hold });
        holders.push((index, key));
    }
    // Two orders of one batch never have the same key: what a ring gave out, it gave to one.
    let taken: BTreeSet<String> = holds::take(conn, wanted).await?.into_iter().collect();
    let mut seen = BTreeSet::new();
    for (index, key) in holders {
        if !taken.contains(key) || !seen.insert(key) {
            verdicts[index] = Some(Verdict::HoldTaken);
        }
    }
    Ok(())
}

/// Claims the idempotency keys, first of all. Returns which orders repeat another order of the batch.
async fn claim(
    conn: &mut Conn,
    work: &[Work],
    verdicts: &mut [Option<Verdict>],
) -> Result<HashMap<usize, usize>, DbError> {
    let mut indexes = Vec::new();
    let mut claims = Vec::new();
    for (index, order) in work.iter().enumerate() {
        if let Some(c) = &order.1 {
            indexes.push(index);
            claims.push(Claim {
                owner: c.owner.clone(),
                key: c.key.clone(),
                fingerprint: c.fingerprint.clone(),
                now: c.now,
            });
        }
    }
    let mut twins = HashMap::new();
    let fingerprint =
        |index: usize| work.get(index).and_then(|order| order.1.as_ref()).map(|c| c.fingerprint.clone());
    for (index, claimed) in indexes.iter().zip(idempotency::claim_many(conn, claims).await?) {
        match claimed {
            ClaimOutcome::New => {}
            ClaimOutcome::Replay(stored) => verdicts[*index] = Some(Verdict::Replay(stored)),
            ClaimOutcome::Twin { of } => {
                let Some(of) = indexes.get(of).copied() else { continue };
                if fingerprint(of) == fingerprint(*index) {
                    twins.insert(*index, of);
                } else {
                    // Shown as kept with another fingerprint, which is what it will be in a moment.
                    let fingerprint = fingerprint(of).unwrap_or_default();
                    let stored = StoredAnswer { fingerprint, status: CREATED, body: Vec::new() };
                    verdicts[*index] = Some(Verdict::Replay(stored));
                }
            }
        }
    }
    Ok(twins)
}

async fn check_order_ids(
    conn: &mut Conn,
    work: &[Work],
    twins: &HashMap<usize, usize>,
    verdicts: &mut [Option<Verdict>],
) -> Result<(), DbError> {
    let mut wanted: BTreeMap<Tenant, BTreeSet<String>> = BTreeMap::new();
    for (order, verdict) in work.iter().zip(verdicts.iter()) {
        let invoice = &order.0.invoice;
        if let (None, Some(order_id)) = (verdict, &invoice.order_id) {
            wanted.entry(invoice.tenant.clone()).or_default().insert(order_id.clone());
        }
    }
    let mut owners: HashMap<(Tenant, String), InvoiceId> = HashMap::new();
    for (tenant, order_ids) in wanted {
        let order_ids = order_ids.into_iter().collect();
        for invoice in invoices::by_order_ids(conn, &tenant, order_ids).await? {
            if let Some(order_id) = invoice.order_id {
                owners.insert((tenant.clone(), order_id), invoice.id);
            }
        }
    }
    for (index, (order, verdict)) in work.iter().zip(verdicts.iter_mut()).enumerate() {
        if twins.contains_key(&index) {
            continue;
        }
        let invoice = &order.0.invoice;
        let (None, Some(order_id)) = (&verdict, &invoice.order_id) else { continue };
        let name = (invoice.tenant.clone(), order_id.clone());
        match owners.get(&name) {
            Some(invoice_id) => *verdict = Some(Verdict::OrderIdTaken { invoice_id: invoice_id.clone() }),
            None => {
                owners.insert(name, invoice.id.clone());
            }
        }
    }
    Ok(())
}

/// Stores the answers of invoices that were made, and releases the idempotency keys of the others.
async fn answer(conn: &mut Conn, work: &[Work], verdicts: &[Option<Verdict>]) -> Result<(), DbError> {
    let mut answers = Vec::new();
    for (order, verdict) in work.iter().zip(verdicts) {
        let Some(claimant) = &order.1 else { continue };
        match verdict {
            Some(Verdict::New(invoice)) => answers.push(NewAnswer {
                owner: claimant.owner.clone(),
                key: claimant.key.clone(),
                status: CREATED,
                body: serde_json::to_vec(&InvoiceView::from(&**invoice)).unwrap_or_default(),
            }),
            Some(
                Verdict::OrderIdTaken { .. }
                | Verdict::HoldTaken
                | Verdict::AddressTaken
                | Verdict::NotStarted,
            ) => {
                idempotency::let_go(conn, &claimant.owner, &claimant.key).await?;
            }
            Some(Verdict::Replay(_)) | None => {}
        }
    }
    idempotency::store_many(conn, answers).await
}
