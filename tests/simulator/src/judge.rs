//! What must be true of every simulation, whatever happened in it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use kassa::simulation::By;

use crate::{
    chain::{Ledger, lock},
    world::{Made, World},
};

/// Kassa's own time of a chain may be behind by so much: a block is seen late, a clock is off by less than is noticed.
/// Nobody is given to a stranger for it; a payment so short before its deadline may count as late.
const UNSURE_MS: i64 = 200_000;
/// How long after its deadline an invoice's payment is told apart.
const LATE_MS: i64 = 3_600_000;

/// A rule that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)
    }
}

/// What Kassa made of a transfer.
#[derive(Debug, Default)]
struct Outcome {
    id: String,
    status: String,
    /// Invoice (empty for none), status and exception of each payment.
    payments: Vec<(String, String, String)>,
    listed: Option<String>,
    credits: i64,
}

/// The first rule that is broken.
pub(crate) async fn judge(world: &World<'_>) -> anyhow::Result<Option<Wrong>> {
    let outcomes = outcomes(world).await?;
    let told = told(world).await?;
    let risen = risen(world).await?;
    let reading = world.store.query("SELECT id FROM rescan WHERE state = 'running'", &["id"]).await?;
    if !reading.is_empty() {
        return Ok(wrong("a rescan never ends", format!("{reading:?}")));
    }
    let unbalanced = world
        .store
        .query(
            "SELECT journal_id FROM ledger_entry GROUP BY journal_id HAVING SUM(CAST(amount AS INTEGER)) <> 0",
            &["journal_id"],
        )
        .await?;
    if !unbalanced.is_empty() {
        return Ok(wrong("a journal does not balance", format!("{unbalanced:?}")));
    }
    let addresses: Vec<String> = world
        .store
        .query("SELECT address FROM receive_address", &["address"])
        .await?
        .into_iter()
        .flatten()
        .collect();
    // By the invoice's place: what was sent in time, if none of it pays.
    let mut paid: HashMap<usize, Option<String>> = HashMap::new();
    let ledger = lock(&world.ledger);
    for (tx, time) in ledger.all().filter(|(tx, _)| !tx.unseen) {
        let Some(sent) = world.sent.iter().find(|sent| sent.tx == tx.id) else { continue };
        let Some(outcome) = outcomes.get(&tx.id) else {
            if addresses.contains(&tx.to) && world.began.is_some_and(|began| time > began) {
                return Ok(wrong("a payment is listed nowhere", format!("{} to {}", tx.id, tx.to)));
            }
            continue;
        };
        if let Some(wrong) = one_outcome(&tx.id, outcome) {
            return Ok(Some(wrong));
        }
        let of: Option<&Made> = sent.of.and_then(|place| world.made.get(place));
        let pays = outcome.payments.first().map(|(invoice_id, ..)| invoice_id.as_str());
        if let (Some(made), Some(pays)) = (of, pays)
            && pays != made.asked.id
            && sent.exact
            && !may_meet(made, world.made.iter().find(|other| other.asked.id == pays))
            && time <= made.deadline + LATE_MS - UNSURE_MS
        {
            let what = format!("{} was sent for {} and pays {pays}", tx.id, made.asked.id);
            return Ok(wrong("a payment was given to a stranger", what));
        }
        let Some(made) = of.filter(|made| sent.exact && !made.lost && time <= made.deadline) else {
            continue;
        };
        // Of several payments for one invoice any may: which of them came first, and which of them in time, can be
        // another after a reorg.
        let place = sent.of.unwrap_or_default();
        let does = is_paid(&made.asked.id, &outcomes);
        let what = || {
            let (made_at, deadline) = (made.at, made.deadline);
            format!(
                "{} of block time {time} for {} (made {made_at}, deadline {deadline}): {outcome:?}",
                tx.id, made.asked.id
            )
        };
        match paid.get_mut(&place) {
            Some(unpaid) if does => *unpaid = None,
            Some(_) => {}
            None => {
                paid.insert(place, (!does).then(what));
            }
        }
        let in_time = time <= made.deadline - UNSURE_MS;
        let kinds = told.get(&made.asked.id).cloned().unwrap_or_default();
        if in_time && kinds.iter().any(|kind| kind == "invoice.expired") {
            let what = format!(
                "{} of block time {time} for {} (made {}, deadline {}): {kinds:?}, {outcome:?}",
                tx.id, made.asked.id, made.at, made.deadline
            );
            return Ok(wrong("an invoice that was paid in time was said to have expired", what));
        }
    }
    if let Some(unpaid) = paid.into_values().flatten().next() {
        return Ok(wrong("a payment made in time does not pay its invoice", unpaid));
    }
    if let Some(wrong) = rises(world, &ledger, &outcomes, &risen) {
        return Ok(Some(wrong));
    }
    Ok(reorged_away(&outcomes, &ledger.all().map(|(tx, _)| tx.id.clone()).collect::<Vec<_>>()))
}

fn wrong(kind: &'static str, what: String) -> Option<Wrong> {
    Some(Wrong { kind, what })
}

/// Lives that began with the same backup draw their amounts at random, knowing nothing of each other.
fn may_meet(forgotten: &Made, other: Option<&Made>) -> bool {
    let by_amount = |made: &Made| made.by == By::Amount && made.restored > 0;
    other.is_some_and(|other| {
        forgotten.lost && by_amount(forgotten) && by_amount(other) && forgotten.restored != other.restored
    })
}

/// Whether a payment of this invoice is credited.
fn is_paid(invoice_id: &str, outcomes: &BTreeMap<String, Outcome>) -> bool {
    let pays = |(id, status, _): &(String, String, String)| id == invoice_id && status == "credited";
    outcomes.values().any(|outcome| outcome.payments.iter().any(pays))
}

/// A transfer on chain is credited once, or listed with a reason.
fn one_outcome(tx: &str, outcome: &Outcome) -> Option<Wrong> {
    let credited = outcome.payments.iter().filter(|(_, status, _)| status == "credited").count();
    let says = format!("{tx}: {outcome:?}");
    if outcome.status != "final" {
        return wrong("a transfer that is final is not known as final", says);
    }
    if outcome.payments.len() > 1 || outcome.credits > 1 {
        return wrong("a transfer was credited twice", says);
    }
    let paid = credited == 1 && outcome.credits == 1 && outcome.listed.is_none();
    let listed = outcome.payments.is_empty() && outcome.credits == 0 && outcome.listed.is_some();
    if paid || listed { None } else { wrong("a transfer has not one outcome", says) }
}

/// What contracts sent, as nobody saw it, is listed as rises: all that was waited for, and never more than there is.
fn rises(
    world: &World<'_>,
    ledger: &Ledger,
    outcomes: &BTreeMap<String, Outcome>,
    risen: &[(String, String, u128)],
) -> Option<Wrong> {
    // By address: listed, sent, and waited for.
    let mut sums: BTreeMap<&str, (u128, u128, u128)> = BTreeMap::new();
    for (name, address, amount) in risen {
        let outcome = outcomes.get(name);
        if !outcome.is_some_and(|outcome| outcome.payments.is_empty() && outcome.listed.is_some()) {
            return wrong("a rise is not listed, or pays", format!("{name}: {outcome:?}"));
        }
        sums.entry(address).or_default().0 += amount;
    }
    for (tx, time) in ledger.all().filter(|(tx, _)| tx.unseen) {
        let sum = sums.entry(&tx.to).or_default();
        sum.1 += tx.amount;
        let of = world.sent.iter().find(|sent| sent.tx == tx.id).and_then(|sent| sent.of);
        let Some(made) = of.and_then(|place| world.made.get(place)) else { continue };
        // Nobody looks any more at an address of an invoice's own, once it is paid.
        if !made.lost && time <= made.deadline && !is_paid(&made.asked.id, outcomes) {
            sum.2 += tx.amount;
        }
    }
    sums.into_iter().find_map(|(address, (listed, sent, waited_for))| {
        let what = || format!("{address}: listed {listed}, sent {sent}, waited for {waited_for}");
        match () {
            () if listed > sent => wrong("a rise is listed that is none", what()),
            () if listed < waited_for => wrong("what a contract sent is not noticed", what()),
            () => None,
        }
    })
}

/// What is not on chain any more is not credited.
fn reorged_away(outcomes: &BTreeMap<String, Outcome>, on_chain: &[String]) -> Option<Wrong> {
    outcomes
        .iter()
        .find(|(tx, outcome)| !on_chain.contains(tx) && outcome.credits != 0)
        .and_then(|(tx, outcome)| wrong("what is not on chain is credited", format!("{tx}: {outcome:?}")))
}

async fn outcomes(world: &World<'_>) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    let rows = world
        .store
        .query(
            "SELECT t.id, t.tx, t.status, u.reason FROM transfer t LEFT JOIN unmatched u ON u.transfer_id = t.id",
            &["id", "tx", "status", "reason"],
        )
        .await?;
    for row in rows {
        let [id, tx, status, reason] = four(row);
        let listed = (!reason.is_empty()).then_some(reason);
        outcomes.insert(tx, Outcome { id, status, listed, ..Outcome::default() });
    }
    let rows = world
        .store
        .query(
            "SELECT t.tx, p.invoice_id, p.status, p.exception FROM payment p JOIN transfer t ON t.id = p.transfer_id",
            &["tx", "invoice_id", "status", "exception"],
        )
        .await?;
    for row in rows {
        let [tx, invoice_id, status, exception] = four(row);
        outcomes.entry(tx).or_default().payments.push((invoice_id, status, exception));
    }
    let rows = world.store.query("SELECT transfer_id, kind FROM journal", &["transfer_id", "kind"]).await?;
    for row in rows {
        let [transfer_id, kind, ..] = four(row);
        if let Some(outcome) = outcomes.values_mut().find(|outcome| outcome.id == transfer_id) {
            outcome.credits += if kind == "credit" { 1 } else { -1 };
        }
    }
    Ok(outcomes)
}

/// Name, address and amount of each rise.
async fn risen(world: &World<'_>) -> anyhow::Result<Vec<(String, String, u128)>> {
    let sql = "SELECT t.tx, a.address, t.amount FROM transfer t
               JOIN receive_address a ON a.id = t.address_id WHERE t.kind = 'rise'";
    let rows = world.store.query(sql, &["tx", "address", "amount"]).await?;
    rows.into_iter()
        .map(|row| {
            let [tx, address, amount, _] = four(row);
            Ok((tx, address, amount.parse()?))
        })
        .collect()
}

/// What each invoice's merchant was told, in order.
async fn told(world: &World<'_>) -> anyhow::Result<HashMap<String, Vec<String>>> {
    let sql = "SELECT invoice_id, kind FROM event WHERE invoice_id IS NOT NULL ORDER BY sequence";
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for row in world.store.query(sql, &["invoice_id", "kind"]).await? {
        let [invoice_id, kind, ..] = four(row);
        told.entry(invoice_id).or_default().push(kind);
    }
    Ok(told)
}

fn four(row: Vec<String>) -> [String; 4] {
    let mut row = row.into_iter();
    std::array::from_fn(|_| row.next().unwrap_or_default())
}
