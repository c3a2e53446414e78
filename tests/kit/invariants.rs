//! Invariants of the database that must hold at every moment, whatever was killed: design invariants 1 to 4 as queries.
//!
//! All queries see one moment. What workers have not got to yet (sightings above settle's cursor, events that wait for
//! dispatch) is not judged, nor is what is so old that some of it may have been deleted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Database, database::Rows, document};

/// Rules, each with a query whose rows break it. All columns are text.
const RULES: &[(&str, &str)] = &[
    (
        "a cursor stands on a block that was stored",
        "SELECT c.network, CAST(c.height AS TEXT), c.hash FROM cursor c
         LEFT JOIN block b ON b.network = c.network AND b.height = c.height AND b.hash = c.hash
         WHERE b.height IS NULL",
    ),
    (
        "no block above the cursor is stored",
        "SELECT b.network, CAST(b.height AS TEXT) FROM block b
         JOIN cursor c ON c.network = b.network WHERE b.height > c.height",
    ),
    (
        "each stored block names the one below as its parent",
        "SELECT b.network, CAST(b.height AS TEXT) FROM block b
         JOIN block below ON below.network = b.network AND below.height = b.height - 1
         WHERE b.parent <> below.hash",
    ),
    (
        "no transfer is above its network's cursor",
        "SELECT t.id, CAST(t.height AS TEXT) FROM transfer t
         JOIN cursor c ON c.network = t.network WHERE t.height > c.height AND t.status <> 'retracted'",
    ),
    (
        "a transfer that counts is in the block that is stored at its height",
        "SELECT t.id, CAST(t.height AS TEXT), t.block_hash FROM transfer t
         JOIN block b ON b.network = t.network AND b.height = t.height
         WHERE t.status <> 'retracted' AND t.block_hash <> b.hash",
    ),
    (
        "a transfer that counts has a payment or is listed with a reason",
        "SELECT t.id, t.status FROM transfer t
         JOIN settle_cursor s ON s.network = t.network
         WHERE t.status <> 'retracted'
           AND s.seq >= COALESCE((SELECT MAX(g.seq) FROM sighting g WHERE g.transfer_id = t.id), 0)
           AND NOT EXISTS (SELECT 1 FROM payment p WHERE p.transfer_id = t.id AND p.status NOT IN ('retracted', 'unassigned'))
           AND NOT EXISTS (SELECT 1 FROM unmatched u WHERE u.transfer_id = t.id)",
    ),
    (
        "a payment of a confirmed transfer is credited",
        "SELECT p.id, p.status FROM payment p
         JOIN transfer t ON t.id = p.transfer_id
         JOIN settle_cursor s ON s.network = t.network
         WHERE t.status IN ('confirmed', 'final')
           AND s.seq >= COALESCE((SELECT MAX(g.seq) FROM sighting g WHERE g.transfer_id = t.id), 0)
           AND p.status NOT IN ('credited', 'unassigned')",
    ),
    (
        "a payment of a retracted transfer is not credited",
        "SELECT p.id FROM payment p
         JOIN transfer t ON t.id = p.transfer_id
         JOIN settle_cursor s ON s.network = t.network
         WHERE t.status = 'retracted'
           AND s.seq >= COALESCE((SELECT MAX(g.seq) FROM sighting g WHERE g.transfer_id = t.id), 0)
           AND p.status = 'credited'",
    ),
    (
        "an invoice waits for a person as long as one of its late transfers does",
        "SELECT i.id, i.status, u.transfer_id FROM unmatched u
         JOIN transfer t ON t.id = u.transfer_id
         JOIN settle_cursor s ON s.network = t.network
         JOIN invoice i ON i.id = u.invoice_id
         WHERE u.state = 'open' AND u.reason = 'late' AND t.status <> 'retracted'
           AND s.seq >= (SELECT MAX(g.seq) FROM sighting g WHERE g.transfer_id = t.id)
           AND i.status NOT IN ('manual_review', 'paid', 'overpaid')",
    ),
    (
        "an invoice waits for nobody when none of its late transfers does",
        "SELECT i.id FROM invoice i WHERE i.status = 'manual_review' AND NOT EXISTS (
           SELECT 1 FROM unmatched u JOIN transfer t ON t.id = u.transfer_id
           JOIN settle_cursor s ON s.network = t.network
           WHERE u.invoice_id = i.id AND u.state = 'open' AND u.reason = 'late'
             AND (t.status <> 'retracted'
                  OR s.seq < (SELECT MAX(g.seq) FROM sighting g WHERE g.transfer_id = t.id)))",
    ),
    (
        "what is credited is not also listed as open",
        "SELECT p.id FROM payment p JOIN unmatched u ON u.transfer_id = p.transfer_id
         WHERE p.status = 'credited' AND u.state = 'open' AND u.reason <> 'rest'",
    ),
    (
        "a payment has at most one active credit, and one exactly while it is credited",
        "SELECT p.id, p.status FROM payment p
         WHERE (SELECT COUNT(*) FROM journal j
                WHERE j.transfer_id = p.transfer_id AND j.part = p.part AND j.kind = 'credit')
             - (SELECT COUNT(*) FROM journal j
                WHERE j.transfer_id = p.transfer_id AND j.part = p.part AND j.kind = 'reversal')
            <> CASE WHEN p.status = 'credited' THEN 1 ELSE 0 END",
    ),
    (
        "a journal is of a payment, or of what a person marked",
        "SELECT j.id FROM journal j LEFT JOIN payment p ON p.transfer_id = j.transfer_id AND p.part = j.part
         LEFT JOIN correction c ON c.id = j.correction_id AND c.kind = 'mark_paid'
         WHERE p.id IS NULL AND c.id IS NULL",
    ),
    (
        "the payments of a transfer are counted from 0 without a gap",
        "SELECT transfer_id FROM payment GROUP BY transfer_id
         HAVING MIN(part) <> 0 OR MAX(part) <> COUNT(*) - 1",
    ),
    (
        "a transfer is listed as one that a matcher is asked about while it waits for one",
        "SELECT u.transfer_id FROM unmatched u LEFT JOIN match_queue q ON q.transfer_id = u.transfer_id
         WHERE u.state = 'open' AND u.reason = 'matching' AND q.transfer_id IS NULL",
    ),
    (
        "a reversal undoes a credit of the same inclusion",
        "SELECT r.id FROM journal r WHERE r.kind = 'reversal' AND NOT EXISTS (
           SELECT 1 FROM journal c WHERE c.transfer_id = r.transfer_id AND c.part = r.part AND c.epoch = r.epoch
             AND c.kind = 'credit')
           AND NOT EXISTS (SELECT 1 FROM journal c WHERE c.correction_id = r.correction_id AND c.kind = 'credit')",
    ),
    (
        "a mark is reversed exactly if it was taken back",
        "SELECT c.id FROM correction c WHERE c.kind = 'mark_paid'
           AND (SELECT COUNT(*) FROM journal j WHERE j.correction_id = c.id)
            <> 1 + (SELECT COUNT(*) FROM correction u WHERE u.of_id = c.id)",
    ),
    (
        "an order has one invoice that is open or paid, unless one was paid after it had made way",
        "SELECT merchant_id, order_id FROM invoice WHERE order_id IS NOT NULL AND order_turn = ''
         GROUP BY merchant_id, test, order_id HAVING COUNT(*) > 1",
    ),
    (
        "an invoice's events are numbered without a gap",
        "SELECT i.id, CAST(i.sequence AS TEXT) FROM invoice i
         WHERE i.created_at >= COALESCE((SELECT before FROM retention WHERE kind = 'events'), 0)
           AND (i.sequence <> (SELECT COUNT(*) FROM event e WHERE e.invoice_id = i.id)
             OR i.sequence <> COALESCE((SELECT MAX(e.sequence) FROM event e WHERE e.invoice_id = i.id), 0))",
    ),
    (
        "an event waits for dispatch or is owed to each endpoint that listens to it",
        "SELECT e.id, e.kind, n.id FROM event e
         JOIN endpoint n ON n.merchant_id = e.merchant_id AND n.test = e.test
         WHERE e.created_at >= COALESCE((SELECT before FROM retention WHERE kind = 'deliveries'), 0)
           AND n.state = 'active' AND n.created_at < e.created_at AND e.kind <> 'endpoint.test'
           AND (n.events IS NULL OR n.events LIKE '%\"' || e.kind || '\"%')
           AND NOT EXISTS (SELECT 1 FROM dispatch_queue q WHERE q.event_id = e.id)
           AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = e.id AND d.endpoint_id = n.id)",
    ),
    (
        "a delivery is queued exactly while it is pending",
        "SELECT d.id, d.state FROM delivery d LEFT JOIN delivery_queue q ON q.delivery_id = d.id
         WHERE (d.state = 'pending') <> (q.delivery_id IS NOT NULL)",
    ),
    (
        "what waits in a line has an earlier one before it",
        "SELECT q.delivery_id FROM delivery_queue q WHERE q.waits = 1 AND NOT EXISTS (
           SELECT 1 FROM delivery_queue p WHERE p.line = q.line AND p.delivery_id <> q.delivery_id
             AND p.place <= q.place)
         UNION ALL
         SELECT q.run_id FROM hook_run_queue q WHERE q.waits = 1 AND NOT EXISTS (
           SELECT 1 FROM hook_run_queue p WHERE p.line = q.line AND p.run_id <> q.run_id AND p.place <= q.place)",
    ),
    (
        "what a merchant's hooks take is what was counted",
        "SELECT d.merchant_id FROM hook_disk d WHERE d.components <> COALESCE((SELECT SUM(v.bytes)
             FROM hook_version v JOIN hook h ON h.id = v.hook_id WHERE h.merchant_id = d.merchant_id), 0)
           OR d.compiled <> COALESCE((SELECT SUM(v.compiled_bytes)
             FROM hook_version v JOIN hook h ON h.id = v.hook_id WHERE h.merchant_id = d.merchant_id), 0)
           OR d.storage <> COALESCE((SELECT SUM(OCTET_LENGTH(s.key) + OCTET_LENGTH(s.value)) FROM plugin_storage s
             JOIN hook h ON s.scope = 'hook:' || h.id WHERE h.merchant_id = d.merchant_id AND s.key <> ''), 0)
           OR d.runs <> COALESCE((SELECT SUM(a.bytes) FROM hook_attempt a JOIN hook_run r ON r.id = a.run_id
             WHERE r.merchant_id = d.merchant_id), 0)
             + COALESCE((SELECT SUM(m.bytes) FROM hook_match m WHERE m.merchant_id = d.merchant_id), 0)
             + COALESCE((SELECT SUM(s.bytes) FROM hook_shadow s JOIN hook h ON h.id = s.hook_id
               WHERE h.merchant_id = d.merchant_id), 0)",
    ),
    (
        "an endpoint's form is a hook of the same merchant and mode that is there",
        "SELECT n.id, h.id FROM endpoint n JOIN hook h ON h.id = n.form_hook_id
         WHERE n.deleted_at IS NULL
           AND (h.merchant_id <> n.merchant_id OR h.test <> n.test OR h.deleted_at IS NOT NULL)",
    ),
    (
        "each attempt is counted, and what is delivered was taken",
        "SELECT d.id, d.state, CAST(d.attempts AS TEXT) FROM delivery d JOIN endpoint n ON n.id = d.endpoint_id
         WHERE d.attempts <> (SELECT COUNT(*) FROM attempt a WHERE a.delivery_id = d.id)
            OR (d.state = 'delivered' AND NOT EXISTS (
                SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.error IS NULL
                  AND (a.status BETWEEN 200 AND 299 OR n.form_hook_id IS NOT NULL)))",
    ),
];

/// Ledger entries: journal, account, asset, amount.
const ENTRIES: &str = "SELECT journal_id, account, asset_id, amount FROM ledger_entry";
/// Amounts of invoices: credited, pending and marked as paid.
const INVOICES: &str = "SELECT id, credited, pending, marked FROM invoice";
/// Amounts that transfers brought and their payments took, and the reason of a rest that is listed.
const PARTS: &str = "SELECT t.id, t.amount, p.amount, COALESCE(u.reason, '') FROM payment p
    JOIN transfer t ON t.id = p.transfer_id LEFT JOIN unmatched u ON u.transfer_id = t.id AND u.state <> 'assigned'
    WHERE p.status <> 'unassigned'";
/// Amounts and states of the payments of invoices.
const PAYMENTS: &str = "SELECT invoice_id, status, amount FROM payment WHERE invoice_id IS NOT NULL";
/// Payloads of events.
const EVENTS: &str = "SELECT id, payload FROM event";

/// Panics with each rule that is broken and the rows that break it.
pub async fn check(database: &Database) {
    let broken = broken(database).await;
    assert!(broken.is_empty(), "broken invariants:\n{}", broken.join("\n"));
}

/// The rules that are broken, each with the rows that break it.
pub async fn broken(database: &Database) -> Vec<String> {
    let mut queries: Vec<&str> = RULES.iter().map(|(_, query)| *query).collect();
    queries.extend([PARTS, ENTRIES, INVOICES, PAYMENTS, EVENTS]);
    let mut answers = database.snapshot(&queries).await;
    let events = answers.pop().expect("events");
    let payments = answers.pop().expect("payments");
    let invoices = answers.pop().expect("invoices");
    let entries = answers.pop().expect("entries");
    let parts = answers.pop().expect("parts");
    let mut broken = Vec::new();
    for ((rule, _), rows) in RULES.iter().zip(answers) {
        if !rows.is_empty() {
            broken.push(format!("{rule}: {rows:?}"));
        }
    }
    rests(&parts, &mut broken);
    sums(&entries, &invoices, &payments, &mut broken);
    shapes(&events, &mut broken);
    broken
}

/// Checks that each event has the shape that the document gives.
fn shapes(events: &Rows, broken: &mut Vec<String>) {
    for row in events {
        let [id, payload] = columns(row);
        let payload: Value = serde_json::from_str(&payload).expect("JSON");
        // What a hook said is erased with the invoice's personal data.
        if payload["data"] == json!({}) {
            continue;
        }
        if let Err(why) = document::check_event(&payload) {
            broken.push(format!("{id} is not as documented: {why}: {payload}"));
        }
    }
}

/// Checks that the payments of a transfer take all that it brought, or that a rest is listed.
fn rests(parts: &Rows, broken: &mut Vec<String>) {
    let mut taken = BTreeMap::new();
    for row in parts {
        let [transfer, brought, part, reason] = columns(row);
        let part: u128 = part.parse().expect("an amount");
        *taken.entry((transfer, brought, reason)).or_insert(0) += part;
    }
    for ((transfer, brought, reason), taken) in taken {
        let brought: u128 = brought.parse().expect("an amount");
        if taken > brought || (taken < brought) != (reason == "rest") {
            broken.push(format!(
                "{transfer} brought {brought}, its payments took {taken}, listed as {reason:?}"
            ));
        }
    }
}

/// Checks the rules about sums, since no database adds up 128 bits.
fn sums(entries: &Rows, invoices: &Rows, payments: &Rows, broken: &mut Vec<String>) {
    let mut journals = BTreeMap::new();
    let mut accounts = BTreeMap::new();
    for row in entries {
        let [journal, account, asset, amount] = columns(row);
        let amount: i128 = amount.parse().expect("an amount");
        *journals.entry((journal, asset)).or_insert(0) += amount;
        *accounts.entry(account).or_insert(0) += amount;
    }
    for ((journal, asset), sum) in journals {
        if sum != 0 {
            broken.push(format!("the entries of journal {journal} in {asset} add up to {sum}"));
        }
    }
    let mut paid = BTreeMap::new();
    for row in payments {
        let [invoice, status, amount] = columns(row);
        let amount: i128 = amount.parse().expect("an amount");
        *paid.entry((invoice, status)).or_insert(0) += amount;
    }
    for row in invoices {
        let [id, credited, pending, marked] = columns(row);
        let marked: i128 = marked.parse().expect("an amount");
        let of = |status: &str| paid.get(&(id.clone(), status.to_owned())).copied().unwrap_or(0);
        let ledger = -accounts.get(&format!("invoice:{id}")).copied().unwrap_or(0);
        if credited.parse() != Ok(of("credited") + marked) || credited.parse() != Ok(ledger) {
            let of = of("credited");
            broken.push(format!(
                "{id} says credited {credited}, its payments {of}, marked {marked}, the ledger {ledger}"
            ));
        }
        if pending.parse() != Ok(of("pending")) {
            broken.push(format!("{id} says pending {pending}, its payments {}", of("pending")));
        }
    }
}

fn columns<const N: usize>(row: &[Option<String>]) -> [String; N] {
    let texts: Vec<String> = row.iter().map(|column| column.clone().unwrap_or_default()).collect();
    texts.try_into().expect("as many columns as asked for")
}
