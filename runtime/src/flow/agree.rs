//! Agree: transfers of large amounts, which two independent providers have to have seen before they are credited.
//!
//! One worker a network, beside the watcher. What is deep enough by the network's rules and lacks only that is read again,
//! once from each of two providers that have nothing to do with each other: its block has to be the very same, the movement
//! has to be in it as it was read, and each of them has to call it as deep as the rule wants. Who is behind is waited for.
//! Who says otherwise twice in a row makes it disputed: the operator is told both answers, it is not credited, and they are
//! asked again until two agree, be it that the one who is wrong was taken away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    db::{
        DbError, addresses,
        agreements::{self, State},
        alarms, chain,
    },
    domain::{
        Millis,
        alarm::{ProviderAnswer, SecondProviderMissing, TransferDisputed},
        credit::Rule,
        event::Data,
        id::TransferId,
        network::Manifest,
        observation::{self, Plan, Position, Seen},
        transfer::Transfer,
    },
    flow::{
        again::{self, AgainError, ProviderReport},
        first_calls::{First, SetAside, guarded},
        observe::{commit, deep},
    },
};

/// Number of providers that have to agree.
const VOICES: usize = 2;
/// Maximum number of upstreams asked for one transfer.
const ASKED_MAX: usize = 8;
/// Maximum number of transfers of one step.
const TRANSFERS_PER_STEP: usize = 8;
/// Number of contradictions in a row that make a transfer disputed. The first may come from a reorg that the watcher
/// has yet to meet.
const CONTRADICTIONS: u32 = 2;
/// Time until a try that decided nothing is repeated, milliseconds; it doubles each time.
const AGAIN_MS: Millis = 500;
const AGAIN_MS_MAX: Millis = 30_000;
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(5);

/// Asks second providers of one network until told to stop.
pub(crate) async fn run(app: App, network: Arc<Manifest>, stop: CancellationToken) {
    if !network.wants_agreement() {
        return;
    }
    let rest = Duration::from_millis(network.poll_ms).clamp(REST_MIN, REST_MAX);
    let mut worker = Worker::new(app, network);
    loop {
        if let Err(error) = worker.step().await
            && error.trouble().is_none()
        {
            tracing::error!(network = worker.network.name, %error, "second providers cannot be asked; tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// One provider's answer about a transfer.
enum Says {
    /// The transfer is where it was read, and deep enough.
    Sees,
    /// The transfer is there, and not deep enough yet.
    Shallow,
    Otherwise(String),
}

struct Voice {
    provider: String,
    says: Says,
}

impl Voice {
    fn answer(&self) -> ProviderAnswer {
        let answer = match &self.says {
            Says::Sees => "as it was read".to_owned(),
            Says::Shallow => "as it was read, and not deep enough yet".to_owned(),
            Says::Otherwise(what) => what.clone(),
        };
        ProviderAnswer { provider: self.provider.clone(), answer }
    }
}

struct Worker {
    app: App,
    network: Arc<Manifest>,
    first: First,
    /// By the transfer and its block.
    tried: HashMap<(TransferId, String), Tried>,
}

/// Tries so far to have a transfer confirmed by a second provider.
#[derive(Default)]
struct Tried {
    times: u32,
    /// Earliest time of the next try, by [`crate::clock::Clock::passed`].
    not_before: Millis,
    /// Number of contradictions in a row.
    contradicted: u32,
}

fn key(transfer: &Transfer) -> (TransferId, String) {
    (transfer.id.clone(), transfer.block_hash.clone())
}

impl Worker {
    fn new(app: App, network: Arc<Manifest>) -> Self {
        Self { app, network, first: First::New, tried: HashMap::new() }
    }

    async fn step(&mut self) -> Result<(), DbError> {
        let name = self.network.name.clone();
        let mut conn = self.app.db.read().await?;
        let cursor = chain::cursor(&mut conn, &name).await?;
        let Some(cursor) = cursor.filter(|cursor| cursor.frozen.is_none()) else { return Ok(()) };
        let waiting = deep::but_unagreed(&mut conn, &self.network, cursor.depth()).await?;
        drop(conn);
        let count = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        metrics::gauge!("kassa_transfers_unagreed", "network" => name.clone()).set(count);
        self.tried.retain(|of, _| waiting.iter().any(|(transfer, _)| key(transfer) == *of));
        let resource = format!("agree/{name}");
        if waiting.is_empty() || self.app.leases.claim(&resource).await?.is_none() {
            return Ok(());
        }
        let (app, network, mut first) = (self.app.clone(), Arc::clone(&self.network), self.first);
        let work = Box::pin(self.ask_all(waiting));
        let asked = guarded(&app, &network, &resource, &mut first, work).await;
        self.first = first;
        asked?.unwrap_or_else(|SetAside| Ok(()))
    }

    async fn ask_all(&mut self, mut waiting: Vec<(Transfer, Rule)>) -> Result<(), DbError> {
        if self.app.upstreams.providers(&self.network.name).len() < VOICES {
            for (transfer, _) in waiting {
                let network = self.network.name.clone();
                let alarm = SecondProviderMissing { network, transfer: (&transfer).into() };
                self.note(&transfer, State::Alone, Data::SecondProviderMissing(alarm.into())).await?;
            }
            return Ok(());
        }
        let now = self.app.clock.passed();
        let tried = |transfer: &Transfer| self.tried.get(&key(transfer));
        waiting.retain(|(transfer, _)| tried(transfer).is_none_or(|tried| tried.not_before <= now));
        // What nobody can decide does not keep others waiting.
        waiting.sort_by_key(|(transfer, _)| tried(transfer).map_or(0, |tried| tried.times));
        for (transfer, rule) in waiting.into_iter().take(TRANSFERS_PER_STEP) {
            // It costs calls each time.
            let tried = self.tried.entry(key(&transfer)).or_default();
            tried.not_before = now + (AGAIN_MS << tried.times.min(20)).min(AGAIN_MS_MAX);
            tried.times = tried.times.saturating_add(1);
            let voices = self.ask(&transfer, rule).await?;
            self.judge(&transfer, &voices).await?;
        }
        Ok(())
    }

    /// Asks upstreams until enough have answered or there is none left to ask now.
    async fn ask(&self, transfer: &Transfer, rule: Rule) -> Result<Vec<Voice>, DbError> {
        let from = Position { height: transfer.height - 1, hash: String::new() };
        let (mut voices, mut passed_over) = (Vec::new(), Vec::new());
        for _ in 0..ASKED_MAX {
            let read = again::read(&self.app, &self.network, &from, transfer.height, &passed_over);
            match Box::pin(read).await {
                Ok(told) => {
                    let upstreams = &self.app.upstreams;
                    let provider =
                        told.upstream.as_ref().and_then(|id| upstreams.provider(&self.network.name, id));
                    // It was taken away meanwhile.
                    let Some(provider) = provider else { break };
                    passed_over.extend(upstreams.of_provider(&self.network.name, &provider));
                    voices.push(Voice { provider, says: self.says(&told, transfer, rule).await? });
                    if voices.len() == VOICES {
                        break;
                    }
                }
                Err(AgainError::Db(error)) => return Err(error),
                Err(AgainError::Unanswered { upstream: Some(id), .. }) => passed_over.push(id),
                Err(_) => break,
            }
        }
        Ok(voices)
    }

    async fn says(&self, told: &ProviderReport, transfer: &Transfer, rule: Rule) -> Result<Says, DbError> {
        let (scan, height) = (&told.scan, transfer.height);
        match scan.blocks.iter().find(|block| block.height == height) {
            Some(block) if block.hash == transfer.block_hash => {}
            Some(block) => return Ok(Says::Otherwise(format!("block {height} is {}", block.hash))),
            None => return Ok(Says::Otherwise(format!("there is no block {height}"))),
        }
        let Some(seen) = scan.transfers.iter().find(|seen| is_movement(seen, transfer)) else {
            let (tx, ordinal) = (&transfer.tx, transfer.ordinal);
            return Ok(Says::Otherwise(format!("block {height} has no movement {ordinal} of {tx}")));
        };
        let asset = self.network.assets.get(seen.asset).map(|asset| asset.id(&self.network.name));
        let mut conn = self.app.db.read().await?;
        let owners =
            addresses::by_address(&mut conn, &self.network.name, std::slice::from_ref(&seen.recipient))
                .await?;
        let is_its = owners.get(&seen.recipient).is_some_and(|owner| owner.id == transfer.address_id);
        if !is_its || seen.amount != transfer.amount || asset.as_ref() != Some(&transfer.asset_id) {
            let amount = seen.amount.map_or("too much to count".to_owned(), |amount| amount.0.to_string());
            let asset = asset.unwrap_or_default();
            return Ok(Says::Otherwise(format!("it moved {amount} of {asset} to {}", seen.recipient)));
        }
        let depth = observation::depth(scan.head.height, scan, 0);
        Ok(if height <= depth.credited_to(rule.at) { Says::Sees } else { Says::Shallow })
    }

    async fn judge(&mut self, transfer: &Transfer, voices: &[Voice]) -> Result<(), DbError> {
        let tried = self.tried.entry(key(transfer)).or_default();
        if voices.iter().any(|voice| matches!(voice.says, Says::Otherwise(_))) {
            tried.contradicted = tried.contradicted.saturating_add(1);
            if voices.len() == VOICES && tried.contradicted >= CONTRADICTIONS {
                let network = self.network.name.clone();
                let answers = voices.iter().map(Voice::answer).collect();
                let alarm = TransferDisputed { network, transfer: transfer.into(), answers };
                return self.note(transfer, State::Disputed, Data::TransferDisputed(alarm.into())).await;
            }
            return Ok(());
        }
        tried.contradicted = 0;
        if voices.len() == VOICES && voices.iter().all(|voice| matches!(voice.says, Says::Sees)) {
            return self.agreed(transfer).await;
        }
        Ok(())
    }

    /// Records that a transfer is not credited, and tells the operator once.
    async fn note(&self, transfer: &Transfer, state: State, alarm: Data) -> Result<(), DbError> {
        let (transfer, now) = (transfer.clone(), self.app.clock.now());
        let (network, tx) = (self.network.name.clone(), transfer.tx.clone());
        let is_news = self
            .app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    let is_news = agreements::note(conn, &transfer, state, now).await?;
                    if is_news {
                        alarms::tell(conn, &alarm, now).await?;
                    }
                    Ok(is_news)
                })
            })
            .await?;
        if is_news {
            tracing::error!(
                network,
                tx,
                state = state.as_str(),
                "a large transfer is not credited: two providers have to agree"
            );
            self.app.wake.dispatch.notify_one();
        }
        Ok(())
    }

    /// Records that two providers have seen a transfer, and confirms it.
    async fn agreed(&self, transfer: &Transfer) -> Result<(), DbError> {
        let (network, transfer, now) = (Arc::clone(&self.network), transfer.clone(), self.app.clock.now());
        self.app
            .db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move {
                    // First of all: this takes the row's lock, so that the log is numbered in order of commit.
                    let Some((cursor, seq)) = chain::lock(conn, &network.name).await? else { return Ok(()) };
                    agreements::note(conn, &transfer, State::Agreed, now).await?;
                    if cursor.frozen.is_some() {
                        return Ok(());
                    }
                    let logged =
                        commit::put(conn, &network, Plan::default(), cursor.depth(), seq, now).await?;
                    if logged != seq {
                        chain::logged(conn, &network.name, logged).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.app.wake.settle.notify_waiters();
        Ok(())
    }
}

fn is_movement(seen: &Seen, transfer: &Transfer) -> bool {
    seen.tx == transfer.tx && seen.ordinal == transfer.ordinal
}
