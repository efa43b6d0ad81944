use super::*;
use crate::runtime_dir::RuntimeDir;

fn line(number: u32, host: &str) -> Line {
    Line { time: f64::from(number), host: host.into(), service: None, text: format!("{number} {}", "x".repeat(1000)) }
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
    // A new supervisor begins anew.
    let again = Logs::create(&directory).unwrap();
    assert_eq!(fs::read_dir(&again.directory).unwrap().count(), 0);
}
