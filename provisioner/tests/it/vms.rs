//! `ssh` and `logs`: their ways out on a cloud whose VMs are records, and the real thing on one whose VMs run.

use std::process::Stdio;

use crate::moto::Moto;
use crate::whole_way::Way;

#[tokio::test]
async fn without_ssh_the_setting_is_named_and_logs_show_the_console() {
    let moto = Moto::start().await;
    let none = moto.run(&["ssh", "db", "true"]).await;
    assert_eq!(none.code, 1);
    assert!(none.err.contains("there is none") && none.err.contains("`imagecrud-deploy up`"), "{}", none.err);
    moto.play_database();
    moto.up().await;
    let closed = moto.run(&["ssh", "db", "true"]).await;
    assert_eq!(closed.code, 1);
    assert!(closed.err.contains("lets no ssh in") && closed.err.contains("network.ssh_from"), "{}", closed.err);
    let logs = moto.run(&["logs", "db"]).await;
    assert_eq!(logs.code, 0, "{}", logs.err);
    let id = moto.instances("instance/database").await.remove(0);
    assert!(logs.out.starts_with(&format!("==> {id} console <==\n")), "{}", logs.out);
    assert!(logs.err.contains("network.ssh_from") && logs.err.contains("showing the console"), "{}", logs.err);
    let other = moto.run(&["logs", "web/i-00000000"]).await;
    assert_eq!(other.code, 2);
    assert!(
        other.err.contains("i-00000000 is none of these VMs") && other.err.contains("there is i-"),
        "{}",
        other.err
    );
    assert_eq!(moto.run(&["ssh", "mail"]).await.code, 2);

    std::fs::remove_file(moto.directory.path().join(".imagecrud/imagecrud.pem")).unwrap();
    let keyless = moto.run(&["ssh", "web", "true"]).await;
    assert!(keyless.err.contains("imagecrud.pem is not on this machine"), "{}", keyless.err);
}

/// On VMs that run, as a part of the whole way.
pub(crate) fn are_reached(way: &Way) {
    // A command's output and exit code are its own, and its words are the shell's over there.
    assert_eq!(way.deployed(&["ssh", "db", "echo $((6 * 7)); hostname >&2"]), "42\n");
    assert_eq!(way.deploy(&["ssh", "web", "exit 7"]).status.code(), Some(7));
    assert_eq!(way.deploy(&["ssh", "web", "no-such-command"]).status.code(), Some(127));
    let mut shell = way.command("imagecrud-deploy");
    let mut shell = shell.args(["ssh", "db"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    std::io::Write::write_all(&mut shell.stdin.take().expect("a pipe"), b"systemctl is-active mariadb\n")
        .expect("read");
    assert_eq!(shell.wait_with_output().expect("it ends").stdout, b"active\n");

    // The host's key is the one on its console, is kept under its id, and has to be the same again.
    let known_hosts = way.dir.join(".imagecrud/imagecrud.known_hosts");
    let kept = std::fs::read_to_string(&known_hosts).expect("host keys are kept");
    assert_eq!(kept.lines().filter(|line| line.starts_with("i-")).count(), 2, "{kept}");
    std::fs::remove_file(&known_hosts).expect("removed");
    let anew = way.deploy(&["-v", "ssh", "db", "true"]);
    let said = String::from_utf8_lossy(&anew.stderr).into_owned();
    assert!(said.contains("is the one on its console"), "{said}");
    let own = std::fs::read_to_string(&known_hosts).expect("host keys are kept");
    let (id, _) = own.split_once(' ').expect("a host");
    let other = kept.lines().find(|line| !line.starts_with(id)).expect("the other VM's");
    let (_, key) = other.split_once(' ').expect("a key");
    std::fs::write(&known_hosts, format!("{id} {key}\n")).expect("written");
    let wrong = way.deploy(&["ssh", "db", "true"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("known_hosts"), "{said}");
    std::fs::remove_file(&known_hosts).expect("removed");

    let logs = way.deployed(&["logs", "db"]);
    for part in ["cloud-init-output.log <==", "mariadb.service", "mariadbd"] {
        assert!(logs.contains(part), "{part} in {logs}");
    }
    let logs = way.deployed(&["logs", "web", "-n", "500"]);
    assert_eq!(logs.matches("imagecrud.service <==").count(), 2, "one for each web server: {logs}");
    assert!(way.deployed(&["logs", "db", "--console"]).contains("cloud-init"), "the console");
}
