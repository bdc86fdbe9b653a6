//! What a chain knows of a validator, as the validator's node tells it.

use super::context::Authed;
use super::output::word;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{GetValidatorOnChainRequest, ValidatorOnChain};
use std::fmt::Write as _;
use tonic::Status;

/// In an ether.
const GWEI: u64 = 1_000_000_000;

pub(super) type Provisioning = ProvisioningServiceClient<Authed>;

/// Asks for one.
pub(super) async fn get(
    provisioning: &mut Provisioning,
    public_key: &str,
) -> Result<ValidatorOnChain, Status> {
    let request = GetValidatorOnChainRequest {
        public_key: public_key.to_owned(),
    };
    let answer = provisioning.get_validator_on_chain(request).await?;
    Ok(answer.into_inner().validator.unwrap_or_default())
}

/// It in a line.
pub(super) fn line(known: &ValidatorOnChain) -> String {
    let state = word(known.state().as_str_name(), "STATE_");
    let (whole, rest) = (known.balance_gwei / GWEI, known.balance_gwei % GWEI);
    let mut line = format!(
        "{state}, index {}, {whole}.{rest:09} ETH, at epoch {}",
        known.index, known.current_epoch
    );
    let epochs = [
        ("exits are taken from epoch", known.earliest_exit_epoch),
        ("duties end at epoch", known.exit_epoch),
        ("stake is free at epoch", known.withdrawable_epoch),
    ];
    // The first is past once the second is known.
    let first = usize::from(known.exit_epoch.is_some());
    for (what, epoch) in epochs.into_iter().skip(first) {
        if let Some(epoch) = epoch {
            // Writing to a String cannot fail.
            write!(line, ", {what} {epoch}").ok();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_proto::provisioning::v1::validator_on_chain::State;

    #[test]
    fn a_validator_on_its_way_out_shows_when() {
        let mut known = ValidatorOnChain {
            index: 7,
            balance_gwei: 31_000_000_005,
            current_epoch: 9,
            earliest_exit_epoch: Some(4),
            ..ValidatorOnChain::default()
        };
        known.set_state(State::ActiveOngoing);
        assert_eq!(
            line(&known),
            "active ongoing, index 7, 31.000000005 ETH, at epoch 9, exits are taken from epoch 4"
        );
        known.set_state(State::ActiveExiting);
        known.exit_epoch = Some(14);
        known.withdrawable_epoch = Some(270);
        assert_eq!(
            line(&known),
            "active exiting, index 7, 31.000000005 ETH, at epoch 9, duties end at epoch 14, \
             stake is free at epoch 270"
        );
    }
}
