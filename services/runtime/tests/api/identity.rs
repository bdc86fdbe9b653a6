//! A certificate that is replaced while its process runs.

use crate::authority::{Issued, Pki};
use crate::callers::{Listener, well};
use berth_runtime::clients;
use berth_runtime::identity::{Identity, Trust};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn issue(pki: &Pki) -> Issued {
    pki.services
        .issue("berth://service/monitoring", &["monitoring"])
}

/// The certificate that a listener shows to a new connection.
async fn shown(listener: &Listener, caller: &Identity) -> CertificateDer<'static> {
    let stream = TcpStream::connect(listener.address).await.unwrap();
    let name = ServerName::try_from("monitoring").unwrap();
    let connector = TlsConnector::from(caller.client().unwrap());
    let stream = connector.connect(name, stream).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn connections_made_after_a_renewal_see_the_new_certificate_and_old_ones_go_on() {
    let pki = Pki::new();
    let (identity, caller) = (Identity::pending(), pki.identity("gateway"));
    let (first, second) = (issue(&pki), issue(&pki));
    let (old, new) = (der(&first.certificate), der(&second.certificate));
    identity.replace(&pki.bundle(first)).unwrap();
    let listener = Listener::start(&identity, Trust::Services).await;
    let channel = clients::channel("monitoring", &listener.address.to_string(), &caller);
    well(channel.clone()).await.unwrap();
    assert_eq!(shown(&listener, &caller).await, old);

    identity.replace(&pki.bundle(second)).unwrap();
    assert_eq!(shown(&listener, &caller).await, new);
    well(channel).await.unwrap();
}

#[tokio::test]
async fn a_process_without_a_certificate_answers_as_soon_as_it_has_one() {
    let pki = Pki::new();
    let (identity, caller) = (Identity::pending(), pki.identity("gateway"));
    let listener = Listener::start(&identity, Trust::Services).await;
    let address = listener.address.to_string();
    let channel = clients::channel("monitoring", &address, &caller);
    well(channel.clone()).await.unwrap_err();
    // Nor can it call anybody.
    let status = well(clients::channel("monitoring", &address, &identity)).await;
    let told = status.unwrap_err().to_string();
    assert!(told.contains("no certificate yet"), "{told}");

    identity.replace(&pki.bundle(issue(&pki))).unwrap();
    well(channel).await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_leaves_the_one_before() {
    let pki = Pki::new();
    let (identity, caller) = (Identity::pending(), pki.identity("gateway"));
    let first = issue(&pki);
    let old = der(&first.certificate);
    identity.replace(&pki.bundle(first)).unwrap();
    let listener = Listener::start(&identity, Trust::Services).await;
    let mut mixed = pki.bundle(issue(&pki));
    mixed.private_key_pem = issue(&pki).key.into();
    let mut empty = pki.bundle(issue(&pki));
    empty.services_ca_pem.clear();
    for broken in [mixed, empty] {
        let error = identity.replace(&broken).unwrap_err();
        assert!(!berth_core::report(&error).contains("PRIVATE"), "{error:?}");
    }
    assert_eq!(shown(&listener, &caller).await, old);
}
