//! Lists, a page at a time, the newest first: `{"data": […], "next_cursor": "…"}`.
//!
//! A cursor is the id of the last row that was given out, in base64 so that nobody builds on its inside. Ids sort
//! by time, so rows that come in meanwhile move no page.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Kind, Problem};
use crate::domain::id::Id;

const LIMIT_DEFAULT: u32 = 25;
const LIMIT_MAX: u32 = 100;

/// Parameters of a list without filters of its own.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// How many to give, from 1 to 100; 25 if not said.
    #[param(minimum = 1, maximum = 100, default = 25)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Rows to read: `id < before ORDER BY id DESC LIMIT rows`.
#[derive(Debug, Clone)]
pub(crate) struct Page<I> {
    before: I,
    /// Number of rows to read: one more than are shown, to see if there is a next page.
    rows: i64,
    limit: usize,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    pub(crate) data: Vec<T>,
    /// For the next page; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

impl PageParams {
    pub(crate) fn page<I: Id>(&self) -> Result<Page<I>, Problem> {
        Page::new(self.limit, self.cursor.as_deref())
    }
}

impl<I: Id> Page<I> {
    /// A page of a list whose rows have these ids.
    pub(crate) fn new(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit is from 1 to {LIMIT_MAX}.");
            return Err(Problem::new(Kind::QueryMalformed, detail).field("limit"));
        }
        let before = match cursor {
            None => I::greatest(),
            Some(cursor) => read_cursor(cursor).ok_or_else(|| {
                Problem::new(Kind::CursorMalformed, "Take next_cursor of the page before, unchanged.")
                    .field("cursor")
            })?,
        };
        Ok(Self { before, rows: i64::from(limit) + 1, limit: usize::try_from(limit).unwrap_or(usize::MAX) })
    }

    /// The id that the rows are below, and their maximum number.
    pub(crate) fn span(&self) -> (I, i64) {
        (self.before.clone(), self.rows)
    }

    /// Makes the answer from the rows read.
    pub(crate) fn cut<R, V>(
        &self,
        mut rows: Vec<R>,
        id: impl Fn(&R) -> &I,
        view: impl FnMut(R) -> V,
    ) -> Listed<V> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(id(row).as_str()));
        Listed { data: rows.into_iter().map(view).collect(), next_cursor }
    }
}

impl<T> Listed<T> {
    /// A list that always fits on one page.
    pub(crate) fn all(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

fn read_cursor<I: Id>(cursor: &str) -> Option<I> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{EventId, InvoiceId};

    #[test]
    fn pages_follow_on_each_other() {
        let mut ids: Vec<EventId> = (0..60).map(|i| EventId::new(1_000 + i)).collect();
        ids.reverse();
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..3 {
            let page = Page::<EventId>::new(None, cursor.as_deref()).unwrap();
            let rows = usize::try_from(page.rows).unwrap();
            let found = ids.iter().filter(|id| **id < page.before).take(rows).cloned().collect();
            let listed = page.cut(found, |id: &EventId| id, |id| id);
            seen.extend(listed.data);
            cursor = listed.next_cursor;
        }
        assert_eq!(seen, ids);
        assert_eq!(cursor, None);
    }

    #[test]
    fn foreign_cursors_and_odd_limits_are_refused() {
        let invoice = URL_SAFE_NO_PAD.encode(InvoiceId::new(1).as_str());
        for cursor in ["", "x", "%%%", invoice.as_str(), "J29yIDE9MSc"] {
            assert_eq!(Page::<EventId>::new(None, Some(cursor)).unwrap_err().kind, Kind::CursorMalformed);
        }
        for limit in [0, 101, u32::MAX] {
            assert_eq!(Page::<EventId>::new(Some(limit), None).unwrap_err().kind, Kind::QueryMalformed);
        }
    }
}
