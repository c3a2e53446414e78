//! Times at which a plugin asks for the safe and the final block: at the head they seldom matter, and they cost calls.

use super::Watcher;
use crate::{
    db::{Conn, DbError, chain},
    domain::{Millis, credit::Credit},
    host::Finality,
};

/// Maximum number of polls, and maximum time in milliseconds, between requests for the safe and the final block.
const FINALITY_POLLS: Millis = 30;
const FINALITY_MS: Millis = 60_000;

impl Watcher {
    /// The safe and the final block as last reported. `None` if they are to be asked for again: at intervals, and at
    /// once if a credit or a promise waits for them.
    pub(super) async fn finality(
        &self,
        conn: &mut Conn,
        cursor: Option<&chain::Cursor>,
        now: Millis,
    ) -> Result<Option<Finality>, DbError> {
        let (Some(cursor), Some(asked)) = (cursor, self.finality_at) else { return Ok(None) };
        let poll_ms = Millis::try_from(self.network.poll_ms).unwrap_or(FINALITY_MS);
        let is_old = now - asked >= poll_ms.saturating_mul(FINALITY_POLLS).min(FINALITY_MS);
        if is_old || self.failures > 0 || cursor.final_time < 0 || cursor.hash.is_empty() {
            return Ok(None);
        }
        let by_tag = self.network.credits().any(|credit| matches!(credit, Credit::Tag(_)));
        if by_tag && chain::is_waited_for(conn, &self.network.name, cursor.r#final).await? {
            return Ok(None);
        }
        let height = |height: i64| u64::try_from(height).unwrap_or(0);
        Ok(Some(Finality { safe: cursor.safe.map(height), final_: height(cursor.r#final) }))
    }
}
