//! The example against the kernel: `curl` and Python's web server in a network namespace with the example's TUN.

use std::path::PathBuf;
use std::process::Command;

/// What runs within the namespaces; the example is `$1`. The shell is their process 1: everything ends with it.
const SCRIPT: &str = r#"
set -e
ip link set lo up
"$1" tun7 10.77.1.1 10.77.1.2 >example.log 2>&1 &
for _ in $(seq 100); do grep -q listening example.log && break; sleep 0.05; done
echo "greeting: $(curl -sS --max-time 20 http://10.77.1.2/)"
echo "refused before: $(curl -sS --max-time 20 http://10.77.1.2/fetch)"
mkdir web
echo "Python was here" >web/index.html
python3 -m http.server 8000 --bind 10.77.1.1 --directory web >python.log 2>&1 &
for _ in $(seq 100); do curl -s --max-time 20 http://10.77.1.1:8000/ >direct && break; sleep 0.05; done
echo "fetched: $(curl -sS --max-time 20 http://10.77.1.2/fetch | tail -1)"
echo "port 81: $(curl -sS --max-time 20 http://10.77.1.2:81/ 2>&1)"
"#;

#[test]
fn the_example_serves_curl_and_fetches_from_python() {
    // target/debug/deps/tun-… → target/debug/examples/tun
    let test = std::env::current_exe().expect("a test has a path");
    let example: PathBuf =
        [test.parent().and_then(|deps| deps.parent()).expect("target"), "examples/tun".as_ref()].iter().collect();
    assert!(example.exists(), "{} is built with the tests", example.display());
    let directory = std::env::temp_dir().join(format!("minato-tokio-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut command = Command::new("unshare");
    // With a user namespace root is not needed.
    command
        .args(["-r", "-n", "-p", "-f", "--kill-child", "sh", "-c", SCRIPT, "sh"])
        .arg(&example)
        .current_dir(&directory);
    let output = command.output();
    std::fs::remove_dir_all(&directory).expect("it is ours");
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: `unshare` (package util-linux) does not run: {error}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("greeting: minato's own TCP greets 10.77.1.1:"), "{said}\n{errors}");
    assert_eq!(lines[1], "refused before: ConnectionRefused");
    assert_eq!(lines[2], "fetched: Python was here");
    assert!(lines[3].starts_with("port 81: curl: (7) "), "{said}");
}
