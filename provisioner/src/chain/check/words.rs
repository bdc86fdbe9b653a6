//! What single words of an entry look like.

/// Lower-case letters, digits and single `-`, the first a letter.
pub(super) fn is_identifier(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A name that cannot leave its folder.
pub(super) fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && text.chars().all(is_path_char)
}

/// An absolute path in a container that cannot climb and shadows nothing of the kernel's.
pub(super) fn is_absolute_path(text: &str) -> bool {
    const KERNEL: &[&str] = &["proc", "sys", "dev"];
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(is_path_char);
    text.len() <= 200
        && rest.split('/').all(segment)
        && !rest.split('/').next().is_some_and(|s| KERNEL.contains(&s))
}

const fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Registry and repository as Docker writes them, without tag or digest.
pub(super) fn is_repository(text: &str) -> bool {
    let segment = |(i, s): (usize, &str)| {
        let port = i == 0;
        s.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && s.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && !s.contains("..")
            && s.chars().all(|c| {
                c.is_ascii_lowercase()
                    || c.is_ascii_digit()
                    || matches!(c, '.' | '_' | '-')
                    || (port && c == ':')
            })
    };
    text.len() <= 200 && text.split('/').enumerate().all(segment)
}

/// A tag of an image.
pub(super) fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(is_path_char)
}

/// `sha256:` and 64 hex digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex32)
}

/// 64 lower-case hex digits.
pub(super) fn is_hex32(text: &str) -> bool {
    text.len() == 64
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
}

/// The address of a node as chains write it: `id@host:port`, `enode://…`,
/// `enr:…`, `/ip4/…`. No commas, since lists are joined with them.
pub(super) fn is_peer(text: &str) -> bool {
    (3..=512).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "@:/._-=+[]?&".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_climb() {
        for good in ["/data", "/data/config/app.toml", "/run/secrets"] {
            assert!(is_absolute_path(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "data",
            "/a/../b",
            "/a//b",
            "/a/",
            "/./a",
            "/proc/self",
            "/dev/shm",
            "/a b",
            "/a\nb",
            "/a:b",
        ] {
            assert!(!is_absolute_path(bad), "{bad}");
        }
    }

    #[test]
    fn images_look_like_images() {
        for good in ["ghcr.io/cosmos/gaia", "localhost:5000/x", "berth/injective"] {
            assert!(is_repository(good), "{good}");
        }
        for bad in [
            "", "/x", "x/", "a//b", "A/b", "x:1/y:2", "a/../b", "x@sha256", "-x",
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
        assert!(is_tag("v1.2_3") && !is_tag("") && !is_tag("a b"));
        assert!(is_digest(&format!("sha256:{}", "0a".repeat(32))));
        assert!(!is_digest(&format!("sha256:{}", "0A".repeat(32))));
    }

    #[test]
    fn peers_are_one_plain_word() {
        for good in [
            "f00d@10.0.0.1:26656",
            "enode://ab@[::1]:30303?discport=0",
            "enr:-Iq4_-x=",
            "/ip4/10.0.0.1/tcp/9000/p2p/16Uiu2",
        ] {
            assert!(is_peer(good), "{good}");
        }
        for bad in ["", "a,b@c", "a b", "a\"b", "a\nb"] {
            assert!(!is_peer(bad), "{bad}");
        }
    }
}
