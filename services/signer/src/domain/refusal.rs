//! Why the signer does not sign.

use std::fmt;

/// A reason, and what it conflicts with, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule.
    pub reason: Reason,
    /// The conflicting record or value.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.detail)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Which rule forbids a signature. Stable names, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Another block was signed at this slot.
    DoubleProposal = "DOUBLE_PROPOSAL",
    /// A block at a higher slot was signed or imported.
    BlockBelowWatermark = "BLOCK_BELOW_WATERMARK",
    /// Another vote was signed for this target.
    DoubleVote = "DOUBLE_VOTE",
    /// It would surround the last vote.
    Surround = "SURROUND",
    /// The last vote would surround it.
    Surrounded = "SURROUNDED",
    /// Its source or target is below the watermark.
    VoteBelowWatermark = "VOTE_BELOW_WATERMARK",
    /// Source above target, or a target that is not the epoch of its slot.
    BadVote = "BAD_VOTE",
    /// The placement was replaced by a newer one.
    Fenced = "FENCED",
    /// The placement is newer than the signer knows, or has no grant yet.
    NotGranted = "NOT_GRANTED",
    /// No validator of this placement has this key.
    UnknownKey = "UNKNOWN_KEY",
    /// The validator is quarantined.
    Quarantined = "QUARANTINED",
    /// The validator is disabled or removed.
    Disabled = "DISABLED",
    /// The key is known and not loaded.
    KeyNotLoaded = "KEY_NOT_LOADED",
    /// Too far ahead of the present.
    FarFuture = "FAR_FUTURE",
    /// Too far behind the present.
    FarPast = "FAR_PAST",
    /// Another network's genesis validators root.
    WrongNetwork = "WRONG_NETWORK",
    /// Not the fork version that the chain has at that time.
    WrongFork = "WRONG_FORK",
    /// A size that the chain's preset does not have.
    WrongPreset = "WRONG_PRESET",
    /// The root on the wire is not that of the message.
    WrongSigningRoot = "WRONG_SIGNING_ROOT",
    /// A body that is not what its type says.
    Malformed = "MALFORMED",
    /// A body that did not arrive in time.
    BodyTooSlow = "BODY_TOO_SLOW",
    /// A body that is longer than any request.
    BodyTooLarge = "BODY_TOO_LARGE",
    /// A message that names another validator than the key asked for.
    WrongPublicKey = "WRONG_PUBLIC_KEY",
    /// A type of message that is not known.
    UnknownType = "UNKNOWN_TYPE",
    /// A type that no machine may ask for.
    TypeNotPermitted = "TYPE_NOT_PERMITTED",
    /// Not the fee recipient that the owner set.
    FeeRecipient = "FEE_RECIPIENT",
    /// Above the gas limit that the owner set.
    GasLimit = "GAS_LIMIT",
    /// Too many requests for this validator.
    RateLimited = "RATE_LIMITED",
    /// The clocks of process and database differ.
    ClockSkew = "CLOCK_SKEW",
    /// The database is not the one that the anchor knows.
    NotAnchored = "NOT_ANCHORED",
}
