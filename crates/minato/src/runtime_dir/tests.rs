use std::fs::{DirBuilder, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{RuntimeDir, base, user};

fn below(base: &Path) -> RuntimeDir {
    RuntimeDir::below(base, &"default".parse().expect("a name"))
}

#[test]
fn the_runtime_directory_comes_first_and_the_temporary_one_is_private() {
    assert_eq!(base(Some("/run/user/7".into()), "/temporary".into()), PathBuf::from("/run/user/7/minato"));
    let private = PathBuf::from(format!("/temporary/minato-{}", user()));
    assert_eq!(base(None, "/temporary".into()), private);
    assert_eq!(base(Some("relative".into()), "/temporary".into()), private);
    assert_eq!(base(None, ".".into()), PathBuf::from(format!("/tmp/minato-{}", user())));
}

#[test]
fn what_does_not_exist_is_fine_and_is_made_private() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = below(&temporary.path().join("minato"));
    directory.check().expect("nothing there");
    assert!(!directory.path().exists());
    directory.create().expect("created");
    let mode = directory.path().metadata().expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_directory_that_others_may_use_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let directory = below(&temporary.path().join("minato"));
    directory.create().expect("created");
    set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let failure = directory.check().expect_err("must be refused");
    assert!(failure.details[0].contains("755"), "{failure:?}");
}

#[test]
fn a_link_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let real = temporary.path().join("real");
    DirBuilder::new().mode(0o700).create(&real).expect("a directory");
    std::os::unix::fs::symlink(&real, temporary.path().join("minato")).expect("a link");
    below(&temporary.path().join("minato")).create().expect_err("must be refused");
}
