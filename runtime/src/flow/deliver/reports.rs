//! Attempts that have ended and are not written down yet, and when they are worth a transaction.
//!
//! A transaction dirties about as many pages for one report as for ten, since deliveries of many endpoints lie apart. So a
//! report waits for others while any are under way: some milliseconds, or until there are many.

use std::{sync::Arc, time::Duration};

use crate::db::deliveries::report::Ended;

/// Maximum number of reports in one transaction.
const MAX: usize = 512;
/// Number of reports that are written without waiting for more.
const WORTH: usize = 256;
/// Time that fewer reports wait for more.
pub(super) const WAIT: Duration = Duration::from_millis(15);

/// Reports to be written, one transaction at a time.
#[derive(Default)]
pub(super) struct Reports {
    ended: Vec<Ended>,
    writing: bool,
    /// A call of [`Reports::waited`] is to come.
    waiting: bool,
    /// The wait is over.
    is_due: bool,
}

/// Next step with reports.
pub(super) enum Next {
    Write(Arc<Vec<Ended>>),
    /// Call [`Reports::waited`] after [`WAIT`].
    Wait,
    Nothing,
}

impl Reports {
    pub(super) fn push(&mut self, ended: Ended) {
        self.ended.push(ended);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// The next step while `under_way` attempts run.
    pub(super) fn next(&mut self, under_way: usize) -> Next {
        if self.writing || self.ended.is_empty() {
            return Next::Nothing;
        }
        if self.is_due || under_way == 0 || self.ended.len() >= WORTH {
            (self.writing, self.is_due) = (true, false);
            let rest = self.ended.split_off(self.ended.len().min(MAX));
            return Next::Write(Arc::new(std::mem::replace(&mut self.ended, rest)));
        }
        if std::mem::replace(&mut self.waiting, true) { Next::Nothing } else { Next::Wait }
    }

    pub(super) fn waited(&mut self) {
        (self.waiting, self.is_due) = (false, !self.ended.is_empty());
    }

    /// Records that the transaction has ended.
    pub(super) fn written(&mut self) {
        self.writing = false;
    }

    /// Takes back reports whose transaction failed.
    pub(super) fn again(&mut self, reports: &[Ended]) {
        self.ended.extend_from_slice(reports);
    }

    /// Records that the write or wait under way panicked and will not report back.
    pub(super) fn broken(&mut self) {
        (self.writing, self.waiting) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::retry;

    fn ended() -> Ended {
        Ended {
            delivery_id: "dlv_1".into(),
            endpoint_id: "ep_1".into(),
            fence: 1,
            number: 1,
            in_round: 1,
            at: 1,
            duration_ms: 1,
            status: Some(200),
            error: None,
            response: None,
            next: retry::Next::Delivered,
            skipped: None,
            set_aside: None,
            form_call: None,
        }
    }

    fn written(next: Next) -> usize {
        match next {
            Next::Write(reports) => reports.len(),
            Next::Wait | Next::Nothing => 0,
        }
    }

    #[test]
    fn a_report_waits_only_while_others_are_under_way() {
        let mut reports = Reports::default();
        assert!(matches!(reports.next(0), Next::Nothing));
        reports.push(ended());
        assert_eq!(written(reports.next(0)), 1);
        // The next one is collected meanwhile.
        reports.push(ended());
        assert!(matches!(reports.next(0), Next::Nothing));
        reports.written();
        assert!(matches!(reports.next(1), Next::Wait));
        reports.push(ended());
        assert!(matches!(reports.next(1), Next::Nothing), "it is asked for once");
        reports.waited();
        assert_eq!(written(reports.next(1)), 2);
        reports.written();
        // Waiting ends for nobody, and makes nobody due.
        reports.waited();
        reports.push(ended());
        assert!(matches!(reports.next(1), Next::Wait));
    }

    #[test]
    fn many_are_written_at_once_and_not_too_many() {
        let mut reports = Reports::default();
        (0..WORTH - 1).for_each(|_| reports.push(ended()));
        assert_eq!(written(reports.next(9)), 0);
        (0..MAX).for_each(|_| reports.push(ended()));
        assert_eq!(written(reports.next(9)), MAX);
        reports.again(&[ended(), ended()]);
        reports.broken();
        assert_eq!(written(reports.next(0)), WORTH - 1 + 2);
    }
}
