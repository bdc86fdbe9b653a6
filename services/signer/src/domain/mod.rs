//! What the signer decides with values alone.

pub mod bls;
pub mod chain;
pub mod claim;
pub mod custody;
pub mod derive;
pub mod eth;
pub mod interchange;
pub mod key;
pub mod keystore;
pub mod pin;
pub mod refusal;
pub mod slashing;
pub mod validator;

pub use bls::SigningKey;
pub use chain::{Chain, Fork, ForkName, Preset, Schedule};
pub use claim::{Claim, Message};
pub use key::{Address, ForkVersion, PublicKey, Root, Signature};
pub use refusal::Refusal;
pub use slashing::Watermarks;
pub use validator::Validator;
