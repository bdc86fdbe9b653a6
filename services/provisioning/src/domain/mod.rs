//! What provisioning decides, as values: no database, no machine, no clock.

mod beacon;
mod chain;
mod drift;
mod life;
mod node;
mod placement;
pub mod plan;
mod share;
mod upgrade;
mod verdict;

pub use beacon::{OnChain, SignedExit, Standing, active_epochs, epoch_at, holds_exit};
pub use chain::{Chain, ChainFiles};
pub use drift::{Decision, Differing, Hardware, Remedy, Repairs, Watch, decide};
pub use life::{Event, State, Transition};
pub use node::{Component, Duty, Health, NewNode, Node, NodeEvent, Role, Said, Source, Step};
pub use placement::{Placement, PlacementEvent, PlacementState};
pub use share::{Capacity, Share};
pub use upgrade::{Gate, Look, Ruling, Side, Upgrade, UpgradeEvent, UpgradeState};
pub use verdict::{Signals, Verdict, verdict};
