//! Ethereum's messages: read from what a validator client sends, held against
//! the pinned chain, and reduced to the one root that is signed.

mod block;
mod containers;
pub mod deposit;
mod duty;
pub mod exit;
mod messages;
mod request;
mod root;
mod sizes;

pub use duty::Policy;
pub use request::SignRequest;
