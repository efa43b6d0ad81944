//! Configurations of Debian's servers: everything that they write goes to the test's own directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::machine::Machine;

/// A configured server: the command line that runs it in the foreground, and its files.
pub(crate) struct Server {
    pub(crate) command: Vec<String>,
    pub(crate) access_log: PathBuf,
}

/// apache2 on `port` with one page that says `page`.
pub(crate) fn apache(machine: &Machine, port: u16, page: &str) -> Server {
    let directory = directory(machine, &format!("apache-{port}"));
    write(&directory.join("site/index.html"), page);
    let shown = directory.display();
    let modules = "/usr/lib/apache2/modules";
    let configuration = format!(
        "ServerRoot {shown}\nServerName web\nListen {port}\nPidFile {shown}/apache.pid\nDefaultRuntimeDir {shown}\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule dir_module {modules}/mod_dir.so\n\
         Mutex file:{shown}\nErrorLog {shown}/error.log\nCustomLog {shown}/access.log \"%h %{{remote}}p %r %>s\"\n\
         DocumentRoot {shown}/site\nUser nobody\nGroup nogroup\n<Directory {shown}/site>\nRequire all granted\n</Directory>\n"
    );
    let path = directory.join("apache2.conf");
    write(&path, &configuration);
    let command = ["apache2", "-X", "-f", path.to_str().expect("UTF-8")].map(str::to_owned).to_vec();
    Server { command, access_log: directory.join("access.log") }
}

/// nginx on `port` of both families with one page that says `page`. Files in `site/` are served too.
pub(crate) fn nginx(machine: &Machine, port: u16, page: &str) -> Server {
    nginx_in(&machine.work().join(format!("nginx-{port}")), port, page)
}

/// The same with its files in `directory`.
pub(crate) fn nginx_in(directory: &Path, port: u16, page: &str) -> Server {
    create(directory);
    write(&directory.join("site/index.html"), page);
    let shown = directory.display();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {shown}/nginx.pid;\nerror_log {shown}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\nlog_format peers '$remote_addr $remote_port $request $status';\naccess_log {shown}/access.log peers;\n\
         client_body_temp_path {shown}/t1; proxy_temp_path {shown}/t2; fastcgi_temp_path {shown}/t3;\n\
         uwsgi_temp_path {shown}/t4; scgi_temp_path {shown}/t5;\n\
         server {{ listen {port}; listen [::]:{port}; root {shown}/site; }}\n}}\n"
    );
    let path = directory.join("nginx.conf");
    write(&path, &configuration);
    let path = path.to_str().expect("UTF-8");
    let command = ["nginx", "-e", "/dev/null", "-c", path].map(str::to_owned).to_vec();
    Server { command, access_log: directory.join("access.log") }
}

/// vsftpd on port 21 of both families, which gives the files of `site/` to everybody, on the data ports 30000 to 30009; needs
/// root.
pub(crate) fn vsftpd(machine: &Machine) -> Server {
    let directory = directory(machine, "vsftpd");
    let path = directory.join("vsftpd.conf");
    let empty = directory.join("empty");
    fs::create_dir(&empty).expect("a directory");
    let site = directory.join("site");
    // What everybody may write, vsftpd gives to nobody.
    fs::set_permissions(&site, fs::Permissions::from_mode(0o755)).expect("its permissions");
    let configuration = format!(
        "listen_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nftpd_banner=minato test\nsecure_chroot_dir={}\n\
         anon_root={}\npasv_min_port=30000\npasv_max_port=30009\nvsftpd_log_file={}\n",
        empty.display(),
        site.display(),
        directory.join("vsftpd.log").display()
    );
    write(&path, &configuration);
    let command = vec!["vsftpd".to_owned(), path.to_str().expect("UTF-8").to_owned()];
    Server { command, access_log: directory.join("vsftpd.log") }
}

/// postfix on port 25, in the foreground; needs root.
pub(crate) fn postfix(machine: &Machine) -> Server {
    let directory = directory(machine, "postfix");
    for name in ["queue", "data"] {
        fs::create_dir(directory.join(name)).expect("a directory");
    }
    let shown = directory.display();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {shown}/queue\ndata_directory = {shown}/data\n\
         maillog_file = /dev/stdout\nmaillog_file_prefixes = /dev/stdout\nmyhostname = mail.test\nmynetworks = 127.0.0.0/8\n\
         inet_interfaces = all\ninet_protocols = all\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n\
         smtpd_banner = mail.test ESMTP minato test\n"
    );
    write(&directory.join("main.cf"), &main);
    let original = fs::read_to_string("/usr/share/postfix/master.cf.dist").expect("postfix's master.cf");
    // No chroot: the queue directory has no copies of /etc.
    write(&directory.join("master.cf"), &original.replace("  y       -  ", "  n       -  "));
    machine.root().finish("chown", &["postfix", &format!("{shown}/data")]).expect_success();
    let configuration = shown.to_string();
    machine.root().finish("postfix", &["-c", &configuration, "check"]).expect_success();
    let command = ["/usr/lib/postfix/sbin/master", "-s", "-c", &configuration].map(str::to_owned).to_vec();
    Server { command, access_log: directory.join("maillog") }
}

fn directory(machine: &Machine, name: &str) -> PathBuf {
    let directory = machine.work().join(name);
    create(&directory);
    directory
}

fn create(directory: &Path) {
    fs::create_dir(directory).expect("a directory");
    fs::create_dir(directory.join("site")).expect("a directory");
    for path in [directory, &directory.join("site")] {
        // Whoever the server runs as may write its logs.
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its permissions");
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
