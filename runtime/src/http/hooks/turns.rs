//! Limits on uploads: one at a time for each merchant, and a maximum number in an hour.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::{
    app::App,
    domain::{Millis, id::MerchantId},
    http::{
        auth::Merchant,
        problem::{Kind, Problem},
    },
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
pub(super) struct Turn(MerchantId);

impl Turn {
    pub(super) fn take(app: &App, merchant: &Merchant) -> Result<Self, Problem> {
        let (now, max) = (app.clock.now(), app.config.hooks.uploads_per_hour);
        if app.config.hooks.per_merchant == 0 {
            let detail = "The operator has not opened hooks to merchants (hooks.per_merchant).";
            return Err(Problem::new(Kind::HookLimit, detail));
        }
        let mut uploads = UPLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        let Uploads { under_way, of_late } = uploads.get_or_insert_default();
        if under_way.contains(&merchant.tenant.merchant) {
            let detail = "Another upload of yours is under way; wait for its end.";
            return Err(Problem::new(Kind::UploadsLimited, detail).retry_after(5));
        }
        of_late.retain(|_, (began, _)| now - *began < HOUR_MS);
        let (began, count) = of_late.entry(merchant.tenant.merchant.clone()).or_insert((now, 0));
        if *count >= max {
            let left_s = u64::try_from((*began + HOUR_MS - now) / 1000 + 1).unwrap_or(3600);
            let detail = format!("{max} in an hour are allowed (hooks.uploads_per_hour).");
            return Err(Problem::new(Kind::UploadsLimited, detail).retry_after(left_s));
        }
        *count += 1;
        under_way.insert(merchant.tenant.merchant.clone());
        Ok(Self(merchant.tenant.merchant.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut uploads = UPLOADS.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.get_or_insert_default().under_way.remove(&self.0);
    }
}
