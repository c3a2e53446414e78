//! Writing many invoices in one transaction: a statement for each table, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::DeskError;
use crate::{
    db::{
        Conn, Db, DbError,
        addresses::{self, NewAddress},
        chain,
        idempotency::{self, Answer, Claim, Claimed, Stored},
        invoices::{self, Hold},
    },
    domain::{Millis, invoice::Invoice, view::InvoiceView},
};

/// Orders that share a commit.
pub(super) const ORDERS_PER_COMMIT: usize = 200;
/// What an invoice's maker is answered.
const CREATED: i64 = 201;

/// Whose Idempotency-Key it is.
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
    pub(super) hold: Option<Hold>,
    pub(super) new_address: Option<NewAddress>,
}

pub(super) struct Order {
    pub(super) draft: Draft,
    pub(super) claimant: Option<Claimant>,
    pub(super) answer: oneshot::Sender<Result<Verdict, DeskError>>,
}

#[derive(Debug, Clone)]
pub(super) enum Verdict {
    New(Box<Invoice>),
    Replay(Stored),
    OrderIdTaken {
        invoice_id: String,
    },
    /// Another replica has this amount.
    HoldTaken,
}

/// Writes orders and answers each.
pub(super) async fn write(db: &Db, orders: Vec<Order>) {
    let (mut work, mut answers) = (Vec::with_capacity(orders.len()), Vec::with_capacity(orders.len()));
    for order in orders {
        work.push((order.draft, order.claimant));
        answers.push(order.answer);
    }
    let verdicts =
        db.write::<_, DbError, _>(move |conn| Box::pin(async move { commit(conn, work).await })).await;
    match verdicts {
        Ok(verdicts) => {
            for (answer, verdict) in answers.into_iter().zip(verdicts) {
                // Whoever asked may have gone; the invoice stands, and the same key will find it.
                let _ = answer.send(Ok(verdict));
            }
        }
        Err(error) => {
            let why = error.to_string();
            for answer in answers {
                let _ = answer.send(Err(DbError::Unusable(why.clone()).into()));
            }
        }
    }
}

type Work = (Draft, Option<Claimant>);

async fn commit(conn: &mut Conn, mut work: Vec<Work>) -> Result<Vec<Verdict>, DbError> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; work.len()];
    let twins = claim(conn, &work, &mut verdicts).await?;
    check_order_ids(conn, &work, &twins, &mut verdicts).await?;
    let open = |verdicts: &[Option<Verdict>], twins: &HashMap<usize, usize>, index: usize| {
        verdicts.get(index).is_some_and(Option::is_none) && !twins.contains_key(&index)
    };

    for index in 0..work.len() {
        if open(&verdicts, &twins, index)
            && let Some(new) = work.get_mut(index).and_then(|(draft, _)| draft.new_address.take())
        {
            addresses::create(conn, new).await.map_err(|error| match error {
                addresses::CreateError::Db(error) => error,
                addresses::CreateError::Taken => DbError::Unusable("a derived address is in use".to_owned()),
            })?;
        }
    }

    let wanted: Vec<Hold> = work
        .iter()
        .enumerate()
        .filter(|(index, _)| open(&verdicts, &twins, *index))
        .filter_map(|(_, (draft, _))| draft.hold.clone())
        .collect();
    let taken: BTreeSet<String> = invoices::hold(conn, &wanted).await?.into_iter().collect();
    let mut heads: BTreeMap<String, i64> = BTreeMap::new();
    let mut made = Vec::new();
    for (index, (draft, _)) in work.iter_mut().enumerate() {
        if !open(&verdicts, &twins, index) {
            continue;
        }
        if draft.hold.as_ref().is_some_and(|hold| !taken.contains(&hold.key)) {
            verdicts[index] = Some(Verdict::HoldTaken);
            continue;
        }
        let network = &draft.invoice.network;
        draft.invoice.head = match heads.get(network) {
            Some(head) => *head,
            None => *heads.entry(network.clone()).or_insert(chain::head(conn, network).await?),
        };
        verdicts[index] = Some(Verdict::New(Box::new(draft.invoice.clone())));
        made.push(draft.invoice.clone());
    }
    invoices::insert(conn, &made).await?;
    answer(conn, &work, &verdicts).await?;
    // A twin has the answer of the request that came with the same key a moment before.
    for (index, of) in twins {
        verdicts[index] = verdicts.get(of).cloned().flatten();
    }
    Ok(verdicts.into_iter().map(|verdict| verdict.unwrap_or(Verdict::HoldTaken)).collect())
}

/// Claims the keys first of all. Answers which orders are the same request as another of this batch.
async fn claim(
    conn: &mut Conn,
    work: &[Work],
    verdicts: &mut [Option<Verdict>],
) -> Result<HashMap<usize, usize>, DbError> {
    let mut places = Vec::new();
    let mut claims = Vec::new();
    for (index, (_, claimant)) in work.iter().enumerate() {
        if let Some(c) = claimant {
            places.push(index);
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
        |index: usize| work.get(index).and_then(|(_, c)| c.as_ref()).map(|c| c.fingerprint.clone());
    for (place, claimed) in places.iter().zip(idempotency::claim_many(conn, claims).await?) {
        match claimed {
            Claimed::New => {}
            Claimed::Replay(stored) => verdicts[*place] = Some(Verdict::Replay(stored)),
            Claimed::Twin { of } => {
                let Some(of) = places.get(of).copied() else { continue };
                if fingerprint(of) == fingerprint(*place) {
                    twins.insert(*place, of);
                } else {
                    // Shown as kept with another fingerprint, which is what it will be in a moment.
                    let fingerprint = fingerprint(of).unwrap_or_default();
                    let stored = Stored { fingerprint, status: CREATED, body: Vec::new() };
                    verdicts[*place] = Some(Verdict::Replay(stored));
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
    let mut wanted: BTreeMap<(String, bool), BTreeSet<String>> = BTreeMap::new();
    for ((draft, _), verdict) in work.iter().zip(verdicts.iter()) {
        if let (None, Some(order_id)) = (verdict, &draft.invoice.order_id) {
            let merchant = (draft.invoice.merchant_id.clone(), draft.invoice.test);
            wanted.entry(merchant).or_default().insert(order_id.clone());
        }
    }
    let mut owners: HashMap<(String, bool, String), String> = HashMap::new();
    for ((merchant_id, test), order_ids) in wanted {
        let order_ids = order_ids.into_iter().collect();
        for invoice in invoices::by_order_ids(conn, &merchant_id, test, order_ids).await? {
            if let Some(order_id) = invoice.order_id {
                owners.insert((merchant_id.clone(), test, order_id), invoice.id);
            }
        }
    }
    for (index, ((draft, _), verdict)) in work.iter().zip(verdicts.iter_mut()).enumerate() {
        if twins.contains_key(&index) {
            continue;
        }
        let invoice = &draft.invoice;
        let (None, Some(order_id)) = (&verdict, &invoice.order_id) else { continue };
        let name = (invoice.merchant_id.clone(), invoice.test, order_id.clone());
        match owners.get(&name) {
            Some(invoice_id) => *verdict = Some(Verdict::OrderIdTaken { invoice_id: invoice_id.clone() }),
            None => {
                owners.insert(name, invoice.id.clone());
            }
        }
    }
    Ok(())
}

/// Keeps the answers of what was made, and lets go of the keys of what was not.
async fn answer(conn: &mut Conn, work: &[Work], verdicts: &[Option<Verdict>]) -> Result<(), DbError> {
    let mut answers = Vec::new();
    for ((_, claimant), verdict) in work.iter().zip(verdicts) {
        let Some(claimant) = claimant else { continue };
        match verdict {
            Some(Verdict::New(invoice)) => answers.push(Answer {
                owner: claimant.owner.clone(),
                key: claimant.key.clone(),
                status: CREATED,
                body: serde_json::to_vec(&InvoiceView::from(&**invoice)).unwrap_or_default(),
            }),
            Some(Verdict::OrderIdTaken { .. } | Verdict::HoldTaken) => {
                idempotency::let_go(conn, &claimant.owner, &claimant.key).await?;
            }
            Some(Verdict::Replay(_)) | None => {}
        }
    }
    idempotency::store_many(conn, answers).await
}
