//! Statements that an address's owner signs: a text for people that says all that it is about, and ends with a code of
//! this installation's over all of it. So nothing is stored until it comes back signed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Millis, id::MerchantId, view};

/// Time for which a statement can be handed in, milliseconds.
pub(crate) const VALID_MS: Millis = 60 * 60 * 1000;
/// Number of random bytes of a code: 128 bits suffice against guesses of one per request.
const CODE_BYTES: usize = 16;
const CODE: &str = "\nCode: ";

/// The thing that a statement claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Address,
    /// Signed for by the first address that it derives: whoever has that address's private key and the extended public
    /// key can derive all private keys.
    ExtendedKey,
}

impl Subject {
    fn sentence(self) -> &'static str {
        match self {
            Self::Address => "This address is mine. I receive payments for this merchant at it.",
            Self::ExtendedKey => {
                "The extended public key that begins with this address is mine. I receive payments for this merchant at \
                 its addresses."
            }
        }
    }
}

/// A merchant's claim to own an address or an extended key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) subject: Subject,
    pub(crate) merchant_id: &'a MerchantId,
    pub(crate) network: &'a str,
    pub(crate) caip2: &'a str,
    /// The address in normal form; for an extended key the first one that it derives.
    pub(crate) address: &'a str,
}

/// Reason that a statement does not fit a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It was changed, or made by another installation.
    NotOurs,
    AnotherMerchant,
    AnotherNetwork,
    AnotherAddress,
    Expired,
}

/// Makes the statement of a claim, for the merchant of this name.
pub(crate) fn statement(key: &[u8], claim: &Claim<'_>, merchant_name: &str, now: Millis) -> String {
    let [network, address] = lines(claim);
    let text = format!(
        "{}\nMerchant: {merchant_name} ({})\n{network}\n{address}\nTime: {}",
        claim.subject.sentence(),
        claim.merchant_id,
        view::time(now),
    );
    let code = mac(key, &text).map(|mac| mac.finalize().into_bytes());
    let code = code.as_deref().and_then(|code| code.get(..CODE_BYTES)).unwrap_or_default();
    format!("{text}{CODE}{}", hex::encode(code))
}

/// Checks that a statement was made with one of these keys, is of this claim, and is still valid.
pub(crate) fn check(keys: &[[u8; 32]], statement: &str, claim: &Claim<'_>, now: Millis) -> Result<(), Unfit> {
    let (text, code) = statement.rsplit_once(CODE).ok_or(Unfit::NotOurs)?;
    let mut bytes = [0; CODE_BYTES];
    hex::decode_to_slice(code, &mut bytes).map_err(|_| Unfit::NotOurs)?;
    let made_with =
        |key: &[u8; 32]| mac(key, text).is_some_and(|mac| mac.verify_truncated_left(&bytes).is_ok());
    if !keys.iter().any(made_with) {
        return Err(Unfit::NotOurs);
    }
    // From here on the text is as it was made, and no name has a line break.
    let mut parts = text.split('\n');
    let mut next = || parts.next().unwrap_or_default();
    let (sentence, merchant, network, address, time) = (next(), next(), next(), next(), next());
    let [wanted_network, wanted_address] = lines(claim);
    if !merchant.ends_with(&format!(" ({})", claim.merchant_id)) {
        return Err(Unfit::AnotherMerchant);
    }
    if network != wanted_network {
        return Err(Unfit::AnotherNetwork);
    }
    if address != wanted_address || sentence != claim.subject.sentence() {
        return Err(Unfit::AnotherAddress);
    }
    let made: Option<jiff::Timestamp> = time.strip_prefix("Time: ").and_then(|time| time.parse().ok());
    let made = made.ok_or(Unfit::NotOurs)?.as_millisecond();
    if now.saturating_sub(made) >= VALID_MS { Err(Unfit::Expired) } else { Ok(()) }
}

fn lines(claim: &Claim<'_>) -> [String; 2] {
    [format!("Network: {} ({})", claim.network, claim.caip2), format!("Address: {}", claim.address)]
}

fn mac(key: &[u8], text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const NOW: Millis = 1_790_000_000_000;
    static MERCHANT: LazyLock<MerchantId> = LazyLock::new(|| "mer_1".into());

    fn claim() -> Claim<'static> {
        Claim {
            subject: Subject::Address,
            merchant_id: &MERCHANT,
            network: "base",
            caip2: "eip155:8453",
            address: "0x52908400098527886E0F7030069857D2E4169EE7",
        }
    }

    #[test]
    fn a_statement_reads_well_and_is_of_its_claim() {
        let made = statement(&[1; 32], &claim(), "K\u{e4}se (mer_2)", NOW);
        let text = "This address is mine. I receive payments for this merchant at it.\n\
                    Merchant: K\u{e4}se (mer_2) (mer_1)\n\
                    Network: base (eip155:8453)\n\
                    Address: 0x52908400098527886E0F7030069857D2E4169EE7\n\
                    Time: 2026-09-21T14:13:20.000Z\n\
                    Code: ";
        assert_eq!(made.rsplit_once(' ').map(|(text, _)| format!("{text} ")).as_deref(), Some(text));
        assert_eq!(made.len(), text.len() + 32);
        assert_eq!(check(&[[1; 32]], &made, &claim(), NOW), Ok(()));
        // A replica's clock may be behind.
        assert_eq!(check(&[[1; 32]], &made, &claim(), NOW - 5_000), Ok(()));
        assert_eq!(check(&[[1; 32]], &made, &claim(), NOW + VALID_MS - 1), Ok(()));
        assert_eq!(check(&[[1; 32]], &made, &claim(), NOW + VALID_MS), Err(Unfit::Expired));
        for (claim, why) in [
            (Claim { merchant_id: &"mer_2".into(), ..claim() }, Unfit::AnotherMerchant),
            (Claim { merchant_id: &"1".into(), ..claim() }, Unfit::AnotherMerchant),
            (Claim { network: "bas", ..claim() }, Unfit::AnotherNetwork),
            (Claim { caip2: "eip155:1", ..claim() }, Unfit::AnotherNetwork),
            (Claim { address: "0x5", ..claim() }, Unfit::AnotherAddress),
            (Claim { subject: Subject::ExtendedKey, ..claim() }, Unfit::AnotherAddress),
        ] {
            assert_eq!(check(&[[1; 32]], &made, &claim, NOW), Err(why), "{claim:?}");
        }
    }

    #[test]
    fn whatever_is_changed_is_not_ours() {
        let made = statement(&[1; 32], &claim(), "Shop", NOW);
        assert_eq!(check(&[[2; 32]], &made, &claim(), NOW), Err(Unfit::NotOurs));
        // The master key was exchanged meanwhile.
        assert_eq!(check(&[[2; 32], [1; 32]], &made, &claim(), NOW), Ok(()));
        for place in 0..made.len() {
            let mut bytes = made.clone().into_bytes();
            bytes[place] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(check(&[[1; 32]], &changed, &claim(), NOW), Err(Unfit::NotOurs), "{changed}");
        }
        let cut = made.get(..made.len() - 2).unwrap();
        let moved = made.replace("base", "base\nCode: 00");
        for other in
            ["", "\nCode: ", cut, &format!("{made}00"), &format!("{made}\n"), &format!("\n{made}"), &moved]
        {
            assert_eq!(check(&[[1; 32]], other, &claim(), NOW), Err(Unfit::NotOurs), "{other}");
        }
    }
}
