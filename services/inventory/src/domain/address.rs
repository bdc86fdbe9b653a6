//! Where a machine's sshd listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Port of sshd when none is named.
const SSH: u16 = 22;

/// `address:port` or `[address]:port`, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Address(String);

/// The text was not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseAddressError;

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address such as `203.0.113.7`, `[2001:db8::7]:2222` or `m1.example.net:22`")
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return host(&ip.to_string(), SSH);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, tail) = rest.split_once(']').ok_or(ParseAddressError)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| ParseAddressError)?;
            return host(&ip.to_string(), port(tail.strip_prefix(':'), tail)?);
        }
        let (name, tail) = text
            .split_once(':')
            .map_or((text, None), |(name, tail)| (name, Some(tail)));
        host(name, port(tail, "")?)
    }
}

/// The port, or that of ssh when nothing stands in its place.
fn port(digits: Option<&str>, rest: &str) -> Result<u16, ParseAddressError> {
    match digits {
        None if rest.is_empty() => Ok(SSH),
        None => Err(ParseAddressError),
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
            .ok_or(ParseAddressError),
    }
}

fn host(name: &str, port: u16) -> Result<Address, ParseAddressError> {
    match name.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => Err(ParseAddressError),
        Ok(IpAddr::V4(ip)) if ip == Ipv4Addr::BROADCAST => Err(ParseAddressError),
        Ok(IpAddr::V4(ip)) => Ok(Address(format!("{ip}:{port}"))),
        Ok(IpAddr::V6(ip)) => Ok(Address(format!("[{ip}]:{port}"))),
        Err(_) if is_dns_name(name) => Ok(Address(format!("{}:{port}", name.to_lowercase()))),
        Err(_) => Err(ParseAddressError),
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // A name whose last part is a number would be taken for an address.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7:22"),
            ("203.0.113.7:2222", "203.0.113.7:2222"),
            ("2001:DB8::7", "[2001:db8::7]:22"),
            ("[2001:db8::7]", "[2001:db8::7]:22"),
            ("[2001:db8::7]:2222", "[2001:db8::7]:2222"),
            ("M1.Example.net", "m1.example.net:22"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), expected);
            assert_eq!(expected.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":22",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "a/b",
            "-a",
            "a..b",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "256.1.1.1",
            "1.2.3",
            "[::1",
            "[::1]x",
            "[::1]:",
            "user@a",
            "a\n",
        ] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
