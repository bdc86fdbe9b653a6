//! Certificates as Vault would issue them.

use berth_core::now;
use berth_runtime::identity::{Bundle, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use std::time::Duration;

/// The authority of the services.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        // Another test may have been first.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate of the service `role`.
    pub(crate) fn issue(&self, role: &str) -> Bundle {
        let mut params = CertificateParams::new(vec![role.to_owned()]).unwrap();
        let uri = format!("berth://service/{role}");
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Bundle {
            certificate_pem: certificate.pem(),
            private_key_pem: key.serialize_pem().into(),
            services_ca_pem: self.0.pem(),
            placements_ca_pem: self.0.pem(),
            not_after: now() + Duration::from_secs(3600),
        }
    }

    pub(crate) fn identity(&self, role: &str) -> Identity {
        let identity = Identity::pending();
        identity.replace(&self.issue(role)).unwrap();
        identity
    }
}
