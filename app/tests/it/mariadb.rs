//! A real MariaDB on a directory and a port of its own. `mariadb-install-db` runs once; each test copies what it made.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rand::RngExt;
use sqlx::Connection;

use crate::room::{MARK, Room, signal};
use crate::stack::eventually;

pub(crate) struct MariaDb {
    room: Room,
    name: &'static str,
    port: u16,
    child: Option<Child>,
}

impl MariaDb {
    pub(crate) async fn start(room: &Room, name: &'static str) -> Self {
        let data = room.path(name);
        let copied = Command::new("cp").arg("-a").arg(template()).arg(&data).status().unwrap();
        assert!(copied.success(), "copying the fresh database");
        let mut database = Self { room: room.clone(), name, port: free_port(), child: None };
        database.run().await;
        database
    }

    pub(crate) fn url(&self) -> String {
        format!("mysql://euca:se-cret@127.0.0.1:{}/eucapp", self.port)
    }

    pub(crate) async fn connect(&self) -> sqlx::MySqlConnection {
        sqlx::MySqlConnection::connect(&self.url()).await.unwrap()
    }

    /// Starts it, or starts it again where it was.
    pub(crate) async fn run(&mut self) {
        let data = self.room.path(self.name);
        let init = self.room.path(&format!("{}.sql", self.name));
        fs::write(
            &init,
            "CREATE DATABASE IF NOT EXISTS eucapp;\n\
             CREATE USER IF NOT EXISTS 'euca'@'%' IDENTIFIED BY 'se-cret';\n\
             GRANT ALL ON eucapp.* TO 'euca'@'%';\n",
        )
        .unwrap();
        let log = File::create(self.room.path(&format!("{}.log", self.name))).unwrap();
        let mut command = Command::new("mariadbd");
        command.arg("--no-defaults");
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.arg("--user=root");
        }
        let child = command
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", self.room.path(&format!("{}.sock", self.name)).display()))
            .arg(format!("--pid-file={}", self.room.path(&format!("{}.pid", self.name)).display()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--performance-schema=off"])
            .args([
                "--innodb-buffer-pool-size=16M",
                "--innodb-log-file-size=8M",
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-use-native-aio=0",
            ])
            .env(MARK, self.room.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("mariadbd can be started (Debian package mariadb-server)");
        self.room.remember(child.id());
        self.child = Some(child);
        let url = self.url();
        eventually("MariaDB answers", async || sqlx::MySqlConnection::connect(&url).await.is_ok()).await;
    }

    /// As a machine that is switched off.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As a machine that is restarted: open transactions are rolled back, connections closed.
    pub(crate) async fn shut_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child.id().to_string(), "TERM");
            eventually("MariaDB has ended", async || child.try_wait().unwrap().is_some()).await;
        }
    }

    /// As a machine that is switched off, and whose volume another one takes over.
    pub(crate) async fn move_elsewhere(&mut self) {
        self.kill();
        self.port = free_port();
        self.run().await;
    }

    /// As a machine that hangs: connections stay, nothing answers.
    pub(crate) async fn freeze(&self) {
        let process = self.child.as_ref().unwrap().id().to_string();
        signal(&process, "STOP");
        // Each thread stops when it is scheduled next.
        eventually("MariaDB stands still", async || {
            let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
            let mut states = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
            states.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        })
        .await;
    }

    pub(crate) fn thaw(&self) {
        signal(&self.child.as_ref().unwrap().id().to_string(), "CONT");
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A fresh data directory, made once per checkout.
fn template() -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = base.join("mariadb-template");
    let lock = File::create(base.join("mariadb-template.lock")).unwrap();
    lock.lock().unwrap();
    if !made.join("complete").exists() {
        let _ = fs::remove_dir_all(&made);
        let mut command = Command::new("mariadb-install-db");
        command.arg("--no-defaults").arg(format!("--datadir={}", made.display()));
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.arg("--user=root");
        }
        let output = command
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"])
            .output()
            .expect("mariadb-install-db can be started (Debian package mariadb-server)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(made.join("complete"), "").unwrap();
    }
    made
}

/// Below the range that the kernel gives away by itself, so that it stays free while the database is down.
fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(15_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
