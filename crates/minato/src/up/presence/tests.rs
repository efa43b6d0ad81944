use super::*;

fn plan() -> Plan {
    Plan {
        network: "shop".parse().unwrap(),
        subnet: None,
        instance: None,
        files: vec!["/x/minato.toml".into()],
        hosts: Vec::new(),
    }
}

#[test]
fn one_supervisor_at_a_time_and_none_after_it() {
    let base = tempfile::tempdir().expect("a directory");
    let directory = RuntimeDir::below(&base.path().join("minato"), &"shop".parse().unwrap());
    directory.create().unwrap();
    assert!(find(&directory).is_none() && status(&directory).is_none());
    let first = Presence::claim(&directory, &plan()).unwrap();
    let (supervisor, _handle) = find(&directory).expect("it is there");
    assert_eq!(
        supervisor,
        Supervisor { pid: std::process::id(), files: vec!["/x/minato.toml".into()], seconds_to_end: 0 }
    );
    let refusal = Presence::claim(&directory, &plan()).unwrap_err();
    assert_eq!(refusal.code, code::CONFLICT);
    let words = refusal.lines().join("\n");
    assert!(words.contains(&format!("pid {}", std::process::id())) && words.contains("/x/minato.toml"), "{words}");
    first.write(&BTreeMap::from([("web".parse().unwrap(), State::Ready)]), &BTreeMap::new());
    assert_eq!(status(&directory).expect("it says").hosts.len(), 1);
    drop(first);
    assert!(find(&directory).is_none() && status(&directory).is_none());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
}
