//! Typed identifiers, written `lease-0198c0de-…`, so that a log line or a
//! mistyped argument shows which kind it is.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The text was not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an identifier such as `{prefix}-0198c0de-89ab-7def-8123-456789abcdef`")]
pub struct ParseIdError {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, which sorts after all earlier ones.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The number itself, for keys of other things that are derived from it.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "-"))
                    .filter(|rest| rest.len() == 36)
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }
    };
}

id!(
    /// Who pays and owns.
    AccountId,
    "account"
);
id!(
    /// Who lends machines.
    SupplierId,
    "supplier"
);
id!(
    /// One physical or virtual computer.
    MachineId,
    "machine"
);
id!(
    /// A machine at a price and terms.
    OfferId,
    "offer"
);
id!(
    /// The right to use one machine until a time.
    LeaseId,
    "lease"
);
id!(
    /// One line of the ledger.
    EntryId,
    "entry"
);
id!(
    /// Something that an account should know.
    EventId,
    "event"
);
id!(
    /// A URL that is told what an account should know.
    WebhookId,
    "webhook"
);
id!(
    /// The wish to run a role of a chain.
    NodeId,
    "node"
);
id!(
    /// One node on one machine under one fence.
    PlacementId,
    "placement"
);
id!(
    /// An open problem.
    IncidentId,
    "incident"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_survives_text_and_refuses_another_kind() {
        let id = LeaseId::generate();
        assert_eq!(id.to_string().parse::<LeaseId>(), Ok(id));
        assert!(id.to_string().parse::<MachineId>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
        }
    }
}
