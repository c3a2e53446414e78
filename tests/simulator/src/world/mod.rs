//! Carries a schedule out: one database, one or two replicas, a chain, and time.

mod turns;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use kassa::simulation::{
    self, Again, Asset, By, Clock, MERCHANTS, NETWORK, NotMade, PaymentDetails, Process, Scene, Store,
    address_of,
};

use crate::{
    chain::{Ledger, Provider, State, Tx, lock},
    judge::Wrong,
    random::Random,
    schedule::{ALL, How, Op, Schedule, TINY_PRICE, Turn},
};

/// Beginning of every simulation, milliseconds since 1970: 2027-01-15.
const START: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// Time for which everything stops while a backup is restored, milliseconds.
const RESTORING_MS: i64 = 180_000;

/// An invoice that was made for a merchant.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) number: usize,
    pub(crate) asset: Asset,
    pub(crate) by: By,
    /// Price without the suffix.
    pub(crate) price: u128,
    pub(crate) asked: PaymentDetails,
    /// True time at which it was made.
    pub(crate) at: i64,
    /// Deadline that its payer was told, in true time.
    pub(crate) deadline: i64,
    /// Number of backups that had been restored before.
    pub(crate) restored: u32,
    /// The life of the database in which it was made.
    pub(crate) life: i64,
    /// True if the database does not know it any more, because it went back to an earlier backup.
    pub(crate) lost: bool,
}

/// A payment that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) tx: String,
    /// Index of the invoice that it is meant for. `None` if nobody asked for it.
    pub(crate) of: Option<usize>,
    pub(crate) exact: bool,
}

/// State of a running simulation.
pub(crate) struct World<'a> {
    scene: &'a Scene,
    pub(crate) store: &'a mut Store,
    folder: &'a Path,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) schedule: &'a Schedule,
    /// The true time, milliseconds.
    now: i64,
    replicas: [Option<Replica>; 2],
    /// Milliseconds by which each machine's clock is ahead.
    ahead: [i64; 2],
    pub(crate) made: Vec<Made>,
    pub(crate) sent: Vec<Sent>,
    /// Payments that are sent later.
    later: Vec<(i64, Tx)>,
    backup: Option<Backup>,
    restored: u32,
    /// True if any blocks are to be read again, or any balances compared.
    beside: bool,
    /// Time of the block at which reading began: nothing was promised before.
    pub(crate) began: Option<i64>,
    starts: u64,
    life: i64,
    /// The first rule that was broken on the way.
    pub(crate) wrong: Option<Wrong>,
    verbose: bool,
}

struct Replica {
    process: Process,
    clock: Clock,
    provider: Arc<Provider>,
}

struct Backup {
    file: tempfile::TempPath,
    invoices: usize,
    ahead: i64,
}

impl<'a> World<'a> {
    pub(crate) async fn begin(
        scene: &'a Scene,
        store: &'a mut Store,
        folder: &'a Path,
        schedule: &'a Schedule,
        verbose: bool,
    ) -> anyhow::Result<World<'a>> {
        simulation::revive();
        let ledger = Arc::new(Mutex::new(Ledger::new(START - 60_000, schedule.depth)));
        store.begin_anew().await?;
        let mut world = World {
            scene,
            store,
            folder,
            ledger,
            schedule,
            now: START,
            replicas: [None, None],
            ahead: [0, 0],
            made: Vec::new(),
            sent: Vec::new(),
            later: Vec::new(),
            backup: None,
            restored: 0,
            beside: false,
            began: None,
            starts: 0,
            life: 0,
            wrong: None,
            verbose,
        };
        world.start(0).await?;
        Ok(world)
    }

    /// Starts or restarts a replica. Its provider keeps its state.
    async fn start(&mut self, at: usize) -> anyhow::Result<()> {
        // A crash that was planned belongs to the process before.
        simulation::revive();
        let provider = match self.replicas[at].take() {
            Some(replica) => replica.provider,
            None => Arc::new(Provider::new(Arc::clone(&self.ledger))),
        };
        // Leases end by the database's own clock, which simulated time does not move: nobody has to wait for them.
        self.store.end_leases().await?;
        self.starts += 1;
        let seed = self.schedule.seed.wrapping_mul(1_000).wrapping_add(self.starts);
        let clock = Clock::standing(self.now + self.ahead[at]);
        let confirmations = self.schedule.confirmations;
        let chain = Arc::clone(&provider) as Arc<dyn simulation::Chain>;
        let process =
            Process::start(self.scene, self.store, chain, clock.clone(), seed, confirmations).await?;
        self.replicas[at] = Some(Replica { process, clock, provider });
        let life = self.store.query("SELECT CAST(life AS TEXT) AS life FROM installation", &["life"]).await?;
        self.life = life.concat().concat().parse()?;
        Ok(())
    }

    fn goes_wrong(&mut self, kind: &'static str, what: String) {
        self.wrong.get_or_insert(Wrong { kind, what });
    }

    async fn crashed(&mut self, at: usize) -> anyhow::Result<()> {
        simulation::revive();
        self.say(format_args!("replica {at} ended at a commit, and starts again"));
        self.start(at).await
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.verbose {
            let ms = self.now - START;
            println!("  {:>9}.{:03} s  {what}", ms / 1000, ms % 1000);
        }
    }

    pub(crate) async fn take(&mut self, Turn { op, workers }: &Turn) -> anyhow::Result<()> {
        self.say(format_args!("{op:?}"));
        match op {
            Op::Wait { ms, blocks } => return self.wait(*ms, *blocks, *workers).await,
            Op::Invoice { .. } => self.invoice(op).await?,
            &Op::Pay { number, how, from_deadline, passed_over } => {
                self.pay(number, how, from_deadline, passed_over);
            }
            Op::Stray { merchant, asset, amount } => {
                let (id, to) = (self.note(None, false), address_of(&MERCHANTS[*merchant]));
                let (asset, amount, sent_at) = (*asset, *amount, self.now);
                let tx = Tx { id, to, asset, unseen: false, amount, memo: None, sent_at, passed_over: 0 };
                lock(&self.ledger).send(tx);
            }
            // If the machine's clock is useless, a lag that nobody can see is not made up for. (It lags by blocks that
            // are hours apart here, but seconds apart on a real chain.)
            Op::Provider(State::Lags(_)) if self.ahead[0].abs() > DAY_MS => self.each_provider(State::Well),
            Op::Provider(state) => self.each_provider(*state),
            Op::Reorg { deep, shuffle } => {
                let mut random = Random::new(*shuffle);
                lock(&self.ledger).reorg(*deep, |below| random.below(below));
            }
            Op::Crash { nth, made } => simulation::doom(*nth, *made),
            Op::Restart => self.start(0).await?,
            Op::Clock { ms } => {
                self.ahead[0] += ms;
                if self.ahead[0].abs() > DAY_MS {
                    self.each_provider(State::Well);
                }
                if let Some(replica) = &self.replicas[0] {
                    replica.clock.jump(*ms);
                }
            }
            Op::Second if self.replicas[1].is_some() => {
                simulation::revive();
                self.replicas[1] = None;
                self.store.end_leases().await?;
            }
            Op::Second => self.start(1).await?,
            Op::Leases => {
                simulation::revive();
                self.store.end_leases().await?;
            }
            Op::Overlap { deep, shuffle } => self.overlap(*deep, *shuffle).await?,
            Op::Rescan { blocks, ms } => self.rescan(*blocks, *ms).await?,
            Op::BackUp => {
                let file = tempfile::NamedTempFile::new_in(self.folder)?.into_temp_path();
                self.store.back_up(&file).await?;
                self.backup = Some(Backup { file, invoices: self.made.len(), ahead: self.ahead[0] });
            }
            Op::Restore => self.restore().await?,
        }
        self.work(*workers).await
    }

    fn each_provider(&self, state: State) {
        for replica in self.replicas.iter().flatten() {
            replica.provider.set(state);
        }
    }

    async fn restore(&mut self) -> anyhow::Result<()> {
        simulation::revive();
        let Some(Backup { file, invoices, ahead }) = &self.backup else { return Ok(()) };
        let (invoices, ahead) = (*invoices, *ahead);
        self.replicas = [None, None];
        self.store.restore(file).await?;
        self.restored += 1;
        for made in self.made.iter_mut().skip(invoices) {
            made.lost = true;
        }
        self.pass(RESTORING_MS);
        self.began = None;
        self.ahead[0] = ahead;
        self.start(0).await
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        lock(&self.ledger).pass(self.now);
        for replica in self.replicas.iter().flatten() {
            replica.clock.shift(ms);
        }
    }

    /// Lets time pass, and blocks with it. At the end of a long time the last two blocks come quickly, as blocks do.
    async fn wait(&mut self, ms: i64, blocks: u32, workers: u8) -> anyhow::Result<()> {
        let quick = if ms > 600_000 { 2 } else { 0 };
        let slow = blocks.saturating_sub(quick).max(1);
        let each = (ms - i64::from(quick) * 5_000) / i64::from(slow);
        for step in 0..slow + quick {
            self.pass(if step < slow { each } else { 5_000 });
            self.mine();
            self.work(workers).await?;
        }
        Ok(())
    }

    fn mine(&mut self) {
        let now = self.now;
        let mut ledger = lock(&self.ledger);
        let due = |(at, _): &(i64, Tx)| *at <= now;
        for (_, tx) in self.later.iter().filter(|later| due(later)) {
            ledger.send(tx.clone());
        }
        self.later.retain(|later| !due(later));
        ledger.mine(now);
    }

    /// Names a payment that is to be sent.
    fn note(&mut self, of: Option<usize>, exact: bool) -> String {
        let id = format!("tx{}", self.sent.len());
        self.sent.push(Sent { tx: id.clone(), of, exact });
        id
    }

    async fn invoice(&mut self, op: &Op) -> anyhow::Result<()> {
        let &Op::Invoice { number, merchant, asset, amount, by, expires_in_s } = op else { return Ok(()) };
        // The replicas that exist make it, in turn.
        let at = if self.replicas[1].is_some() && number % 2 == 1 { 1 } else { 0 };
        let Some(replica) = &self.replicas[at] else { return Ok(()) };
        match replica.process.invoice(&MERCHANTS[merchant], asset, amount, by, expires_in_s).await {
            Ok(asked) => {
                self.say(format_args!("  {} due {} at {}", asked.id, asked.due, asked.address));
                let deadline = self.now + expires_in_s * 1000;
                self.beside |= asset == Asset::Coin;
                self.made.push(Made {
                    number,
                    asset,
                    by,
                    price: amount,
                    asked,
                    at: self.now,
                    deadline,
                    restored: self.restored,
                    life: self.life,
                    lost: false,
                });
            }
            Err(NotMade::Ended) => self.crashed(at).await?,
            Err(NotMade::NotStarted) => self.say(format_args!("  refused: the network was never read")),
            Err(NotMade::Exhausted) if amount == TINY_PRICE => {
                self.say(format_args!("  refused: all amounts are held"));
                let coin = if asset == Asset::Coin { "native" } else { "usdt" };
                let ring = format!("adr_{}/{NETWORK}:{coin}={}", MERCHANTS[merchant], TINY_PRICE / 10);
                let held = self.store.query("SELECT key FROM hold", &["key"]).await?.concat();
                let of_ring = held.iter().filter(|key| key.starts_with(&ring)).count();
                if of_ring != 2 {
                    self.goes_wrong("an invoice is refused, and an amount is free", format!("{held:?}"));
                }
            }
            Err(NotMade::Exhausted) => {
                self.goes_wrong("an invoice is refused", "no amount is free".to_owned());
            }
            Err(NotMade::Refused(why)) => self.goes_wrong("an invoice is refused", why),
        }
        Ok(())
    }

    fn pay(&mut self, number: usize, how: How, from_deadline: Option<i64>, passed_over: u32) {
        let Some(index) = self.made.iter().position(|made| made.number == number) else { return };
        let Made { asset, asked, deadline, .. } = self.made[index].clone();
        let off = if let How::Off(off) = how { off } else { 0 };
        let amount = asked.due.saturating_add_signed(i128::from(off));
        let unseen = how == How::Unseen && asset == Asset::Coin;
        let id = self.note(Some(index), off == 0);
        let at = from_deadline.map(|from| deadline + from).filter(|at| *at > self.now);
        let sent_at = at.unwrap_or(self.now);
        let tx = Tx { id, to: asked.address, asset, unseen, amount, memo: asked.memo, sent_at, passed_over };
        match at {
            Some(at) => self.later.push((at, tx)),
            None => lock(&self.ledger).send(tx),
        }
    }

    async fn rescan(&mut self, blocks: i64, ms: Option<i64>) -> anyhow::Result<()> {
        let Some(replica) = &self.replicas[0] else { return Ok(()) };
        let Some((height, _)) = replica.process.read_to().await? else { return Ok(()) };
        let from = match ms {
            Some(ms) => Again::Time(self.now - ms),
            None => Again::Height((height - blocks).max(1)),
        };
        self.beside = true;
        if replica.process.order_rescan(from).await.is_err() {
            self.crashed(0).await?;
        }
        Ok(())
    }

    /// Ends the simulation: providers are well again, the chain goes on, and everything is read to the end.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        simulation::revive();
        self.say(format_args!("the end: everyone is well, and a day and a half passes"));
        self.each_provider(State::Well);
        self.wait(15_000, 3, ALL).await?;
        self.wait(36 * 3_600_000, 6, ALL).await?;
        let mut rounds = 0;
        while lock(&self.ledger).waiting() > 0 || !self.later.is_empty() {
            rounds += 1;
            anyhow::ensure!(rounds < 50, "payments wait for ever");
            self.wait(3_600_000, 3, ALL).await?;
        }
        // What is paid by now becomes final, and one more block shows that time has passed.
        let blocks = u32::try_from(self.schedule.depth).unwrap_or(0) + 2;
        self.wait(i64::from(blocks) * 5_000, blocks, ALL).await
    }
}
