//! Limits on uploads: one at a time for each merchant, and a maximum number in an hour.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use super::HookError;
use crate::{
    app::App,
    domain::{Millis, id::MerchantId},
};

const HOUR_MS: Millis = 3_600_000;

/// Uploads under way, and their numbers in the last hour. Compiling is expensive: a merchant may upload one component
/// at a time, and `uploads_per_hour`. Each process counts for itself.
static UPLOADS: Mutex<Option<Uploads>> = Mutex::new(None);

#[derive(Default)]
struct Uploads {
    under_way: HashSet<MerchantId>,
    /// Start of each merchant's hour, and the number of uploads since then.
    of_late: HashMap<MerchantId, (Millis, u32)>,
}

/// The right to one upload, until it is dropped.
pub(crate) struct Turn(MerchantId);

impl Turn {
    pub(crate) fn take(app: &App, merchant_id: &MerchantId) -> Result<Self, HookError> {
        let (now, max) = (app.clock.now(), app.config.hooks.uploads_per_hour);
        if app.config.hooks.per_merchant == 0 {
            return Err(HookError::NotOpened);
        }
        let mut uploads = UPLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        let Uploads { under_way, of_late } = uploads.get_or_insert_default();
        if under_way.contains(merchant_id) {
            return Err(HookError::UploadUnderWay);
        }
        of_late.retain(|_, (began, _)| now - *began < HOUR_MS);
        let (began, count) = of_late.entry(merchant_id.clone()).or_insert((now, 0));
        if *count >= max {
            let wait_s = u64::try_from((*began + HOUR_MS - now) / 1000 + 1).unwrap_or(3600);
            return Err(HookError::Uploads { max, wait_s });
        }
        *count += 1;
        under_way.insert(merchant_id.clone());
        Ok(Self(merchant_id.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut uploads = UPLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.get_or_insert_default().under_way.remove(&self.0);
    }
}
