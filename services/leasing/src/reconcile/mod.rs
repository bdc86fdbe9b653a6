//! What leases and webhooks need without anybody asking.

mod leases;
mod webhooks;

pub use leases::reconciler;
pub use webhooks::webhooks;
