//! Public keys and addresses as people type them: with or without `0x`, in
//! either case. Everything behind this sees `0x` and lower case.

use sha3::{Digest as _, Keccak256};

/// Reads the BLS public key of a validator.
pub(super) fn public_key(text: &str) -> Result<String, String> {
    let digits = digits(text, 96).ok_or_else(|| {
        format!(
            "expected the public key of a validator, 96 hex digits with or without `0x`; \
             this has {}",
            length(text)
        )
    })?;
    Ok(format!("0x{}", digits.to_ascii_lowercase()))
}

/// Reads an execution address. Money goes there, so one that cannot be meant is
/// refused.
pub(super) fn address(text: &str) -> Result<String, String> {
    let digits = digits(text, 40).ok_or_else(|| {
        format!(
            "expected an execution address, `0x` and 40 hex digits; this has {}",
            length(text)
        )
    })?;
    let lower = digits.to_ascii_lowercase();
    if lower.bytes().all(|digit| digit == b'0') {
        return Err("the zero address belongs to nobody: what is paid there is lost".to_owned());
    }
    // One case carries no checksum.
    if digits != lower && digits != digits.to_ascii_uppercase() && digits != checksummed(&lower) {
        return Err(
            "its capital letters are its checksum (EIP-55) and do not fit: a digit is mistyped; \
             copy it again"
                .to_owned(),
        );
    }
    Ok(format!("0x{lower}"))
}

/// The hex digits of a text, where they are so many.
fn digits(text: &str, count: usize) -> Option<&str> {
    let digits = bare(text);
    let fits = digits.len() == count && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    fits.then_some(digits)
}

fn bare(text: &str) -> &str {
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text)
}

fn length(text: &str) -> String {
    let digits = bare(text);
    if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        format!("{} digits", digits.len())
    } else {
        "something else in it".to_owned()
    }
}

/// An address in lower case, with the capitals of EIP-55.
fn checksummed(lower: &str) -> String {
    let hash = hex::encode(Keccak256::digest(lower));
    let pairs = lower.chars().zip(hash.bytes());
    pairs
        .map(|(digit, hash)| {
            if hash >= b'8' {
                digit.to_ascii_uppercase()
            } else {
                digit
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_however_it_is_typed() {
        let canonical = format!("0x{}", "ab".repeat(48));
        for typed in ["ab".repeat(48), format!("0x{}", "AB".repeat(48))] {
            assert_eq!(public_key(&typed), Ok(canonical.clone()));
        }
        for (typed, why) in [
            ("0xab", "2 digits"),
            ("", "0 digits"),
            (&"zz".repeat(48), "something else"),
            (&"é".repeat(48), "something else"),
        ] {
            assert!(public_key(typed).unwrap_err().contains(why), "{typed}");
        }
    }

    #[test]
    fn an_address_with_a_mistyped_digit_is_refused_by_its_checksum() {
        // The examples of EIP-55.
        for good in [
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        ] {
            let read = address(good).unwrap();
            assert_eq!(read, format!("0x{}", bare(good).to_ascii_lowercase()));
        }
        for (bad, why) in [
            ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee", "EIP-55"),
            ("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "EIP-55"),
            ("0x0000000000000000000000000000000000000000", "lost"),
            ("0x5aaeb6", "6 digits"),
        ] {
            assert!(address(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
