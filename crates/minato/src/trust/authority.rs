//! The user's own certificate authority: made on this machine, and good for names below `localhost` only.
//!
//! `authority.pem` holds key and certificate in one file, so that they always belong together; nobody else may read it.
//! `ca.pem` beside it is the certificate alone, for whoever is to trust it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::unless_gone;
use crate::failure::Failure;
use crate::state_dir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an authority is good for.
const LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// How long before its end `minato trust` makes a new one.
const RENEWAL: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// How long a certificate of one name is good for.
const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An authority that can sign.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// From when on and until when it is good.
    validity: (SystemTime, SystemTime),
}

/// Why there is none.
#[derive(Debug, PartialEq)]
pub(crate) enum Absent {
    /// Nobody has made one.
    NotMade,
    /// What is there can't be used, for this reason.
    Unusable(String),
    /// What is there can't be read now, for this reason.
    Unreadable(String),
}

/// A certificate of one name, with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Until when it is good.
    pub(crate) until: SystemTime,
}

/// The file with key and certificate.
pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("authority.pem")
}

/// The file with the certificate alone.
pub(super) fn public_file(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

impl Authority {
    /// The authority of a directory.
    pub(crate) fn load(directory: &Path) -> Result<Authority, Absent> {
        let path = file(directory);
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Absent::NotMade),
            metadata => metadata.map_err(|error| Absent::Unreadable(error.to_string()))?,
        };
        if metadata.mode() & 0o077 != 0 {
            return Err(Absent::Unusable(format!("others may read its key (mode {:o})", metadata.mode() & 0o777)));
        }
        let text = fs::read(&path).map_err(|error| Absent::Unreadable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| Absent::unusable("has no key", error))?;
        let key = KeyPair::try_from(&key).map_err(|error| Absent::unusable("has no key of ours", error))?;
        let certificate =
            CertificateDer::from_pem_slice(&text).map_err(|error| Absent::unusable("has no certificate", error))?;
        Authority::new(key, certificate)
    }

    /// Makes one, in place of what is there.
    pub(super) fn make(directory: &Path, now: SystemTime) -> Result<Authority, Failure> {
        let failed = |error: rcgen::Error| Failure::caused("cannot make a certificate authority", error);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = own_parameters(now).and_then(|own| own.self_signed(&key)).map_err(failed)?;
        let both = format!("{}{}", key.serialize_pem(), certificate.pem());
        let unwritten = |error| Failure::caused(format!("cannot write into {}", directory.display()), error);
        state_dir::create(directory).map_err(unwritten)?;
        replace(&file(directory), &both, 0o600).map_err(unwritten)?;
        let own = Authority::load(directory)
            .map_err(|absent| Failure::caused(format!("cannot use {}", file(directory).display()), absent.reason()))?;
        own.publish(directory)?;
        Ok(own)
    }

    /// Writes the certificate down for others, unless it is there.
    pub(super) fn publish(&self, directory: &Path) -> Result<(), Failure> {
        let path = public_file(directory);
        if self.is_in(&fs::read(&path).unwrap_or_default()) {
            return Ok(());
        }
        let pem = fs::read_to_string(file(directory)).map(|both| certificate_of(&both));
        let written = pem.and_then(|pem| replace(&path, &pem, 0o644));
        written.map_err(|error| Failure::caused(format!("cannot write {}", path.display()), error))
    }

    /// Whether a text in PEM has its certificate and no other one.
    pub(super) fn is_in(&self, pem: &[u8]) -> bool {
        let mut found = CertificateDer::pem_slice_iter(pem);
        found.next().is_some_and(|first| first.is_ok_and(|first| first == self.certificate)) && found.next().is_none()
    }

    /// Whether a text in PEM has its certificate among others.
    pub(super) fn is_among(&self, pem: &[u8]) -> bool {
        CertificateDer::pem_slice_iter(pem).flatten().any(|one| one == self.certificate)
    }

    /// Whether it is time for a new one.
    pub(super) fn nears_its_end(&self, now: SystemTime) -> bool {
        self.validity.1 < now + RENEWAL
    }

    /// Until when it is good.
    pub(super) fn until(&self) -> SystemTime {
        self.validity.1
    }

    /// A certificate for a server of this name. It ends with the authority: a client of one that is over is told so.
    pub(crate) fn leaf(&self, name: &str, now: SystemTime) -> Result<Leaf, rcgen::Error> {
        let key = KeyPair::generate()?;
        let until = self.validity.1.min(now + LEAF_LIFETIME);
        let mut leaf = CertificateParams::new([name.to_owned()])?;
        leaf.not_before = self.validity.0.max(until - LEAF_LIFETIME - DAY).into();
        leaf.not_after = until.into();
        // The name is in the alternative names alone: a common name ends at 64 characters (RFC 5280 appendix A.1).
        leaf.distinguished_name = organization();
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let certificate = leaf.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Leaf { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(), until })
    }

    fn new(key: KeyPair, certificate: CertificateDer<'static>) -> Result<Authority, Absent> {
        let unreadable =
            |error: &dyn std::fmt::Display| Absent::unusable("has a certificate that can't be read", error);
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|error| unreadable(&error))?;
        let time =
            |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let validity = parsed.validity();
        let validity = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(Absent::Unusable("its key is not that of its certificate".into()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unreadable(&error))?;
        Ok(Authority { issuer, certificate, validity })
    }
}

impl Absent {
    fn unusable(what: &str, error: impl std::fmt::Display) -> Absent {
        Absent::Unusable(format!("it {what}: {error}"))
    }

    /// In words.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Absent::NotMade => "there is none",
            Absent::Unusable(reason) | Absent::Unreadable(reason) => reason,
        }
    }
}

/// Whether a text in PEM has an authority that was made for this user, be it one that is there no more.
pub(super) fn any_of(user: u32, pem: &[u8]) -> bool {
    let prefix = common_name_prefix(user);
    CertificateDer::pem_slice_iter(pem).flatten().any(|one| {
        x509_parser::parse_x509_certificate(&one).is_ok_and(|(_, parsed)| {
            parsed.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name.starts_with(&prefix)))
        })
    })
}

/// What an authority is and may do: with these constraints (RFC 5280 §4.2.1.10) and this purpose (§4.2.1.12) what it signs
/// is no server's, client's or sender's of any other name, whoever gets hold of its key.
fn own_parameters(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    const MAX_COMMON_NAME: usize = 64; // RFC 5280 appendix A.1
    let system = rustix::system::uname();
    let mut common = common_name_prefix(rustix::process::geteuid().as_raw());
    let room = MAX_COMMON_NAME - common.len();
    common.extend(system.nodename().to_string_lossy().chars().take(room));
    let mut own = CertificateParams::new(Vec::new())?;
    own.distinguished_name = organization();
    own.distinguished_name.push(DnType::CommonName, common);
    own.not_before = (now - DAY).into();
    own.not_after = (now + LIFETIME).into();
    own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::Rfc822Name("localhost".into()),
        ],
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    Ok(own)
}

fn organization() -> rcgen::DistinguishedName {
    let mut distinguished = rcgen::DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "minato");
    distinguished
}

/// What the common names of a user's authorities begin with.
fn common_name_prefix(user: u32) -> String {
    format!("minato CA of user {user} on ")
}

/// The certificate in a text that has the key too.
fn certificate_of(both: &str) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    both.find(BEGIN).map(|start| both[start..].to_owned()).unwrap_or_default()
}

/// Writes a file at once: who reads it sees the old one or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    unless_gone(fs::remove_file(&new))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    // Whatever the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests;
