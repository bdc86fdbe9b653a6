//! Where webhooks may lead: checked when one is made, and again at each call,
//! where the very addresses that were checked are connected to.

use crate::domain::{Network, is_public};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Longest URL.
const MAX_URL: usize = 500;

/// Why a host is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// One of its addresses is not public.
    #[error(
        "its address {0} is not public: use a receiver that is reached over the internet, or have \
         the operator allow the network"
    )]
    Private(IpAddr),
    /// It is public, and asked without TLS.
    #[error("its address {0} is public: use https")]
    Plain(IpAddr),
    /// Nobody knows its addresses.
    #[error("its name does not resolve: correct the URL or the name's records")]
    Unknown,
}

/// Knows which addresses may be sent to.
#[derive(Debug, Clone)]
pub struct Guard {
    private: Arc<[Network]>,
    /// Whether public addresses may not be sent to.
    private_only: bool,
}

impl Guard {
    /// Lets through to public addresses and to these networks.
    #[must_use]
    pub fn new(private: Vec<Network>) -> Self {
        Self {
            private: private.into(),
            private_only: false,
        }
    }

    /// The same without public addresses, for calls without TLS.
    pub(super) fn of_private_only(&self) -> Self {
        Self {
            private_only: true,
            ..self.clone()
        }
    }

    /// Reads an URL: `https`, or `http` where the operator allows a network.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub fn url(&self, text: &str) -> Result<Url, String> {
        if text.is_empty() || text.len() > MAX_URL || text.contains(char::is_whitespace) {
            return Err(format!(
                "must be an URL of at most {MAX_URL} characters without spaces"
            ));
        }
        let url = Url::parse(text).map_err(|problem| format!("is not an URL: {problem}"))?;
        let plain = url.scheme() == "http" && !self.private.is_empty();
        if url.scheme() != "https" && !plain {
            return Err("must begin with https://".to_owned());
        }
        if url.host().is_none() {
            return Err("names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a name or a password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("must not have a fragment".to_owned());
        }
        Ok(url)
    }

    /// Sees that the host of an URL has addresses, all of which may be sent to.
    pub(super) async fn look_up(&self, url: &Url) -> Result<(), Refused> {
        let guard = if url.scheme() == "http" {
            self.of_private_only()
        } else {
            self.clone()
        };
        guard.literal(url)?;
        if let Some(name) = url.domain() {
            guard.addresses(name).await?;
        }
        Ok(())
    }

    /// Sees that the host of an URL may be sent to, if it is an address.
    pub(super) fn literal(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse() {
            Ok(address) if url.scheme() == "http" => self.of_private_only().admit(address),
            Ok(address) => self.admit(address),
            Err(_) => Ok(()),
        }
    }

    fn admit(&self, address: IpAddr) -> Result<(), Refused> {
        let allowed = self.private.iter().any(|network| network.contains(address));
        match (allowed, is_public(address)) {
            (true, _) => Ok(()),
            (false, true) if self.private_only => Err(Refused::Plain(address)),
            (false, true) => Ok(()),
            (false, false) => Err(Refused::Private(address)),
        }
    }

    /// The addresses of a name: all of them may be sent to, or none is.
    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Refused> {
        let found = tokio::net::lookup_host((name, 0)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| Refused::Unknown)?.collect();
        if found.is_empty() {
            return Err(Refused::Unknown);
        }
        for address in &found {
            self.admit(address.ip())?;
        }
        Ok(found)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.addresses(name.as_str()).await?;
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// The refusal among the causes of a failed call.
pub(super) fn refusal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Refused> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(guard: &Guard, text: &str) -> Result<(), String> {
        let url = guard.url(text)?;
        guard.literal(&url).map_err(|refused| refused.to_string())
    }

    #[test]
    fn urls_that_lead_inside_are_refused_however_they_are_written() {
        let guard = Guard::new(Vec::new());
        for good in [
            "https://hooks.example.org/berth?x=1",
            "https://8.8.8.8:8443/",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert_eq!(url(&guard, good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks.example.org",
            "http://hooks.example.org/",
            "ftp://hooks.example.org/",
            "file:///etc/passwd",
            "https://",
            "https://user:word@hooks.example.org/",
            "https://hooks.example.org/#x",
            "https://hooks.example.org/a b",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://017700000001/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://0/",
            &format!("https://hooks.example.org/{}", "a".repeat(500)),
        ] {
            assert!(url(&guard, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_that_the_operator_names_is_let_through_without_tls_too() {
        let guard = Guard::new(vec!["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(url(&guard, "http://10.0.0.1:8080/x"), Ok(()));
        assert_eq!(url(&guard, "https://10.0.0.1/x"), Ok(()));
        assert!(url(&guard, "http://192.168.0.1/x").is_err());
        assert!(url(&guard, "http://8.8.8.8/x").is_err());
    }

    #[tokio::test]
    async fn a_name_of_an_inner_address_is_refused_when_it_is_looked_up() {
        let guard = Guard::new(Vec::new());
        let refused = guard.addresses("localhost").await.unwrap_err();
        assert!(matches!(refused, Refused::Private(address) if address.is_loopback()));
        let unknown = guard.addresses("no.such.name.invalid").await;
        assert_eq!(unknown.unwrap_err(), Refused::Unknown);
    }
}
