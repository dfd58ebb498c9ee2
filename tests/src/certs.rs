//! The lab's certificate authority, and the certificates that its servers show.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// An authority that lives for one lab.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// Makes an authority and writes its certificate to `<directory>/ca.pem`.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "the lab's authority");
        let key = KeyPair::generate()?;
        fs::write(directory.join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), directory: directory.to_owned() })
    }

    /// The authority's certificate, for `AWS_CA_BUNDLE`, `curl --cacert` and their like.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Issues a server certificate for these names (`*.` allowed); returns the files of the certificate and of its key.
    ///
    /// # Errors
    /// Fails on an invalid name, or when the files cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
        self.issue_for(ExtendedKeyUsagePurpose::ServerAuth, file, names)
    }

    /// The same for a client whose common name is `file`.
    ///
    /// # Errors
    /// Fails when the files cannot be written.
    pub fn issue_client(&self, file: &str) -> Result<(PathBuf, PathBuf)> {
        self.issue_for(ExtendedKeyUsagePurpose::ClientAuth, file, &[])
    }

    fn issue_for(&self, purpose: ExtendedKeyUsagePurpose, file: &str, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, file);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let (cert_file, key_file) =
            (self.directory.join(format!("{file}.pem")), self.directory.join(format!("{file}.key")));
        fs::write(&cert_file, params.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(&key_file, key.serialize_pem())?;
        Ok((cert_file, key_file))
    }
}
