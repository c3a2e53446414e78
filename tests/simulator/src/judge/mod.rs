//! The rules that every simulation must keep, whatever happened in it. [`facts`] reads the database.

mod facts;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use kassa::simulation::By;

use self::facts::{Outcome, outcomes, risen, told};
use crate::{
    chain::{Ledger, lock},
    schedule::{Op, TINY_PRICE},
    world::{Made, World},
};

/// Maximum lag of Kassa's time of a chain, milliseconds: a block is seen late, a clock is off by less than is noticed.
/// No payment goes to a stranger because of it; one that is this close before its deadline may count as late.
const UNSURE_MS: i64 = 200_000;
/// Time after its deadline for which an invoice's payment is still told apart, milliseconds.
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

/// The first rule that is broken.
pub(crate) async fn judge(world: &World<'_>) -> anyhow::Result<Option<Wrong>> {
    if world.wrong.is_some() {
        return Ok(world.wrong.clone());
    }
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
    if let Some(wrong) = seen_before(world).await? {
        return Ok(Some(wrong));
    }
    // If no branch was ever left, a payment stays where it was, and nothing is taken back.
    let calm = !world
        .schedule
        .turns
        .iter()
        .any(|turn| matches!(turn.op, Op::Reorg { .. } | Op::Overlap { deep: 1.., .. }));
    if calm {
        for wrong in [outside_its_hold(world).await?, taken_back(world).await?] {
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
    }
    let addresses: Vec<String> = world
        .store
        .query("SELECT address FROM receive_address", &["address"])
        .await?
        .into_iter()
        .flatten()
        .collect();
    // By the invoice's index: a payment that was sent in time, if none of them pays.
    let mut paid: HashMap<usize, Option<String>> = HashMap::new();
    // By the invoice's index: the time of the first block by which it was already paid.
    let mut already: HashMap<usize, i64> = HashMap::new();
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
            && pays != made.asked.id.as_str()
            && sent.exact
            && !may_meet(made, world.made.iter().find(|other| other.asked.id.as_str() == pays), time)
        {
            let what = format!("{} was sent for {} and pays {pays}", tx.id, made.asked.id);
            return Ok(wrong("a payment was given to a stranger", what));
        }
        if let Some(place) = sent.of.filter(|_| calm && sent.exact) {
            if outcome.listed.as_deref() == Some("already_paid") {
                already.entry(place).or_insert(time);
            } else if already.get(&place).is_some_and(|before| *before < time)
                && of.is_some_and(|made| pays == Some(made.asked.id.as_str()))
            {
                let what = format!("{} of block time {time}: {outcome:?}", tx.id);
                return Ok(wrong("a later payment pays, and an earlier one was too much", what));
            }
        }
        let Some(made) = of.filter(|made| sent.exact && !made.lost && time <= made.deadline) else {
            continue;
        };
        // Of several payments for one invoice any may pay it: which of them came first, and which of them in time, may
        // change in a reorg.
        let place = sent.of.unwrap_or_default();
        let does = is_paid(made.asked.id.as_str(), &outcomes);
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
        let kinds = told.get(made.asked.id.as_str()).cloned().unwrap_or_default();
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

/// True if the amount that the payer of an invoice sends in a block of this time may be another's. It may not while it
/// is held, unless the database has forgotten that; nor before all other amounts of the ring were given out.
fn may_meet(made: &Made, other: Option<&Made>, time: i64) -> bool {
    if made.by != By::Amount {
        return false;
    }
    let is_held = time <= made.deadline + LATE_MS - UNSURE_MS;
    if made.price == TINY_PRICE {
        // The other may be one whose merchant got no answer: the process ended with its commit.
        return made.lost || !is_held;
    }
    let Some(other) = other.filter(|other| other.by == By::Amount) else { return false };
    // Lives that began with the same backup draw their amounts at random, knowing nothing of each other.
    let drawn = made.restored > 0 && other.restored > 0 && made.restored != other.restored;
    // A new life leaves out up to half of a ring.
    (made.lost && drawn) || (!is_held && other.life - made.life > 1)
}

/// Payments that were seen before their invoice was made: they are not for it, whatever block they are in since then.
async fn seen_before(world: &World<'_>) -> anyhow::Result<Option<Wrong>> {
    let sql = "SELECT t.tx, p.invoice_id FROM payment p JOIN transfer t ON t.id = p.transfer_id
               JOIN invoice i ON i.id = p.invoice_id WHERE p.status = 'credited' AND t.seq <= i.sighted";
    let paid = world.store.query(sql, &["tx", "invoice_id"]).await?;
    Ok(paid
        .first()
        .and_then(|row| wrong("what was seen before an invoice was made pays it", format!("{row:?}"))))
}

/// Payments that were credited though their invoice did not hold the amount or the memo at the time of their block.
async fn outside_its_hold(world: &World<'_>) -> anyhow::Result<Option<Wrong>> {
    let sql = "SELECT t.tx, p.invoice_id FROM payment p JOIN transfer t ON t.id = p.transfer_id
               JOIN invoice i ON i.id = p.invoice_id
               WHERE p.status = 'credited' AND i.matching <> 'address' AND NOT EXISTS (
                   SELECT 1 FROM (SELECT invoice_id, since, until FROM hold
                                  UNION ALL SELECT invoice_id, since, until FROM past_hold) h
                   WHERE h.invoice_id = i.id AND t.block_time BETWEEN h.since AND h.until)";
    let paid = world.store.query(sql, &["tx", "invoice_id"]).await?;
    Ok(paid.first().and_then(|row| wrong("an invoice is paid outside its hold", format!("{row:?}"))))
}

/// Events that were sent or credits that were made, and then taken back or repeated.
async fn taken_back(world: &World<'_>) -> anyhow::Result<Option<Wrong>> {
    let sql = "SELECT kind, invoice_id, transfer_id FROM event
               WHERE kind IN ('invoice.paid', 'invoice.expired', 'invoice.reverted', 'transfer.unmatched')
               GROUP BY kind, CASE WHEN kind = 'transfer.unmatched' THEN transfer_id ELSE invoice_id END
               HAVING COUNT(*) > 1 OR kind = 'invoice.reverted'
               UNION ALL SELECT kind, '', transfer_id FROM journal WHERE kind = 'reversal'
               UNION ALL SELECT 'seen twice', '', id FROM transfer WHERE epoch > 1";
    let told = world.store.query(sql, &["kind", "invoice_id", "transfer_id"]).await?;
    Ok(told.first().and_then(|row| wrong("something is taken back, or told twice", format!("{row:?}"))))
}

/// True if a payment of this invoice is credited.
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

/// Coin that contracts sent, which no transfer shows, is listed as rises: all that was waited for, and never more than
/// was sent.
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
        // An invoice's own address is not looked at any more once it is paid.
        if !made.lost && time <= made.deadline && !is_paid(made.asked.id.as_str(), outcomes) {
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

/// A transfer that is no longer on chain is not credited.
fn reorged_away(outcomes: &BTreeMap<String, Outcome>, on_chain: &[String]) -> Option<Wrong> {
    outcomes
        .iter()
        .find(|(tx, outcome)| !on_chain.contains(tx) && outcome.credits != 0)
        .and_then(|(tx, outcome)| wrong("what is not on chain is credited", format!("{tx}: {outcome:?}")))
}
