//! What cannot be taken back is done only when its owner typed the public key
//! once more.

use super::exit::WrongUsage;
use super::typed;
use anyhow::ensure;
use clap::Args;
use std::io::{IsTerminal as _, stdin};

/// How to confirm.
#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// The public key once more; without a terminal to type it on
    #[arg(long, value_name = "PUBLIC_KEY", value_parser = typed::public_key)]
    pub(super) confirm: Option<String>,
}

impl Confirm {
    /// The public key, typed once more.
    pub(super) fn ask(&self, public_key: &str) -> anyhow::Result<String> {
        let typed = match &self.confirm {
            Some(typed) => typed.clone(),
            None if stdin().is_terminal() => {
                eprintln!("Type the public key to go on, or nothing to stop:");
                let mut line = String::new();
                stdin().read_line(&mut line)?;
                typed::public_key(line.trim())
                    .map_err(|_| anyhow::anyhow!("that is no public key; nothing was done"))?
            }
            None => {
                let problem = "it takes --confirm PUBLIC_KEY where there is no terminal to type \
                               it on; nothing was done";
                return Err(WrongUsage(problem.to_owned()).into());
            }
        };
        ensure!(
            typed == public_key,
            "that is another public key; nothing was done"
        );
        Ok(typed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_public_key_confirms_nothing() {
        let confirm = |typed: &str| Confirm {
            confirm: Some(typed.to_owned()),
        };
        assert_eq!(confirm("0xab").ask("0xab").unwrap(), "0xab");
        assert!(confirm("0xac").ask("0xab").is_err());
    }
}
