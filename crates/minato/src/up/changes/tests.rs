use super::*;

/// The hosts of a file with this text.
fn hosts(text: &str) -> Vec<HostPlan> {
    let directory = tempfile::tempdir().expect("a directory");
    // All in one place, so that the working directories are the same.
    let path = directory.path().join("minato.toml");
    std::fs::write(&path, text).expect("a file");
    let choice = Choice { files: vec![path], network: Some("shop".parse().unwrap()), instance: None, subnet: None };
    let mut hosts = choice.plan().expect("a plan").hosts;
    hosts.iter_mut().flat_map(|host| &mut host.services).for_each(|service| service.directory = "/".into());
    hosts
}

const BEFORE: &str = "[host.a]\ncommand = 'a'\nports = { 80 = 8080, 81 = 8081 }\nready = 80\n[host.b]\ncommand = 'b'\n[host.c]\ncommand = 'c'\n";

#[test]
fn only_what_is_different_is_touched() {
    let before = hosts(BEFORE);
    assert_eq!(difference(&before, &before), Difference::default());
    let now = hosts(
        "[host.a]\ncommand = 'a'\nports = { 80 = 8080, 81 = 9081 }\nready = 80\n[host.b]\ncommand = 'other'\n[host.d]\ncommand = 'd'\n",
    );
    let difference = difference(&before, &now);
    let names = |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&difference.end), ["c", "b"]);
    assert_eq!(difference.start.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["b", "d"]);
    let [(name, gone, come)] = difference.forwards.as_slice() else { panic!("{difference:?}") };
    let ports = |specs: &[ForwardSpec]| specs.iter().map(|spec| spec.host_ports.0).collect::<Vec<_>>();
    assert_eq!((name.as_str(), ports(gone), ports(come)), ("a", vec![8081], vec![9081]));
}

#[test]
fn a_free_port_that_changes_needs_a_new_start() {
    let (one, two) = (
        hosts("[host.a]\ncommand = 'a'\nports = { 80 = 'auto' }\nready = 80\n"),
        hosts("[host.a]\ncommand = 'a'\nports = { 81 = 'auto' }\nready = 80\n"),
    );
    assert_eq!(difference(&one, &two).end.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_replaced_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("minato.toml");
    std::fs::write(&path, "[host.a]\ncommand = 'a'\n").expect("a file");
    let choice = Choice { files: vec![path.clone()], network: None, instance: None, subnet: None };
    let plan = choice.plan().expect("a plan");
    let mut watched = Watched::new(choice, &plan);
    let unchanged = tokio::time::timeout(PAUSE * 3, watched.changed()).await;
    assert!(unchanged.is_err());
    std::fs::write(directory.path().join("new"), "[host.b]\ncommand = 'b'\n").expect("a file");
    std::fs::rename(directory.path().join("new"), &path).expect("a new file");
    assert_eq!(watched.changed().await.expect("a plan").hosts[0].name.as_str(), "b");
    std::fs::write(&path, "nonsense").expect("a file");
    assert!(watched.changed().await.is_err());
}
