use super::*;
use crate::runtime_dir::RuntimeDir;

fn line(number: u32, host: &str) -> Line {
    Line {
        time: f64::from(number),
        host: host.into(),
        service: None,
        text: format!("{number} {}", "x".repeat(1000)),
        gap: None,
    }
}

#[test]
fn a_host_that_says_much_leaves_the_others_theirs() {
    let base = tempfile::tempdir().expect("a directory");
    let directory = RuntimeDir::below(&base.path().join("minato"), &"shop".parse().unwrap());
    directory.create().unwrap();
    let mut logs = Logs::create(&directory).unwrap();
    logs.write(&line(0, "quiet"));
    (1..5000).for_each(|number| logs.write(&line(number, "loud")));
    let size = |path: PathBuf| fs::metadata(path).unwrap().len();
    assert!(size(current(&logs.directory, "loud")) <= MOST && size(before(&logs.directory, "loud")) <= MOST);
    assert!(size(before(&logs.directory, "loud")) > MOST / 2);
    assert!(size(current(&logs.directory, "quiet")) > 1000);
    let read = |host: &str| {
        let only = vec![host.to_owned()];
        read::Reader { directory: logs.directory.clone(), only, files: Vec::new() }.new_lines()
    };
    let loud = read("loud");
    assert_eq!((loud[0].gap, loud[0].text.as_str()), (Some(Gap::Older), "[older lines are gone]"));
    assert!(loud[1..].iter().all(|line| line.gap.is_none()) && loud[1].time > 1.0, "only there");
    assert!(loud[1..].windows(2).all(|two| two[0].time + 1.0 == two[1].time), "nothing else is missing");
    assert!(read("quiet").iter().all(|line| line.gap.is_none()));
    // A new supervisor begins anew.
    let again = Logs::create(&directory).unwrap();
    assert_eq!(fs::read_dir(&again.directory).unwrap().count(), 0);
}
