//! The next free child of a merchant's extended public key: where addresses of invoices and customers come from.
//!
//! A child is given to one caller only, by the key's row. Whether its address is in use (registered by hand, or derived
//! before the key was known here) is looked up, and a stretch of those is stepped over at once.

use crate::{
    app::App,
    db::{
        DbError,
        addresses::{self, ExtendedKey, SetKeyError},
        installation,
        ownership::Proof,
    },
    domain::{
        id::{ExtendedKeyId, MerchantId},
        network::Manifest,
        slots,
    },
    host::{Address, CallFailed, DeriveError},
};

/// Number of children derived in one look ahead.
const LOOK_AHEAD: u32 = 100;
/// Maximum number of looks before an error. Children that were stepped over stay so.
const LOOKS_MAX: usize = 20;
/// Minimum number of children skipped in a new life of the database: they may have been given out after the backup was
/// made.
const LEFT_OUT: i64 = 1_000;
/// Maximum multiple of [`LEFT_OUT`] that is skipped.
const LEFT_OUT_TIMES: u32 = 500;
/// Number of children of a key: 31 bits, by BIP 32.
const CHILDREN: i64 = 1 << 31;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Plugin(#[from] CallFailed),
    #[error("there is no extended public key")]
    NoKey,
    #[error("the extended public key has no more children")]
    UsedUp,
    #[error("the extended public key derives no address")]
    Refused(DeriveError),
    #[error("too many children of the extended public key are in use")]
    AllInUse,
}

/// An address that nobody has yet.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) text: String,
    pub(crate) key: Vec<u8>,
    pub(crate) index: i64,
}

/// Sets the key from which a merchant's addresses on a network are derived. A key that was set before goes on where it
/// was, however it is written: it is known by its first address. A new one begins at `first`, or else at a block of its
/// own.
pub(crate) async fn set_key(
    app: &App,
    merchant_id: MerchantId,
    network: &Manifest,
    public_key: String,
    first_address: String,
    first: Option<u32>,
    proof: Proof,
) -> Result<ExtendedKey, SetKeyError> {
    let created_at = app.clock.now();
    let mut key = ExtendedKey {
        id: ExtendedKeyId::new(created_at),
        next_index: first.map_or_else(|| first_index(&merchant_id, &network.name, &first_address), i64::from),
        merchant_id,
        network: network.name.clone(),
        public_key,
        created_at,
        ownership_proven_at: None,
    };
    let left_out = left_out(app.ids.random());
    app.db
        .write(move |conn| {
            Box::pin(async move {
                // A backup may have forgotten that it was set, and what was given out of it.
                if first.is_none() && installation::life(conn).await? > 0 {
                    key.next_index += left_out;
                }
                addresses::put_extended_key(conn, &key, &first_address, proof).await
            })
        })
        .await
}

/// Takes the next child whose address nobody has.
pub(crate) async fn next(
    app: &App,
    merchant_id: &MerchantId,
    network: &Manifest,
) -> Result<Child, ChildError> {
    for _ in 0..LOOKS_MAX {
        let (key, index) = take(app, merchant_id, network).await?;
        if let Some(address) = free(app, network, &key, index, 1).await?.pop() {
            return Ok(Child { text: address.1.text, key: address.1.key, index });
        }
        // In use, or there is no such child: the first of the next ones that is free is the next.
        let ahead = free(app, network, &key, index + 1, LOOK_AHEAD).await?;
        let to = ahead.first().map_or(index + 1 + i64::from(LOOK_AHEAD), |(free, _)| *free);
        let id = key.id;
        app.db
            .write::<_, DbError, _>(move |conn| {
                Box::pin(async move { addresses::step_over(conn, &id, to).await })
            })
            .await?;
    }
    Err(ChildError::AllInUse)
}

async fn take(
    app: &App,
    merchant_id: &MerchantId,
    network: &Manifest,
) -> Result<(ExtendedKey, i64), ChildError> {
    let (merchant_id, name) = (merchant_id.clone(), network.name.clone());
    let left_out = left_out(app.ids.random());
    let taken = app
        .db
        .write::<_, DbError, _>(move |conn| {
            Box::pin(async move {
                let Some(key) = addresses::extended_key_of(conn, &merchant_id, &name).await? else {
                    return Ok(None);
                };
                let life = installation::life(conn).await?;
                let index = addresses::next_index(conn, &key.id, life, left_out).await?;
                Ok(index.map(|index| (key, index)))
            })
        })
        .await?;
    taken.ok_or(ChildError::NoKey)
}

/// Children from `from` on, `count` at most, whose addresses nobody has.
async fn free(
    app: &App,
    network: &Manifest,
    key: &ExtendedKey,
    from: i64,
    count: u32,
) -> Result<Vec<(i64, Address)>, ChildError> {
    if from >= CHILDREN {
        return Err(ChildError::UsedUp);
    }
    let mut derived = Vec::new();
    for index in from..(from + i64::from(count)).min(CHILDREN) {
        let child = u32::try_from(index).map_err(|_| ChildError::UsedUp)?;
        match app.host.derive_address(network, &key.public_key, child).await? {
            Ok(address) => derived.push((index, address)),
            Err(DeriveError::NoChild) => {}
            Err(error) => {
                tracing::error!(network = network.name, ?error, "a stored extended key derives no address");
                return Err(ChildError::Refused(error));
            }
        }
    }
    let texts: Vec<String> = derived.iter().map(|(_, address)| address.text.clone()).collect();
    let taken = addresses::by_address(&mut app.db.read().await?, &network.name, &texts).await?;
    derived.retain(|(_, address)| !taken.contains_key(&address.text));
    Ok(derived)
}

/// Number of children that a new life of the database skips: random, so that of two that began with the same backup the
/// second does not give out the first one's addresses.
fn left_out([random, _]: [u32; 2]) -> i64 {
    LEFT_OUT * (1 + i64::from(random % LEFT_OUT_TIMES))
}

/// First index of a new key, unless the merchant names one: a multiple of a million that depends on the merchant's
/// random id. Two installations with one key thus give out different addresses, and one that has forgotten the key
/// knows where it began. It is in the lower half, which leaves room for thousands of lives.
fn first_index(merchant_id: &MerchantId, network: &str, public_key: &str) -> i64 {
    const BLOCK: i64 = 1_000_000;
    let drawn = slots::drawn_from(&format!("{merchant_id} {network} {public_key}"));
    i64::from(drawn) % (CHILDREN / 2 / BLOCK) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_room_for_thousands_of_lives() {
        for random in [0, 1, 499, 500, 1_072, 1_073, u32::MAX] {
            let left_out = left_out([random, 0]);
            assert!((1_000..=500_000).contains(&left_out), "{left_out}");
            let first = first_index(&"mer_1".into(), "base", &random.to_string());
            assert!(first + 2_000 * 500_000 < CHILDREN, "{first}");
        }
        assert_ne!(left_out([0, 0]), left_out([1, 0]));
        assert_ne!(
            first_index(&"mer_1".into(), "base", "xpub"),
            first_index(&"mer_2".into(), "base", "xpub")
        );
        assert_eq!(
            first_index(&"mer_1".into(), "base", "xpub"),
            first_index(&"mer_1".into(), "base", "xpub")
        );
    }
}
