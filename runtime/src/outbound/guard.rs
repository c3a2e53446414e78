//! Rules for the destinations of outbound requests.
//!
//! A merchant names the URL of a webhook; without a guard it could name what stands behind the operator's
//! firewall (server-side request forgery). Two gates, since the HTTP client has two ways to an address:
//! - an IP address in the URL is connected to as it is, so [`check`] looks at it. The URL parser has by then
//!   brought `0x7f.1`, `2130706433` and `[::ffff:127.0.0.1]` into their one form;
//! - a name is resolved by [`Resolver`], which hands the client only addresses that [`is_public`] allows. What
//!   was checked is what is connected to: a name that answers differently the second time (DNS rebinding) is
//!   checked the second time.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Position, Url};

use super::OutboundError;

/// Origin of the address, which decides on where it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A merchant, a hook, a payer: public addresses over https.
    Public,
    /// The operator: anywhere, over https or http.
    Any,
}

/// Maximum length of a URL, bytes. Many servers refuse longer ones too.
const URL_LEN_MAX: usize = 2048;

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)
}

/// Ranges that are not public. Source: the IANA IPv4 special-purpose address registry, and two that clouds use for
/// metadata.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT; metadata of Alibaba
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // metadata of Azure, an address of the public range
    v4(169, 254, 0, 0, 16),   // link-local; metadata of most clouds
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments; metadata of Oracle
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
];

/// Global unicast, the whole public part of IPv6. Outside it: unspecified, loopback, v4-mapped and v4-compatible, NAT64
/// (64:ff9b::/96 and 64:ff9b:1::/48), discard (100::/64), SRv6 (5f00::/16), unique local (fc00::/7, with the metadata
/// of AWS, fd00:ec2::254), link-local, site-local, multicast.
const PUBLIC_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Ranges inside it that are not public (IANA IPv6 special-purpose address registry).
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    // protocol assignments: Teredo (which carries an IPv4 address), benchmarking, ORCHID
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // documentation
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    Ipv6Net::new_assert(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4, which carries an IPv4 address
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// True if an address belongs to the public internet.
#[must_use]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Parses a URL that someone wants requests to be sent to. The rules are those of [`check`].
///
/// # Errors
/// `Malformed` or `Denied`, for whoever wrote the URL.
pub(crate) fn parse_url(text: &str, reach: Reach) -> Result<Url, OutboundError> {
    if text.len() > URL_LEN_MAX {
        return Err(malformed("the URL is longer than 2048 bytes"));
    }
    // The parser drops blanks at the ends and line breaks anywhere; whoever sent them meant something else.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(malformed("the URL contains blanks or control characters"));
    }
    let url = Url::parse(text).map_err(|error| malformed(&format!("not a URL: {error}")))?;
    check(&url, reach)?;
    Ok(url)
}

/// True if a request for `url` asks for exactly what `text`, from which it was parsed, says: only characters that
/// cannot stand in a request may have been percent-encoded. The parser takes `\` for `/`, resolves `..` segments, and
/// fills in slashes before the host.
pub(crate) fn is_as_written(text: &str, url: &Url) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return false;
    }
    let mut sent = url[Position::BeforePath..Position::AfterQuery].bytes();
    // An empty path is requested as `/`.
    let root = (!path.starts_with('/')).then_some(b'/');
    root.into_iter().chain(path.bytes()).all(|byte| match sent.next() {
        Some(same) if same == byte => true,
        Some(b'%') => format!("{byte:02X}").bytes().all(|digit| sent.next() == Some(digit)),
        _ => false,
    }) && sent.next().is_none()
}

/// Checks everything that can be known of a URL before its name is resolved.
pub(super) fn check(url: &Url, reach: Reach) -> Result<(), OutboundError> {
    match url.scheme() {
        "https" => {}
        "http" if reach == Reach::Any => {}
        "http" => return Err(denied("the URL must begin with https://")),
        _ => return Err(malformed("the URL must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("the URL must not contain a user name or a password"));
    }
    if url.fragment().is_some() {
        return Err(malformed("the URL must not contain a fragment (#)"));
    }
    if url.port() == Some(0) {
        return Err(malformed("port 0 cannot be connected to"));
    }
    let address = match url.host() {
        None => return Err(malformed("the URL names no host")),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
    };
    if reach == Reach::Public && !is_public(address) {
        return Err(denied("the URL leads to an address that is not public"));
    }
    Ok(())
}

fn malformed(why: &str) -> OutboundError {
    OutboundError::Malformed(why.to_owned())
}

fn denied(why: &str) -> OutboundError {
    OutboundError::Denied(why.to_owned())
}

/// Lookup of a name's addresses; tests bring their own.
pub(crate) type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Maximum number of concurrent lookups. The system's resolver holds a thread for each, and goes on when nobody waits
/// any more.
const LOOKUPS_MAX: usize = 128;

/// The system's resolver.
pub(super) fn system_lookup() -> Lookup {
    let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
    Arc::new(move |name| {
        let permits = permits.clone();
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::spawn(async move {
                let found = tokio::net::lookup_host((name, 0)).await;
                drop(permit);
                found.map(|addresses| addresses.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    })
}

/// Error of a name with forbidden addresses only. It is in the source chain of the client's error.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to no public address")]
pub(super) struct NoPublicAddress;

/// The resolver of the HTTP client.
pub(super) struct Resolver {
    pub(super) lookup: Lookup,
    pub(super) reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        let reach = self.reach;
        Box::pin(async move {
            let mut addresses = found.await?;
            if reach == Reach::Public {
                addresses.retain(|address| is_public(*address));
                if addresses.is_empty() {
                    return Err(NoPublicAddress.into());
                }
            }
            // Port 0: the client sets the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2400:cb00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_private_address_is_denied() {
        for text in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://0/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::169.254.169.254]/",
            "https://[2002:a9fe:a9fe::]/",
            "https://[fd00:ec2::254]/",
            "https:127.0.0.1/",
            "https:\\\\127.0.0.1\\",
        ] {
            assert!(matches!(parse_url(text, Reach::Public), Err(OutboundError::Denied(_))), "{text}");
        }
    }

    #[test]
    fn a_url_that_hides_something_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for text in [
            "",
            "example.com/hook",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://:pass@example.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com/#x",
            " https://example.com/",
            "https://example.com/\n",
            "https://exam\tple.com/",
            "https://[fe80::1%25eth0]/",
            "https://256.1.1.1/",
            &long,
        ] {
            assert!(matches!(parse_url(text, Reach::Public), Err(OutboundError::Malformed(_))), "{text}");
        }
        assert!(matches!(parse_url("http://example.com/", Reach::Public), Err(OutboundError::Denied(_))));
        for text in ["https://example.com", "https://example.com:8443/hook?x=1", "https://1.1.1.1/"] {
            assert!(parse_url(text, Reach::Public).is_ok(), "{text}");
        }
        for text in ["http://127.0.0.1:8545", "https://localhost/", "http://[::1]:1/"] {
            assert!(parse_url(text, Reach::Any).is_ok(), "{text}");
        }
    }

    fn fixed(answers: Vec<Vec<&'static str>>) -> Lookup {
        let answers = std::sync::Mutex::new(answers.into_iter());
        Arc::new(move |_| {
            let answer = answers.lock().unwrap().next().unwrap_or_default();
            let answer = answer.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(answer) })
        })
    }

    #[tokio::test]
    async fn a_name_is_checked_each_time_it_is_resolved() {
        let resolver = Resolver {
            lookup: fixed(vec![vec!["8.8.8.8"], vec!["127.0.0.1"], vec!["10.0.0.1", "1.1.1.1"], vec![]]),
            reach: Reach::Public,
        };
        let ask = || async {
            let found = resolver.resolve("rebind.example".parse().unwrap()).await;
            found.map(|found| found.map(|address| address.ip().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(ask().await.unwrap(), ["8.8.8.8"]);
        assert!(ask().await.unwrap_err().is::<NoPublicAddress>());
        assert_eq!(ask().await.unwrap(), ["1.1.1.1"]);
        assert!(ask().await.is_err());
    }
}
