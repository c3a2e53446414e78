//! For chain plugins: parts of payment links.

use crate::chain::{LinkError, PaymentRequest};
use crate::types::{Asset, Network};
use std::fmt::Write as _;

/// The asset of a payment request.
pub fn asset_of<'n>(network: &'n Network, request: &PaymentRequest) -> Result<&'n Asset, LinkError> {
    let asset = usize::try_from(request.asset).ok().and_then(|index| network.assets.get(index));
    asset.ok_or_else(|| {
        LinkError::Malformed(format!("there is no asset {} on {}", request.asset, network.name))
    })
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unreserved_is_encoded() {
        assert_eq!(encoded("A-1._~z9"), "A-1._~z9");
        assert_eq!(encoded("a b&c=ü%\0"), "a%20b%26c%3D%C3%BC%25%00");
    }
}
