//! Which unique amounts are free, in memory. Read from the database when a ring is first used.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    db::{Db, DbError, invoices},
    domain::{money::Amount, slots::Ring},
};

/// Rings kept in memory. More prices than that at once are read again when they are next used.
const RINGS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Rings {
    by_key: Mutex<HashMap<String, State>>,
}

struct State {
    price: Amount,
    ring: Ring,
    /// Places that are held, or proposed to somebody.
    held: HashSet<u32>,
    /// The place that was given out last.
    last: u32,
}

impl State {
    fn propose(&mut self) -> Option<Amount> {
        if self.held.len() >= usize::try_from(self.ring.slots()).unwrap_or(usize::MAX) {
            return None;
        }
        let mut place = self.last;
        for _ in 0..self.ring.slots() {
            place = self.ring.next(place);
            if !self.held.contains(&place) {
                self.held.insert(place);
                self.last = place;
                return self.ring.due(self.price, place);
            }
        }
        None
    }

    fn free(&mut self, due: Amount) {
        if let Some(place) = self.ring.place(self.price, due) {
            self.held.remove(&place);
        }
    }
}

impl Rings {
    /// A due amount that seems free; it counts as held from now on. `None`: none is.
    pub(super) async fn propose(
        &self,
        db: &Db,
        key: &str,
        ring: Option<Ring>,
        price: Amount,
    ) -> Result<Option<Amount>, DbError> {
        // Without a suffix there is one amount only; the database says whether it is free.
        let Some(ring) = ring else { return Ok(Some(price)) };
        if let Some(state) = self.lock().get_mut(key) {
            return Ok(state.propose());
        }
        let held = invoices::held_in(&mut db.read().await?, key).await?;
        let places: Vec<u32> = held.iter().filter_map(|held| ring.place(price, due_of(held)?)).collect();
        let last = places.last().copied().unwrap_or(0);
        let state = State { price, ring, held: places.into_iter().collect(), last };
        let mut rings = self.lock();
        if rings.len() >= RINGS_MAX {
            rings.clear();
        }
        Ok(rings.entry(key.to_owned()).or_insert(state).propose())
    }

    /// A proposal was not used.
    pub(super) fn give_back(&self, key: &str, due: Amount) {
        if let Some(state) = self.lock().get_mut(key) {
            state.free(due);
        }
    }

    /// These holds (key and ring) were let go of.
    pub(super) fn released(&self, released: &[(String, String)]) {
        let mut rings = self.lock();
        for (key, ring) in released {
            if let (Some(state), Some(due)) = (rings.get_mut(ring), due_of(key)) {
                state.free(due);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The amount in a hold's key.
fn due_of(key: &str) -> Option<Amount> {
    key.rsplit_once('=')?.1.parse().ok()
}
