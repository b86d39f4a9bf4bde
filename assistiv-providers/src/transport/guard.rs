//! Which addresses the gateway may call.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use super::ranges::is_public;

/// Judges where the gateway may send requests.
///
/// Only public addresses may be called, over HTTPS. An operator may allow single hosts and networks besides, for
/// model servers of their own; those may be called over plain HTTP, too. The list is configuration: nothing that
/// comes in through the API changes it.
///
/// ```
/// use assistiv_providers::transport::OutboundGuard;
///
/// let guard = OutboundGuard::new();
/// assert!(guard.check_url(&"https://api.example.com/v1".parse()?).is_ok());
/// assert!(guard.check_url(&"https://0x7f000001/v1".parse()?).is_err());
///
/// let guard = OutboundGuard::allowing(["10.1.0.0/16".parse()?, "llm.internal".parse()?]);
/// assert!(guard.check_url(&"http://10.1.2.3:8000/v1".parse()?).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OutboundGuard {
    allowed: Arc<[AllowedHost]>,
}

/// A host or network that may be called although it is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowedHost {
    /// A name, whatever addresses it has.
    Name(String),
    /// An address or a network.
    Network(IpNet),
}

/// The text names neither a host nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name, an IP address or a network such as `10.0.0.0/8`")]
pub struct AllowedHostError;

/// Why an address may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The text is no URL with a host.
    #[error("must be an absolute URL")]
    Url,
    /// Another scheme than `http` or `https`.
    #[error("must begin with `https://`")]
    Scheme,
    /// Plain HTTP to a host that is not on the allow list.
    #[error("must begin with `https://`, as this host is not on the operator's allow list")]
    Plain,
    /// A user name or a password stands in the URL.
    #[error("must not contain a user name or a password")]
    UserInfo,
    /// The host is not public.
    #[error("must be a public host, or one on the operator's allow list")]
    NotPublic,
}

// === impl OutboundGuard ===

impl OutboundGuard {
    /// A guard that allows public addresses alone.
    pub fn new() -> Self {
        Self::allowing([])
    }

    /// A guard that allows these hosts and networks besides.
    pub fn allowing(hosts: impl IntoIterator<Item = AllowedHost>) -> Self {
        Self {
            allowed: hosts.into_iter().collect(),
        }
    }

    /// Checks a URL as far as it can be checked without resolving its host. The addresses of a name are judged
    /// again at every connection.
    ///
    /// # Errors
    /// [`GuardError`] says what is wrong, in words for the one who entered the URL.
    pub fn check_url(&self, url: &Url) -> Result<(), GuardError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(GuardError::Scheme);
        }
        let (is_allowed, is_public) = match url.host().ok_or(GuardError::Url)? {
            Host::Domain(name) => (self.allows_name(name), !is_local_name(name)),
            Host::Ipv4(address) => (self.allows(address.into()), is_public(address.into())),
            Host::Ipv6(address) => (self.allows(address.into()), is_public(address.into())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GuardError::UserInfo);
        }
        match url.scheme() {
            _ if is_allowed => Ok(()),
            _ if !is_public => Err(GuardError::NotPublic),
            "http" => Err(GuardError::Plain),
            _ => Ok(()),
        }
    }

    /// The addresses of a name that may be connected to.
    pub(super) fn filter(&self, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, GuardError> {
        if found.is_empty() || self.allows_name(name) {
            return Ok(found);
        }
        // Networks that translate IPv4 give every name a translated address besides its own, so a single bad
        // one does not condemn the name.
        let judged = found
            .into_iter()
            .filter(|address| is_public(*address) || self.allows(*address));
        let allowed: Vec<IpAddr> = judged.collect();
        if allowed.is_empty() {
            Err(GuardError::NotPublic)
        } else {
            Ok(allowed)
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|allowed| match allowed {
            AllowedHost::Network(network) => network.contains(&address),
            AllowedHost::Name(_) => false,
        })
    }

    fn allows_name(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| match allowed {
            AllowedHost::Name(host) => bare(host).eq_ignore_ascii_case(bare(name)),
            AllowedHost::Network(_) => false,
        })
    }
}

impl Default for OutboundGuard {
    fn default() -> Self {
        Self::new()
    }
}

/// A name without the dot that may end it.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// `localhost` and everything below it (RFC 6761, section 6.3, read on 2026-11-23).
fn is_local_name(name: &str) -> bool {
    bare(name)
        .rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

// === impl AllowedHost ===

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        // The parser that judges URLs reads this, too, so both mean the same host.
        match Host::parse(text).map_err(|_| AllowedHostError)? {
            Host::Domain(name) => Ok(Self::Name(name)),
            Host::Ipv4(address) => Ok(IpAddr::from(address).into()),
            Host::Ipv6(address) => Ok(IpAddr::from(address).into()),
        }
    }
}

impl From<IpNet> for AllowedHost {
    fn from(network: IpNet) -> Self {
        Self::Network(network)
    }
}

impl From<IpAddr> for AllowedHost {
    fn from(address: IpAddr) -> Self {
        Self::Network(address.into())
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &OutboundGuard, url: &str) -> Result<(), GuardError> {
        guard.check_url(&Url::parse(url).map_err(|_| GuardError::Url)?)
    }

    #[test]
    fn every_spelling_of_an_inner_address_is_refused() {
        let guard = OutboundGuard::new();
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "2130706433",
            "017700000001",
            "\u{ff11}\u{ff12}\u{ff17}.\u{ff10}.\u{ff10}.\u{ff11}",
            "127\u{3002}0\u{3002}0\u{3002}1",
            "%31%32%37.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "\u{24db}ocalhost",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
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
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::127.0.0.1]",
            "[0:0:0:0:0:ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:2::1]",
            "[2001:20::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::1]",
            "[3fff::1]",
            "[5f00::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[2620:4f:8000::1]",
        ] {
            assert_eq!(
                check(&guard, &format!("https://{host}/v1")),
                Err(GuardError::NotPublic),
                "{host}"
            );
        }
    }

    #[test]
    fn public_hosts_are_called_over_tls_alone() {
        let guard = OutboundGuard::new();
        for host in [
            "api.example.com",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2606:4700::1111]",
            "localhost.example.com",
        ] {
            assert_eq!(check(&guard, &format!("https://{host}")), Ok(()), "{host}");
            assert_eq!(
                check(&guard, &format!("http://{host}")),
                Err(GuardError::Plain),
                "{host}"
            );
        }
    }

    #[test]
    fn odd_urls_are_refused() {
        let guard = OutboundGuard::new();
        for (url, error) in [
            ("https://api.example.com@10.0.0.1/", GuardError::UserInfo),
            ("https://user@api.example.com/", GuardError::UserInfo),
            ("https://:password@api.example.com/", GuardError::UserInfo),
            ("ftp://api.example.com/", GuardError::Scheme),
            ("file:///etc/passwd", GuardError::Scheme),
            ("unix:/run/socket", GuardError::Scheme),
            ("https://", GuardError::Url),
            ("/v1", GuardError::Url),
            ("https://[::1%25eth0]/", GuardError::Url),
        ] {
            assert_eq!(check(&guard, url), Err(error), "{url}");
        }
    }

    #[test]
    fn an_operator_allows_hosts_and_networks() {
        let allowed = [
            "10.1.0.0/16",
            "127.0.0.1",
            "::1",
            "Llm.Internal.",
            "localhost",
        ];
        let guard = OutboundGuard::allowing(allowed.map(|host| host.parse().unwrap()));
        for url in [
            "http://10.1.2.3:8000",
            "http://127.1",
            "https://[::1]",
            "http://llm.internal",
            "http://LOCALHOST./",
        ] {
            assert_eq!(check(&guard, url), Ok(()), "{url}");
        }
        for url in [
            "https://10.2.0.1",
            "https://127.0.0.2",
            "https://[::ffff:10.1.2.3]",
            "https://a.localhost",
        ] {
            assert_eq!(check(&guard, url), Err(GuardError::NotPublic), "{url}");
        }
        for text in ["", "10.0.0.0/33", "a b", "http://x"] {
            assert_eq!(text.parse::<AllowedHost>(), Err(AllowedHostError), "{text}");
        }
    }

    #[test]
    fn the_addresses_of_a_name_are_judged_one_by_one() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let guard = OutboundGuard::allowing([
            "10.0.0.0/8".parse().unwrap(),
            "inner.example".parse().unwrap(),
        ]);
        let (public, translated, private) =
            (ip("8.8.8.8"), ip("64:ff9b::808:808"), ip("192.168.0.1"));
        assert_eq!(
            guard.filter("x.example", vec![public, translated, private]),
            Ok(vec![public])
        );
        assert_eq!(
            guard.filter("x.example", vec![private]),
            Err(GuardError::NotPublic)
        );
        assert_eq!(
            guard.filter("x.example", vec![ip("10.0.0.1")]),
            Ok(vec![ip("10.0.0.1")])
        );
        assert_eq!(
            guard.filter("INNER.example.", vec![private]),
            Ok(vec![private])
        );
        assert_eq!(guard.filter("x.example", vec![]), Ok(vec![]));
    }
}
