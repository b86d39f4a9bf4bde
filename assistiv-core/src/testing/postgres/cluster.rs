//! The processes and files of a server.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use uuid::Uuid;

/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

const ROLE: &str = "assistiv";

/// Sees to it that a server ends when nobody holds the file `users` any more, however the test
/// processes end. A server that is shared stays a while, for the next test process.
const WATCH: &str = r#"
cd / && exec 8<"$1/lock" 9<"$1/users" || exit 1
(while sleep 1; do
  flock -x 8
  if flock -n -x 9; then
    if [ "$3" = 0 ] || [ -z "$(find "$1/users" -mmin "-$3")" ]; then
      "$2/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1
      rm -rf "$1"
      exit
    fi
    flock -u 9
  fi
  flock -u 8
done) &
"#;

/// Minutes that a shared server stays after its last use.
const SHARED_STAYS: &str = "0.15";

/// A server in a folder of its own.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    owner: Option<Owner>,
    /// None where it is shared: then there is only a socket file.
    port: Option<u16>,
    /// Locked as long as this process needs the server.
    users: File,
}

/// Whom the server runs as: never root.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

// === impl Cluster ===

impl Cluster {
    /// The server that all test processes of this workspace share.
    pub(super) fn shared() -> Self {
        let mut hasher = DefaultHasher::new();
        env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
        let name = format!("assistiv-postgres-{:016x}", hasher.finish());
        Self::open(std::env::temp_dir().join(name), None)
    }

    /// A server for one test.
    pub(super) fn own() -> Self {
        let name = format!("assistiv-postgres-{}", Uuid::new_v4().simple());
        // Whoever takes the port in between makes the start fail, and nothing else.
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::open(std::env::temp_dir().join(name), Some(port))
    }

    fn open(folder: PathBuf, port: Option<u16>) -> Self {
        let programs = programs();
        let owner = owner();
        let lock = lock(&folder, owner);
        let users = File::create(folder.join("users")).unwrap();
        users.set_modified(now()).unwrap();
        users.lock_shared().unwrap();
        let cluster = Self {
            folder,
            programs,
            owner,
            port,
            users,
        };
        if !cluster.runs() {
            cluster.make();
            cluster.start();
            cluster.watch();
        }
        drop(lock);
        cluster
    }

    pub(super) fn is_own(&self) -> bool {
        self.port.is_some()
    }

    pub(super) fn socket_url(&self, database: &str) -> String {
        let port = self.port.unwrap_or(5432);
        let folder = self.folder.display();
        format!("postgres://{ROLE}@localhost:{port}/{database}?host={folder}&sslmode=disable")
    }

    pub(super) fn tcp_url(&self, database: &str) -> String {
        let Some(port) = self.port else {
            panic!("the shared server listens on no port");
        };
        format!("postgres://{ROLE}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn runs(&self) -> bool {
        let mut status = self.control();
        status.arg("status").stdout(Stdio::null());
        status.status().unwrap().success()
    }

    fn make(&self) {
        // What a crashed machine may have left behind.
        let _ = fs::remove_dir_all(self.data());
        let mut initdb = self.program("initdb");
        initdb
            .arg("-D")
            .arg(self.data())
            .args(["-U", ROLE, "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"]);
        succeed(&mut initdb);
    }

    /// Starts the server and waits until it takes connections.
    pub(super) fn start(&self) {
        let listen = if self.is_own() { "127.0.0.1" } else { "" };
        let options = format!(
            "-k '{}' -p {} -c listen_addresses='{listen}' -c max_connections=200 \
             -c shared_buffers=64MB",
            self.folder.display(),
            self.port.unwrap_or(5432),
        );
        let log = self.folder.join("log");
        let mut start = self.control();
        start
            .arg("-l")
            .arg(&log)
            .args(["-o", &options, "-w", "start"]);
        // The server keeps what it inherits; so nothing of this process.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        if !start.status().unwrap().success() {
            let log = fs::read_to_string(log).unwrap_or_default();
            panic!("the PostgreSQL server does not start:\n{log}");
        }
    }

    /// Ends the server at once.
    pub(super) fn stop(&self) {
        succeed(self.control().args(["-m", "immediate", "-w", "stop"]));
    }

    /// Leaves a process behind that ends the server when nobody uses it any more.
    fn watch(&self) {
        let stays = if self.is_own() { "0" } else { SHARED_STAYS };
        let mut watch = self.as_owner(Command::new("sh"));
        watch
            .args(["-c", WATCH, "sh"])
            .arg(&self.folder)
            .arg(&self.programs)
            .arg(stays)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(watch.status().unwrap().success(), "{watch:?}");
    }

    fn control(&self) -> Command {
        let mut control = self.program("pg_ctl");
        control.arg("-D").arg(self.data());
        control
    }

    fn program(&self, name: &str) -> Command {
        self.as_owner(Command::new(self.programs.join(name)))
    }

    fn as_owner(&self, mut command: Command) -> Command {
        if let Some(Owner { user, group }) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.is_own() {
            // The process that watches would do the same a moment later.
            if let Ok(mut stop) = self
                .control()
                .args(["-m", "immediate", "-w", "stop"])
                .stdout(Stdio::null())
                .spawn()
            {
                let _ = stop.wait();
            }
            let _ = fs::remove_dir_all(&self.folder);
        }
        let _ = self.users.unlock();
    }
}

/// Takes the lock under which the server is started and ended, and makes its folder.
fn lock(folder: &Path, owner: Option<Owner>) -> File {
    loop {
        fs::create_dir_all(folder).unwrap();
        if let Some(Owner { user, group }) = owner {
            chown(folder, Some(user), Some(group)).unwrap();
        }
        let path = folder.join("lock");
        let Ok(file) = File::create(&path) else {
            // It was removed just now, with the server that was in it.
            continue;
        };
        file.lock().unwrap();
        let same = fs::metadata(&path)
            .is_ok_and(|at_path| at_path.ino() == file.metadata().unwrap().ino());
        if same {
            return file;
        }
    }
}

/// The folder of the newest version's programs.
fn programs() -> PathBuf {
    if let Some(given) = std::env::var_os("ASSISTIV_TEST_POSTGRES_BIN") {
        return given.into();
    }
    let version = |path: &PathBuf| {
        let name = path.parent()?.file_name()?.to_str()?;
        name.parse::<u32>().ok()
    };
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let installed = versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists());
    installed.max_by_key(version).unwrap_or_else(|| {
        panic!(
            "there is no PostgreSQL server in {DEBIAN}: install it (apt-get install postgresql), or \
             name the folder of initdb and pg_ctl in ASSISTIV_TEST_POSTGRES_BIN"
        )
    })
}

/// The server refuses to run as root: then it runs as `postgres`, or `nobody`.
fn owner() -> Option<Owner> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))?
            .into_iter()
            .skip(2);
        Some(Owner {
            user: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    };
    let owner = find("postgres").or_else(|| find("nobody"));
    assert!(owner.is_some(), "there is no user `postgres` or `nobody`");
    owner
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of a file, compared with the machine's clock by another program"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
