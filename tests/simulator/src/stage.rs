//! The place where schedules run: one database, and what it takes to run one after the other on it.

use std::{path::PathBuf, sync::Arc};

use kassa::simulation::{Scene, Store};
use tokio::runtime::Runtime;

use crate::{
    judge::{self, Wrong},
    schedule::Schedule,
    world::World,
};

/// Everything on which one thread runs one schedule after the other.
pub(crate) struct Stage {
    scene: Arc<Scene>,
    folder: PathBuf,
    runtime: Runtime,
    store: Store,
}

impl Stage {
    pub(crate) fn new(scene: Arc<Scene>, folder: PathBuf) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(Store::new(&scene))?;
        Ok(Self { scene, folder, runtime, store })
    }

    /// Runs a schedule. Returns the rule that was broken, if one was.
    pub(crate) fn run(&mut self, schedule: &Schedule, verbose: bool) -> anyhow::Result<Option<Wrong>> {
        let Self { scene, folder, runtime, store } = self;
        runtime.block_on(async {
            let mut world = World::begin(scene, store, folder, schedule, verbose).await?;
            for turn in &schedule.turns {
                world.take(turn).await?;
            }
            world.end().await?;
            judge::judge(&world).await
        })
    }
}
