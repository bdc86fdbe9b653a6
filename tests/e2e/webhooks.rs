//! Webhooks as an account's owner uses them: made, tried, told of the end of a
//! lease, tried again after an answer that was none, and forgotten.

use berth_tests::{Berth, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Longest wait for a call: the third try comes within 20 s of the first.
const SOON: Duration = Duration::from_mins(1);

/// Python's own HMAC, so that nothing of ours checks what is ours.
const SIGN: &str = "import sys, hmac, hashlib, base64
secret, call, time = sys.argv[1:]
key = base64.b64decode(secret.removeprefix('whsec_'))
body = sys.stdin.buffer.read()
mac = hmac.new(key, f'{call}.{time}.'.encode() + body, hashlib.sha256)
print('v1,' + base64.b64encode(mac.digest()).decode())";

/// One POST, as it came.
struct Call {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Call {
    fn read(stream: &TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}");
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        Self { headers, body }
    }

    fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Fails unless the signature is that of the body under the secret.
    fn is_signed_with(&self, secret: &str) {
        let mut python = Command::new("python3")
            .args(["-c", SIGN, secret])
            .args([
                &self.headers["webhook-id"],
                &self.headers["webhook-timestamp"],
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(&self.body).unwrap();
        let signature = python.wait_with_output().unwrap().stdout;
        let signature = String::from_utf8(signature).unwrap();
        assert_eq!(self.headers["webhook-signature"], signature.trim());
    }
}

/// A receiver beside the services, inside the machines' network, that answers as it
/// is told, then well. It ends with the test.
fn receiver(berth: &Berth, answers: Vec<u16>) -> (String, Receiver<Call>) {
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = berth.rig().in_fabric(bind).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, calls) = mpsc::channel();
    let mut answers = answers.into_iter();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let call = Call::read(&stream);
            let status = answers.next().unwrap_or(204);
            let answer = format!("HTTP/1.1 {status} said\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if sender.send(call).is_err() {
                return;
            }
        }
    });
    (url, calls)
}

/// Makes one, loses it, and sees each of its commands.
pub(crate) fn tell_of_a_lease(berth: &Berth) {
    let refused = berth.ask(&["webhook", "create", "http://10.1.2.3/hook"]);
    assert_eq!(refused.code, Some(2), "{}", refused.said);
    assert!(refused.said.contains("url"), "{}", refused.said);

    let (url, calls) = receiver(berth, vec![204, 503, 500]);
    let made = berth.run(&["webhook", "create", &url, "--events", "lease.ended"]);
    let secret = made["secret"].as_str().expect("a secret");
    let id = made["webhook"]["id"].as_str().expect("an id");

    let tried = berth.run(&["webhook", "test", id]);
    assert_eq!(tried["answer"]["httpStatus"], 204, "{tried}");
    calls.recv_timeout(SOON).unwrap().is_signed_with(secret);
    let tried = berth.ask(&["webhook", "test", id]);
    assert!(
        tried.code != Some(0) && tried.said.contains("503"),
        "{}",
        tried.said
    );
    calls.recv_timeout(SOON).unwrap().is_signed_with(secret);

    let lease = berth.run(&["lease", "create", "--max-price", "9", "--wait"]);
    let lease = lease["lease"]["id"].as_str().expect("an id").to_owned();
    berth.run(&["lease", "end", &lease]);
    let first = calls.recv_timeout(SOON).unwrap();
    let again = calls.recv_timeout(SOON).unwrap();
    for call in [&first, &again] {
        call.is_signed_with(secret);
        assert_eq!(call.event()["type"], "lease.ended");
        assert_eq!(call.event()["object"]["id"], lease.as_str());
    }
    assert_eq!(first.headers["webhook-id"], again.headers["webhook-id"]);
    assert_eq!(first.body, again.body);

    let told = eventually("the event is noted as told", SOON, || {
        let answer = berth.run(&["webhook", "deliveries", id]);
        let told = answer["deliveries"][0].clone();
        if told["state"] == "STATE_DELIVERED" {
            Ok(told)
        } else {
            Err(answer.to_string())
        }
    });
    assert_eq!(told["attempts"], 2, "{told}");
    assert!(berth.print(&["webhook", "list"]).contains("lease.ended"));

    berth.run(&["webhook", "delete", id, "--dry-run"]);
    berth.run(&["webhook", "delete", id]);
    let gone = berth.ask(&["webhook", "deliveries", id]);
    assert_eq!(gone.code, Some(3), "{}", gone.said);
}
