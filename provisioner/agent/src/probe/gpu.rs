//! What `nvidia-smi` says of the GPUs that the container was given.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::ProbeError;
use crate::sample::Sample;

/// The program; NVIDIA's container runtime brings it along.
pub const PROGRAM: &str = "nvidia-smi";

const QUERY: &str =
    "--query-gpu=index,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw";
const MAX_OUTPUT: u64 = 64 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// Asks the program.
///
/// # Errors
/// When it is absent, fails, or writes something else than was asked.
pub async fn measure(program: &Path) -> Result<Vec<Sample>, ProbeError> {
    let failed = |error: std::io::Error| ProbeError::Local(format!("{PROGRAM}: {error}"));
    let mut child = Command::new(program)
        .args([QUERY, "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(MAX_OUTPUT)
            .read_to_string(&mut output)
            .await
            .map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        return Err(ProbeError::Local(format!("{PROGRAM} ended with {status}")));
    }
    parse(&output)
}

/// Reads one line a GPU. A value that a GPU does not have, `[N/A]`, is no sample.
fn parse(output: &str) -> Result<Vec<Sample>, ProbeError> {
    let mut samples = Vec::new();
    let mut count = 0;
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let &[index, utilization, used, total, temperature, power] = fields.as_slice() else {
            return Err(ProbeError::Malformed(format!(
                "{PROGRAM} writes another format"
            )));
        };
        if index.parse::<u16>().is_err() {
            return Err(ProbeError::Malformed(format!(
                "{PROGRAM} writes another format"
            )));
        }
        count += 1;
        for (metric, text, factor) in [
            ("berth.gpu.utilization", utilization, 1.0),
            ("berth.gpu.memory.used", used, MIB),
            ("berth.gpu.memory.total", total, MIB),
            ("berth.gpu.temperature", temperature, 1.0),
            ("berth.gpu.power", power, 1.0),
        ] {
            if let Some(value) = text.parse::<f64>().ok().filter(|value| value.is_finite()) {
                samples.push(Sample::gauge(metric, value * factor).with("gpu", index));
            }
        }
    }
    samples.push(Sample::gauge("berth.gpu.count", f64::from(count)));
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented form: two GPUs of a server, and one that has no power sensor.
    const OUTPUT: &str = "0, 0, 4, 143771, 27, 75.68\n1, 98, 120034, 143771, 61, 642.10\n\
        2, 3, 512, 8192, 44, [N/A]\n";

    fn value(samples: &[Sample], metric: &str, gpu: &str) -> Option<f64> {
        let sample = samples.iter().find(|sample| {
            sample.metric == metric && sample.attributes.get("gpu").is_some_and(|g| g == gpu)
        })?;
        Some(sample.value)
    }

    #[test]
    fn each_gpu_is_told_apart_and_memory_is_in_bytes() {
        let samples = parse(OUTPUT).unwrap();
        assert_eq!(
            value(&samples, "berth.gpu.memory.total", "0"),
            Some(143_771.0 * MIB)
        );
        assert_eq!(value(&samples, "berth.gpu.utilization", "1"), Some(98.0));
        assert_eq!(value(&samples, "berth.gpu.power", "1"), Some(642.1));
        assert_eq!(value(&samples, "berth.gpu.power", "2"), None);
        assert_eq!(
            samples.last().unwrap(),
            &Sample::gauge("berth.gpu.count", 3.0)
        );
    }

    #[test]
    fn a_message_instead_of_values_is_an_error() {
        let message =
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.";
        assert!(parse(message).is_err());
        assert!(parse("Unable to determine the device handle, a, b, c, d, e").is_err());
    }

    #[tokio::test]
    async fn a_machine_without_the_program_yields_no_sample() {
        let folder = tempfile::tempdir().unwrap();
        let error = measure(&folder.path().join(PROGRAM)).await.unwrap_err();
        assert!(error.to_string().starts_with("nvidia-smi"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_says_something_else_is_told_apart() {
        let failed = measure(Path::new("/bin/false")).await.unwrap_err();
        assert!(failed.to_string().contains("exit status: 1"), "{failed}");
        let other = measure(Path::new("/bin/echo")).await.unwrap_err();
        assert!(other.to_string().contains("another format"), "{other}");
    }
}
