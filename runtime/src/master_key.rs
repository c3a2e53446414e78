//! The master key of this installation, and whether it is the one that its database was sealed with.
//!
//! With another one nothing opens: no key of the API is known, no webhook can be signed, and what is sealed meanwhile is
//! lost when the right one comes back. So a start looks at a canary first, and makes a new key for a new database alone.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    db::{
        Db, DbError, installation,
        master_keys::{self, MasterKey},
    },
    domain::Millis,
    vault::{Vault, VaultError},
};

/// The file in the data folder.
const FILE: &str = "master.key";
/// What the canary is sealed for, and says.
const CANARY: (&str, &[u8]) = ("canary", b"kassa");

/// Opens the master key: that of the variable `KASSA_MASTER_KEY`, or of the file in the data folder, which is made if
/// nothing in the database was sealed yet.
pub(crate) async fn open(db: &Db, data_dir: &Path) -> anyhow::Result<Vault> {
    if let Ok(text) = std::env::var("KASSA_MASTER_KEY") {
        return Vault::from_hex(&text).context("KASSA_MASTER_KEY");
    }
    let file = data_dir.join(FILE);
    if let Some(vault) = Vault::open_file(&file)? {
        return Ok(vault);
    }
    match master_keys::present(&mut db.read().await?).await? {
        None => Ok(Vault::create(&file)?),
        Some(key) => anyhow::bail!(
            "{} is not there, and what this database keeps is sealed with the master key {}. Put it back from its own backup, \
             or set KASSA_MASTER_KEY; without it no API key and no webhook secret can be used again",
            file.display(),
            key.id,
        ),
    }
}

/// Refuses a key that this database was not sealed with. A new database is sealed with it from now on.
pub(crate) async fn check(db: &Db, vault: &Vault, now: Millis) -> anyhow::Result<()> {
    let (row, says) = CANARY;
    let ours = MasterKey { id: vault.id(), canary: vault.seal(row, says)? };
    let theirs = db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                installation::alone(conn).await?;
                let present = master_keys::present(conn).await?;
                if present.is_none() {
                    master_keys::keep(conn, ours, now).await?;
                }
                Ok(present)
            })
        })
        .await?;
    let Some(theirs) = theirs else { return Ok(()) };
    match vault.open(row, &theirs.canary) {
        Ok(said) if said.as_slice() == says => Ok(()),
        Ok(_) | Err(VaultError::Sealed) => anyhow::bail!(
            "what this database keeps is sealed with the master key {}, and this one is {}. Start with the right one: its \
             file is {FILE} in the data folder, or the variable KASSA_MASTER_KEY; replicas share it",
            theirs.id,
            vault.id(),
        ),
        Err(error) => Err(error.into()),
    }
}
