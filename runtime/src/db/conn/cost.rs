//! For tests: what a query costs, so that one that walks past what it does not show is found, whatever its plan.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value as Json;
use sqlx::{Executor as _, Row as _};

use super::{Conn, Handle, postgres_query, sqlite_query};
use crate::db::Value;

/// A query with its arguments.
pub(crate) type Query = (Cow<'static, str>, Vec<Value>);

tokio::task_local! {
    /// Queries of a task, as recorded.
    pub(crate) static ASKED: Mutex<Vec<Query>>;
}

pub(super) fn asked(sql: Cow<'static, str>, args: &[Value]) {
    let _ = ASKED.try_with(|asked| asked.lock().unwrap().push((sql, args.to_vec())));
}

impl Conn {
    /// Runs a query of a reader. Returns its steps on SQLite's virtual machine, or the number of rows that PostgreSQL
    /// looked at.
    pub(crate) async fn cost(&mut self, (sql, args): Query) -> u64 {
        match self.handle().unwrap() {
            Handle::Sqlite(conn) => {
                let steps = Arc::new(AtomicU64::new(0));
                let counted = steps.clone();
                let count = move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    true
                };
                conn.lock_handle().await.unwrap().set_progress_handler(1, count);
                conn.fetch_all(sqlite_query(sql, args)).await.unwrap();
                conn.lock_handle().await.unwrap().remove_progress_handler();
                steps.load(Ordering::Relaxed)
            }
            Handle::Postgres(conn) => {
                let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}");
                let row = conn.fetch_one(postgres_query(&explain, args)).await.unwrap();
                let plan: Json = serde_json::from_str(row.try_get_raw(0).unwrap().as_str().unwrap()).unwrap();
                looked_at(&plan[0]["Plan"])
            }
        }
    }
}

fn looked_at(node: &Json) -> u64 {
    let number = |name: &str| node[name].as_u64().unwrap_or(0);
    let rows =
        number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let below = node["Plans"].as_array().map_or(0, |plans| plans.iter().map(looked_at).sum());
    rows * number("Actual Loops").max(1) + below
}
