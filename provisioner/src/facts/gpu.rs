//! GPUs, from the XML of `nvidia-smi -q -x`.
//!
//! The few elements that are needed stand in the same place in every schema
//! from v11 (2020) to v13 (2025), so that they are looked for by name; there
//! is no XML parser here for a stranger to feed.

use super::Gpu;
use super::parse::short;
use crate::error::{Error, Result};

const WHAT: &str = "nvidia-smi";
const MAX_GPUS: usize = 64;

/// GPUs in the order of the driver; none when the text is empty.
pub(super) fn gpus(xml: &str) -> Result<Vec<Gpu>> {
    let xml = xml.trim();
    if xml.is_empty() {
        return Ok(Vec::new());
    }
    let Some(log) = element(xml, "nvidia_smi_log") else {
        return Err(Error::answer(WHAT, "not the output of `nvidia-smi -q -x`"));
    };
    let driver = short(element(log, "driver_version").unwrap_or_default());
    let cuda = short(element(log, "cuda_version").unwrap_or_default());
    let blocks = log.split("<gpu id=").skip(1).take(MAX_GPUS);
    blocks
        .map(|block| {
            let block = block.split("</gpu>").next().unwrap_or_default();
            // Slices of a GPU stand before it and have a memory of their own.
            let (head, rest) = block.split_once("<mig_devices>").unwrap_or((block, ""));
            let (_, tail) = rest.split_once("</mig_devices>").unwrap_or_default();
            let block = format!("{head}{tail}");
            let memory = element(&block, "fb_memory_usage").and_then(|m| element(m, "total"));
            Ok(Gpu {
                model: short(element(&block, "product_name").unwrap_or_default()),
                uuid: short(element(&block, "uuid").unwrap_or_default()),
                memory_bytes: memory
                    .and_then(mebibytes)
                    .ok_or_else(|| Error::answer(WHAT, "a GPU's memory is not a number of MiB"))?,
                driver: driver.clone(),
                cuda: cuda.clone(),
            })
        })
        .collect()
}

/// Text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

fn mebibytes(text: &str) -> Option<u64> {
    let number: u64 = text.trim().strip_suffix(" MiB")?.parse().ok()?;
    number.checked_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Captured from a machine with two GPUs under driver 590; most elements
    /// that are not read were cut, serial numbers and identifiers replaced.
    const CAPTURED: &str = include_str!("testdata/nvidia-smi-2x-a5000.xml");

    #[test]
    fn captured_output_of_two_gpus_is_read() {
        let gpus = gpus(CAPTURED).unwrap();
        assert_eq!(gpus.len(), 2);
        let gpu = &gpus[0];
        assert_eq!(gpu.model, "NVIDIA RTX A5000");
        assert_eq!(gpu.uuid, "GPU-12345678-aaaa-bbbb-cccc-0123456789ab");
        assert_eq!(gpu.memory_bytes, 24_564 << 20);
        assert_eq!(
            (gpu.driver.as_str(), gpu.cuda.as_str()),
            ("590.44.01", "13.1")
        );
        assert_ne!(gpus[0].uuid, gpus[1].uuid);
    }

    #[test]
    fn a_slice_of_a_gpu_is_not_the_gpu() {
        let slice = "<mig_device><uuid>MIG-1</uuid><fb_memory_usage><total>9856 MiB</total>\
                     </fb_memory_usage></mig_device>";
        let sliced = CAPTURED.replace("\t\t\tNone\n", slice);
        assert_ne!(sliced, CAPTURED);
        assert_eq!(gpus(&sliced).unwrap(), gpus(CAPTURED).unwrap());
    }

    #[test]
    fn a_machine_without_gpus_has_none_and_a_broken_driver_is_an_error() {
        assert_eq!(gpus(" \n").unwrap(), []);
        let broken = "NVIDIA-SMI has failed because it couldn't communicate with the driver.";
        assert!(gpus(broken).is_err());
        let memory = CAPTURED.replace("24564 MiB", "[Unknown Error]");
        assert!(gpus(&memory).is_err());
    }

    proptest! {
        #[test]
        fn no_change_of_the_output_breaks_the_parser(
            at in 0..CAPTURED.len(), cut in 0usize..400, junk in "[<>/a-z0-9 ]{0,60}"
        ) {
            let end = (at + cut).min(CAPTURED.len());
            let text = format!("{}{junk}{}", &CAPTURED[..at], &CAPTURED[end..]);
            if let Ok(gpus) = gpus(&text) {
                prop_assert!(gpus.len() <= MAX_GPUS);
                prop_assert!(gpus.iter().all(|g| g.model.chars().count() <= 128));
            }
        }
    }
}
