//! Turns of the workers, and their length.

use kassa::simulation;

use super::{Replica, World};
use crate::{
    chain::lock,
    random::Random,
    schedule::{ALL, BESIDE, EXPIRE, OBSERVE, SECOND, SETTLE},
};

/// Maximum number of steps of one worker in a turn.
const STEPS_MAX: usize = 40;

impl World<'_> {
    /// Lets everyone whose turn it is work until there is nothing left, or until the turn ends.
    pub(super) async fn work(&mut self, workers: u8) -> anyhow::Result<()> {
        for at in 0..self.replicas.len() {
            if at == 1 && workers & SECOND == 0 {
                continue;
            }
            if self.turn(at, workers).await.is_err() {
                self.crashed(at).await?;
            }
        }
        if self.began.is_none()
            && let Some(replica) = self.replicas.iter().flatten().next()
        {
            self.began = replica.process.read_to().await?.map(|(_, final_time)| final_time);
        }
        Ok(())
    }

    async fn turn(&mut self, at: usize, workers: u8) -> Result<(), simulation::Ended> {
        let Some(Replica { process, .. }) = &mut self.replicas[at] else { return Ok(()) };
        process.live().await?;
        for _ in 0..STEPS_MAX {
            if workers & OBSERVE == 0 || !process.observe().await? {
                break;
            }
        }
        for _ in 0..STEPS_MAX {
            if workers & BESIDE == 0 || !self.beside || !(process.rescan().await? | process.compare().await?)
            {
                break;
            }
        }
        for _ in 0..STEPS_MAX {
            if workers & SETTLE == 0 || !process.settle().await? {
                break;
            }
        }
        for _ in 0..STEPS_MAX {
            if workers & EXPIRE == 0 || !process.expire().await? {
                break;
            }
        }
        Ok(())
    }

    /// Delays the answer to the first replica until the second has done the same work.
    pub(super) async fn overlap(&mut self, deep: u64, shuffle: u64) -> anyhow::Result<()> {
        simulation::revive();
        if self.replicas[1].is_none() {
            self.start(1).await?;
        }
        let Some(mut first) = self.replicas[0].take() else { return Ok(()) };
        let (has_left, arrive) = first.provider.slow_down();
        {
            let mut step = std::pin::pin!(first.process.observe());
            let asked = tokio::select! {
                biased;
                _ = &mut step => false,
                _ = has_left => true,
            };
            if asked {
                let before = self.cursor().await?;
                self.mine();
                let mut random = Random::new(shuffle);
                lock(&self.ledger).reorg(deep, |below| random.below(below));
                self.store.end_leases().await?;
                if self.turn(1, ALL).await.is_err() {
                    self.crashed(1).await?;
                }
                let meanwhile = self.cursor().await?;
                let _ = arrive.send(());
                // No crash is planned here.
                let _ = step.await;
                let after = self.cursor().await?;
                if meanwhile != before && after != meanwhile {
                    let what = format!("from {meanwhile:?} to {after:?}");
                    self.goes_wrong("an answer that came too late moves the cursor", what);
                }
            }
        }
        self.replicas[0] = Some(first);
        Ok(())
    }

    async fn cursor(&self) -> anyhow::Result<Vec<Vec<String>>> {
        self.store.query("SELECT hash, CAST(final AS TEXT) AS final FROM cursor", &["hash", "final"]).await
    }
}
