//! Access to a provider: URL and headers, both sealed, since they contain its tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    db::{
        Conn,
        networks::{self, Upstream},
    },
    domain::{Millis, id::UpstreamId},
    upstreams::{Learned, Terms},
    vault::{Vault, VaultError},
};

/// The URL and the secret headers of a provider.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Drop for Access {
    fn drop(&mut self) {
        self.url.zeroize();
        self.headers.values_mut().for_each(String::zeroize);
    }
}

impl Access {
    /// Access by a URL without headers.
    pub(crate) fn of_url(url: &str) -> Self {
        Self { url: url.to_owned(), headers: BTreeMap::new() }
    }

    /// Scheme, host and port, which may be shown: providers put keys into the path, the query or the user part.
    pub(crate) fn shown(&self) -> String {
        let Ok(url) = self.url.parse::<url::Url>() else { return "…".to_owned() };
        let hidden = url.path() != "/" || url.query().is_some();
        format!("{}{}", url.origin().ascii_serialization(), if hidden { "/…" } else { "" })
    }

    /// Seals it for the row with this id.
    pub(crate) fn seal(&self, vault: &Vault, row_id: &str) -> Result<Vec<u8>, VaultError> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(|_| VaultError::Sealed)?);
        vault.seal(row_id, &text)
    }

    /// Opens what was sealed in this row.
    pub(crate) fn open(vault: &Vault, row: &Upstream) -> Result<Self, VaultError> {
        let text = vault.open(row.id.as_str(), &row.sealed)?;
        serde_json::from_slice(&text).map_err(|_| VaultError::Sealed)
    }

    /// Makes a new row of it.
    pub(crate) fn into_row(
        self,
        vault: &Vault,
        id: UpstreamId,
        network: &str,
        (terms, priority): (Terms, i64),
        created_at: Millis,
    ) -> Result<Upstream, VaultError> {
        Ok(Upstream {
            shown: self.shown(),
            sealed: self.seal(vault, id.as_str())?,
            has_headers: !self.headers.is_empty(),
            id,
            network: network.to_owned(),
            terms,
            priority,
            created_at,
            learned: Learned::default(),
        })
    }
}

/// Seals the URLs of upstreams that are not sealed yet.
pub(crate) async fn seal_all(conn: &mut Conn, vault: &Vault) -> anyhow::Result<()> {
    for row in networks::unsealed(conn).await? {
        let headers = match &row.headers {
            Some(sealed) => serde_json::from_slice(&vault.open(row.id.as_str(), sealed)?)?,
            None => BTreeMap::new(),
        };
        let access = Access { url: row.url, headers };
        let sealed = access.seal(vault, row.id.as_str())?;
        networks::seal_upstream(conn, &row.id, access.shown(), sealed, !access.headers.is_empty()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_key() {
        for (url, shown) in [
            ("https://mainnet.base.org", "https://mainnet.base.org"),
            ("https://u:p@a.example:8545/v2/KEY?k=1", "https://a.example:8545/…"),
            ("https://a.example/?apikey=1", "https://a.example/…"),
        ] {
            assert_eq!(Access::of_url(url).shown(), shown);
        }
    }
}
