use std::os::unix::fs::PermissionsExt;

use x509_parser::extensions::GeneralName;

use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn what_was_made_is_loaded_and_nobody_else_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("trust");
    assert_eq!(Authority::load(&place).err(), Some(Absent::NotMade));
    let made = Authority::make(&place, now()).unwrap();
    assert_eq!(Authority::load(&place).unwrap().certificate, made.certificate);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(place.clone()), mode(file(&place)), mode(public_file(&place))), (0o700, 0o600, 0o644));
    let public = fs::read_to_string(public_file(&place)).unwrap();
    assert!(made.is_in(public.as_bytes()) && !public.contains("KEY"), "{public}");
    assert!(!Authority::make(&place, now()).unwrap().is_in(public.as_bytes()), "another one has another key");
}

#[test]
fn what_cannot_be_used_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let unusable = || match Authority::load(directory.path()) {
        Err(Absent::Unusable(reason)) => reason,
        Err(absent) => panic!("it is there: {absent:?}"),
        Ok(_) => panic!("it can be used"),
    };
    Authority::make(directory.path(), now()).unwrap();
    let one = fs::read_to_string(file(directory.path())).unwrap();
    Authority::make(directory.path(), now()).unwrap();
    let other = fs::read_to_string(file(directory.path())).unwrap();
    fs::write(
        file(directory.path()),
        format!("{}{}", &one[..one.find("-----BEGIN C").unwrap()], certificate_of(&other)),
    )
    .unwrap();
    assert!(unusable().contains("not that of its certificate"), "{}", unusable());
    fs::write(file(directory.path()), "nonsense").unwrap();
    assert!(unusable().contains("has no key"), "{}", unusable());
    fs::write(file(directory.path()), one).unwrap();
    fs::set_permissions(file(directory.path()), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(unusable().contains("others may read its key"), "{}", unusable());
}

#[test]
fn it_is_good_for_two_years_and_for_localhost_only() {
    let directory = tempfile::tempdir().unwrap();
    let made = Authority::make(directory.path(), now()).unwrap();
    assert_eq!(made.until(), now() + LIFETIME);
    assert!(!made.nears_its_end(now() + LIFETIME - RENEWAL - DAY));
    assert!(made.nears_its_end(now() + LIFETIME - RENEWAL + DAY));
    let (_, parsed) = x509_parser::parse_x509_certificate(&made.certificate).unwrap();
    let constraints = parsed.name_constraints().unwrap().unwrap();
    assert!(constraints.critical && parsed.is_ca());
    let permitted: Vec<_> = constraints.value.permitted_subtrees.iter().flatten().map(|tree| &tree.base).collect();
    assert_eq!(permitted, [&GeneralName::DNSName("localhost"), &GeneralName::RFC822Name("localhost")]);
    let purpose = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && !purpose.client_auth && !purpose.email_protection && !purpose.any);
    let common = parsed.subject().iter_common_name().next().unwrap().as_str().unwrap();
    assert!(common.chars().count() <= 64, "{common}");
    assert_eq!(constraints.value.excluded_subtrees.as_ref().map(Vec::len), Some(2), "addresses of both families");
}

#[test]
fn it_is_found_among_others() {
    let directory = tempfile::tempdir().unwrap();
    let first = Authority::make(directory.path(), now()).unwrap();
    let bundle = fs::read(public_file(directory.path())).unwrap();
    let second = Authority::make(directory.path(), now()).unwrap();
    let bundle = [bundle, fs::read(public_file(directory.path())).unwrap()].concat();
    assert!(first.is_among(&bundle) && second.is_among(&bundle) && !first.is_in(&bundle));
    let user = rustix::process::geteuid().as_raw();
    assert!(any_of(user, &bundle) && !any_of(user + 1, &bundle) && !any_of(user, b""));
}

#[test]
fn what_cannot_be_read_now_is_not_unusable() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(file(directory.path())).unwrap();
    fs::set_permissions(file(directory.path()), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(Authority::load(directory.path()), Err(Absent::Unreadable(_))));
}

#[test]
fn a_leaf_is_short_lived_and_ends_with_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    let made = Authority::make(directory.path(), now()).unwrap();
    let days = |leaf: &Leaf| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.certificate).unwrap();
        let validity = parsed.validity();
        (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86400
    };
    let leaf = made.leaf("web.shop.localhost", now()).unwrap();
    assert_eq!(leaf.until, now() + LEAF_LIFETIME);
    assert!((7..=8).contains(&days(&leaf)), "{}", days(&leaf));
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.certificate).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names, &[GeneralName::DNSName("web.shop.localhost")]);
    assert_eq!(parsed.subject().iter_common_name().count(), 0, "names of hosts may be longer than a common name");
    let other = made.leaf("web.shop.localhost", now()).unwrap();
    let (_, other) = x509_parser::parse_x509_certificate(&other.certificate).unwrap();
    assert_ne!(parsed.serial, other.serial, "Firefox takes no number twice");
    for late in [LIFETIME - DAY, LIFETIME + DAY] {
        assert_eq!(made.leaf("web.shop.localhost", now() + late).unwrap().until, now() + LIFETIME);
    }
}
