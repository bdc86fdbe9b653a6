//! What a beacon node says of a validator, and the exit that its owner signed.
//!
//! The node stands on a machine that may lie. Numbers have bounds, and nothing that
//! it says is signed: a wrong index only makes an exit that the chain refuses.

use serde::Deserialize;
use serde_json::Value;

/// Above every index, epoch and balance of a real chain.
const MOST: u64 = 1 << 56;
/// How the chain writes an epoch that is not known yet.
const FAR_FUTURE: u64 = u64::MAX;
/// Longest signed exit in bytes.
const MAX_EXIT: usize = 1024;

/// Where the chain has a validator in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its deposit is not complete or not processed.
    PendingInitialized,
    /// Waits for its activation.
    PendingQueued,
    /// Has duties.
    ActiveOngoing,
    /// Has duties until its exit epoch.
    ActiveExiting,
    /// Was slashed, and has duties until its exit epoch.
    ActiveSlashed,
    /// Has no duties any more.
    ExitedUnslashed,
    /// Was slashed, and has no duties any more.
    ExitedSlashed,
    /// Its stake can be paid out.
    WithdrawalPossible,
    /// Its stake was paid out.
    WithdrawalDone,
}

impl Standing {
    /// Whether it leaves or has left, so that another exit changes nothing.
    #[must_use]
    pub const fn leaves(self) -> bool {
        match self {
            Self::PendingInitialized | Self::PendingQueued | Self::ActiveOngoing => false,
            Self::ActiveExiting
            | Self::ActiveSlashed
            | Self::ExitedUnslashed
            | Self::ExitedSlashed
            | Self::WithdrawalPossible
            | Self::WithdrawalDone => true,
        }
    }
}

/// A validator as its chain knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnChain {
    /// Its index.
    pub index: u64,
    /// Where it is in its life.
    pub standing: Standing,
    /// Balance in gwei.
    pub balance: u64,
    /// When its duties began, once that is known.
    pub activation_epoch: Option<u64>,
    /// When its duties end, once that is known.
    pub exit_epoch: Option<u64>,
    /// When its stake can be paid out, once that is known.
    pub withdrawable_epoch: Option<u64>,
}

impl OnChain {
    /// Reads the answer to a question for one public key. `None` when the chain
    /// does not know it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words of ours.
    pub fn read(answer: &[u8], public_key: &str) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        struct Answer {
            data: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            index: Number,
            balance: Number,
            status: Standing,
            validator: Validator,
        }
        #[derive(Deserialize)]
        struct Validator {
            pubkey: String,
            activation_epoch: Number,
            exit_epoch: Number,
            withdrawable_epoch: Number,
        }
        let Answer { data } = parse(answer, "validators")?;
        let [entry] = &data[..] else {
            return match data.len() {
                0 => Ok(None),
                _ => Err("it named several validators for one key".to_owned()),
            };
        };
        if !entry.validator.pubkey.eq_ignore_ascii_case(public_key) {
            return Err("it named another validator".to_owned());
        }
        Ok(Some(Self {
            index: entry.index.bounded()?,
            standing: entry.status,
            balance: entry.balance.bounded()?,
            activation_epoch: entry.validator.activation_epoch.epoch()?,
            exit_epoch: entry.validator.exit_epoch.epoch()?,
            withdrawable_epoch: entry.validator.withdrawable_epoch.epoch()?,
        }))
    }
}

/// Reads from the chain's configuration how many epochs a validator has to be
/// active before its exit is taken.
///
/// # Errors
///
/// What is wrong with it, in words of ours.
pub fn active_epochs(answer: &[u8]) -> Result<u64, String> {
    let spec: Value = parse(answer, "configuration")?;
    let epochs = &spec["data"]["SHARD_COMMITTEE_PERIOD"];
    let epochs: Number = Number::deserialize(epochs)
        .map_err(|_| "its configuration has no SHARD_COMMITTEE_PERIOD".to_owned())?;
    epochs.bounded()
}

/// Whether an exit of that index waits in the node's pool.
#[must_use]
pub fn holds_exit(answer: &[u8], index: u64) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        data: Vec<Waiting>,
    }
    #[derive(Deserialize)]
    struct Waiting {
        message: Message,
    }
    let pool = serde_json::from_slice::<Answer>(answer);
    pool.is_ok_and(|pool| {
        pool.data
            .iter()
            .any(|one| one.message.validator_index.0 == index)
    })
}

/// An exit as its owner had it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedExit {
    /// First epoch at which the chain may take it.
    pub epoch: u64,
    /// Whose it is.
    pub validator_index: u64,
    /// `0x` and 192 hex digits.
    signature: String,
}

impl SignedExit {
    /// Reads the JSON form of the beacon API.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Signed {
            message: Message,
            signature: String,
        }
        if text.len() > MAX_EXIT {
            return Err("is longer than a signed exit");
        }
        let signed: Signed = serde_json::from_str(text)
            .map_err(|_| "is no signed exit in the JSON form of the beacon API")?;
        let digits = signed.signature.strip_prefix("0x").unwrap_or_default();
        if digits.len() != 192 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("has no signature: `0x` and 192 hex digits");
        }
        Ok(Self {
            epoch: signed.message.epoch.0,
            validator_index: signed.message.validator_index.0,
            signature: signed.signature,
        })
    }

    /// The same, as a node takes it.
    #[must_use]
    pub fn json(&self) -> String {
        format!(
            r#"{{"message":{{"epoch":"{}","validator_index":"{}"}},"signature":"{}"}}"#,
            self.epoch, self.validator_index, self.signature
        )
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    epoch: Number,
    validator_index: Number,
}

/// A number as the beacon API writes it, in quotes.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Number(u64);

impl TryFrom<String> for Number {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or("no number")
    }
}

impl Number {
    fn bounded(self) -> Result<u64, String> {
        if self.0 < MOST {
            Ok(self.0)
        } else {
            Err("a number in it is too large".to_owned())
        }
    }

    fn epoch(self) -> Result<Option<u64>, String> {
        if self.0 == FAR_FUTURE {
            Ok(None)
        } else {
            self.bounded().map(Some)
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(answer).map_err(|_| format!("its answer on {what} was not understood"))
}

/// The epoch of a time, in seconds since 1970.
#[must_use]
pub fn epoch_at(now: i64, genesis: u64, seconds_per_epoch: u64) -> u64 {
    let now = u64::try_from(now).unwrap_or_default();
    now.saturating_sub(genesis) / seconds_per_epoch.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "abababababababababababababababababababababababababababababababab";

    fn answer(index: &str, status: &str, exit_epoch: &str, key: &str) -> String {
        format!(
            r#"{{"data":[{{"index":{index},"balance":"32005061544","status":"{status}","validator":
            {{"pubkey":"{key}","slashed":false,"activation_epoch":"0","exit_epoch":"{exit_epoch}",
            "withdrawable_epoch":"18446744073709551615"}}}}],"execution_optimistic":false}}"#
        )
    }

    fn read(text: &str) -> Result<Option<OnChain>, String> {
        OnChain::read(text.as_bytes(), "0xab")
    }

    #[test]
    fn a_validator_is_read_as_the_chain_knows_it() {
        let far = u64::MAX.to_string();
        let seen = read(&answer("\"7\"", "active_ongoing", &far, "0xAB"));
        let seen = seen.unwrap().unwrap();
        assert_eq!((seen.index, seen.balance), (7, 32_005_061_544));
        assert_eq!((seen.activation_epoch, seen.exit_epoch), (Some(0), None));
        assert!(!seen.standing.leaves());
        let seen = read(&answer("\"7\"", "active_exiting", "12", "0xab"));
        let seen = seen.unwrap().unwrap();
        assert_eq!(seen.exit_epoch, Some(12));
        assert!(seen.standing.leaves());
        assert_eq!(read(r#"{"data":[]}"#), Ok(None));
    }

    #[test]
    fn what_cannot_be_so_is_not_believed() {
        let good = answer("\"7\"", "active_ongoing", "9", "0xab");
        let twice = good.replace(
            "}}]",
            &format!("}}}},{}]", &good[9..good.find("}]").unwrap() + 1]),
        );
        for bad in [
            answer("7", "active_ongoing", "9", "0xab"),
            answer("\"-7\"", "active_ongoing", "9", "0xab"),
            answer("\"+7\"", "active_ongoing", "9", "0xab"),
            answer("\"\"", "active_ongoing", "9", "0xab"),
            answer("\"72057594037927936\"", "active_ongoing", "9", "0xab"),
            answer("\"7\"", "retired", "9", "0xab"),
            answer("\"7\"", "active_ongoing", "18446744073709551614", "0xab"),
            answer("\"7\"", "active_ongoing", "18446744073709551616", "0xab"),
            answer("\"7\"", "active_ongoing", "9", "0xac"),
            twice,
            "[".repeat(100_000),
            String::new(),
        ] {
            let seen = read(&bad);
            assert!(seen.is_err(), "{bad:.300}: {seen:?}");
        }
        for bad in ["{}", "7", r#"{"data":{"SHARD_COMMITTEE_PERIOD":64}}"#] {
            assert!(active_epochs(bad.as_bytes()).is_err(), "{bad}");
        }
        let spec = br#"{"data":{"BLOBS":[{"a":"1"}],"SHARD_COMMITTEE_PERIOD":"64"}}"#;
        assert_eq!(active_epochs(spec), Ok(64));
    }

    #[test]
    fn a_signed_exit_comes_out_as_it_came_in_and_nothing_else_is_one() {
        let signature = format!("0x{}", SIGNATURE.repeat(3));
        let text = format!(
            r#"{{"message":{{"epoch":"3","validator_index":"7"}},"signature":"{signature}"}}"#
        );
        let exit = SignedExit::read(&text).unwrap();
        assert_eq!((exit.epoch, exit.validator_index), (3, 7));
        assert_eq!(exit.json(), text);
        for (from, to) in [
            ("\"3\"", "3"),
            ("0x", ""),
            ("ab\"", "a\""),
            ("ab\"", "zz\""),
            ("{\"message", "{\"more\":1,\"message"),
            ("{\"message", &format!("{}{{\"message", " ".repeat(2000))),
        ] {
            let bad = text.replacen(from, to, 1);
            assert!(SignedExit::read(&bad).is_err(), "{bad}");
        }
        let pool = format!(r#"{{"data":[{text}]}}"#);
        assert!(holds_exit(pool.as_bytes(), 7));
        assert!(!holds_exit(pool.as_bytes(), 8) && !holds_exit(b"what", 7));
    }

    #[test]
    fn an_epoch_is_counted_from_genesis() {
        for (now, epoch) in [(-1, 0), (0, 0), (1015, 0), (1016, 1), (1047, 2)] {
            assert_eq!(epoch_at(now, 1000, 16), epoch, "{now}");
        }
        assert_eq!(epoch_at(1016, 1000, 0), 16);
    }
}
