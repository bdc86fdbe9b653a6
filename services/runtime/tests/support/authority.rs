//! Authorities and certificates for tests, such as Vault issues them. Shared by
//! the tests of several crates with `#[path]`.

use berth_runtime::identity::{Bundle, Identity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// One authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that carries a URI, and names of a server.
    pub(crate) fn issue(&self, uri: &str, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let uri = SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names.push(uri);
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Both authorities of a platform.
pub(crate) struct Pki {
    pub(crate) services: Authority,
    pub(crate) placements: Authority,
}

impl Pki {
    pub(crate) fn new() -> Self {
        // A second call finds the first one's provider, which is the same.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        Self {
            services: Authority::new("Berth services"),
            placements: Authority::new("Berth placements"),
        }
    }

    /// What a process shows and whom it trusts.
    pub(crate) fn bundle(&self, issued: Issued) -> Bundle {
        Bundle {
            certificate_pem: issued.certificate,
            private_key_pem: issued.key.into(),
            services_ca_pem: self.services.pem(),
            placements_ca_pem: self.placements.pem(),
            not_after: berth_core::now() + chrono::TimeDelta::days(1),
        }
    }

    /// The identity of a service.
    pub(crate) fn identity(&self, role: &str) -> Identity {
        let identity = Identity::pending();
        let uri = format!("berth://service/{role}");
        let issued = self.services.issue(&uri, &[role, "localhost"]);
        identity.replace(&self.bundle(issued)).unwrap();
        identity
    }
}
