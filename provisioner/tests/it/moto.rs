//! A cloud that we did not write: `moto_server`, one per test, on a free port, with the parts of the VMs
//! (which are records there) played by the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imagecrud_deploy::cloud::clients::{Clients, for_eucarc};
use imagecrud_deploy::cloud::eucarc::Eucarc;

/// An image that moto has from the beginning.
pub(crate) const IMAGE: &str = "ami-12c6146b";

/// Where moto is installed: once per checkout, under the target directory.
fn program() -> PathBuf {
    static INSTALL: Once = Once::new();
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("moto-venv");
    let program = venv.join("bin/moto_server");
    INSTALL.call_once(|| {
        if program.exists() {
            return;
        }
        // Tests are processes of their own: the first one installs, the others wait for it.
        std::fs::create_dir_all(&venv).unwrap();
        let lock = std::fs::File::create(venv.join("install.lock")).unwrap();
        lock.lock().unwrap();
        if program.exists() {
            return;
        }
        let run = |program: &Path, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
            assert!(status.is_ok_and(|s| s.success()), "{} {arguments:?} failed", program.display());
        };
        run(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]);
        run(&venv.join("bin/pip"), &["install", "--quiet", "moto[server]==5.2.5"]);
    });
    program
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Starts moto, which writes its log into a directory. It ends with this process, however that ends.
pub(crate) fn serve(directory: &Path) -> (Child, u16) {
    let port = free_port();
    let log = std::fs::File::create(directory.join("moto.log")).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program()).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    (command.stdout(Stdio::null()).stderr(log).spawn().unwrap(), port)
}

/// The eucarc of a moto that is reached at a port.
pub(crate) fn eucarc(port: u16) -> String {
    let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
    let addresses: String = names.iter().map(|name| format!("export {name}_URL=http://127.0.0.1:{port}\n")).collect();
    let keys = "export AWS_ACCESS_KEY_ID=test\nexport AWS_SECRET_ACCESS_KEY=test\nexport AWS_AUTH_REGION=us-east-1\n";
    format!("{addresses}{keys}")
}

/// Returns when it answers.
pub(crate) async fn answers(clients: &Clients) {
    let began = Instant::now();
    while clients.ec2.describe_vpcs().send().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "moto does not answer");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A running moto, its credentials, and a directory to work in. Ends with the test.
pub(crate) struct Moto {
    server: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clients: Clients,
    proxy: String,
    stop: Arc<AtomicBool>,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (server, port) = serve(directory.path());
        let eucarc = eucarc(port);
        std::fs::write(directory.path().join("eucarc"), &eucarc).unwrap();
        std::fs::write(directory.path().join("app"), "first version").unwrap();
        let settings = format!(
            "[cloud]\nkind = \"eucalyptus\"\ncredentials = \"eucarc\"\nimage = \"{IMAGE}\"\n\
             [web]\nbundle = \"app\"\n[listener]\nport = {}\n",
            free_port()
        );
        std::fs::write(directory.path().join("imagecrud.toml"), settings).unwrap();
        let clients = for_eucarc(&Eucarc::parse(&eucarc, "/"), None).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        answers(&clients).await;
        Self { server, directory, clients, proxy: web_servers(), stop }
    }

    /// Plays the database VM: publishes its address, as cloud-init would.
    pub(crate) fn play_database(&self) {
        let clients = self.clients.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                publish(&clients).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }

    /// The program, set up for this cloud.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
        command
            .current_dir(self.directory.path())
            .env("http_proxy", &self.proxy)
            .env("no_proxy", "127.0.0.1")
            .args(arguments);
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Ran::from(output)
    }

    /// Runs `up`, which has to succeed.
    pub(crate) async fn up(&self) -> Ran {
        let ran = self.run(&["up"]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran
    }

    /// Ids of live instances that carry a resource's tag.
    pub(crate) async fn instances(&self, resource: &str) -> Vec<String> {
        live_instances(&self.clients, resource).await
    }

    /// Everything that there is of kinds that `up` creates, as text.
    pub(crate) async fn listing(&self) -> Vec<String> {
        let Clients { ec2, elb, autoscaling, cloudwatch, iam, s3, .. } = &self.clients;
        let mut all = Vec::new();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        for reservation in ec2.describe_instances().send().await.unwrap().reservations() {
            for instance in reservation.instances() {
                if instance.state().and_then(|s| s.name()).is_some_and(|name| name.as_str() != "terminated") {
                    all.push(text(instance.instance_id()));
                }
            }
        }
        all.extend(ec2.describe_volumes().send().await.unwrap().volumes().iter().map(|v| text(v.volume_id())));
        let groups = ec2.describe_security_groups().send().await.unwrap();
        all.extend(groups.security_groups().iter().map(|g| text(g.group_id())));
        let templates = ec2.describe_launch_templates().send().await.unwrap();
        all.extend(templates.launch_templates().iter().map(|t| text(t.launch_template_id())));
        all.extend(ec2.describe_key_pairs().send().await.unwrap().key_pairs().iter().map(|k| text(k.key_name())));
        let balancers = elb.describe_load_balancers().send().await.unwrap();
        all.extend(balancers.load_balancer_descriptions().iter().map(|b| text(b.load_balancer_name())));
        let groups = autoscaling.describe_auto_scaling_groups().send().await.unwrap();
        all.extend(groups.auto_scaling_groups().iter().map(|g| text(g.auto_scaling_group_name())));
        let alarms = cloudwatch.describe_alarms().send().await.unwrap();
        all.extend(alarms.metric_alarms().iter().map(|a| text(a.alarm_name())));
        all.extend(iam.list_roles().send().await.unwrap().roles().iter().map(|r| r.role_name().to_owned()));
        let profiles = iam.list_instance_profiles().send().await.unwrap();
        all.extend(profiles.instance_profiles().iter().map(|p| p.instance_profile_name().to_owned()));
        all.extend(s3.list_buckets().send().await.unwrap().buckets().iter().map(|b| text(b.name())));
        all.sort();
        all
    }
}

pub(crate) async fn live_instances(clients: &Clients, resource: &str) -> Vec<String> {
    let filter = aws_sdk_ec2::types::Filter::builder().name("tag:imagecrud:resource").values(resource).build();
    let Ok(answer) = clients.ec2.describe_instances().filters(filter).send().await else { return Vec::new() };
    let running = answer.reservations().iter().flat_map(|r| r.instances()).filter(|instance| {
        instance.state().and_then(|state| state.name()).is_some_and(|name| name.as_str() == "running")
    });
    running.filter_map(|instance| instance.instance_id().map(str::to_owned)).collect()
}

/// For every stack of the cloud. Whether each database VM's address could be written, and there was one.
pub(crate) async fn publish(clients: &Clients) -> bool {
    let filter = aws_sdk_ec2::types::Filter::builder().name("tag:imagecrud:resource").values("instance/database");
    let Ok(answer) = clients.ec2.describe_instances().filters(filter.build()).send().await else { return false };
    let Ok(buckets) = clients.s3.list_buckets().send().await else { return false };
    let mut published = false;
    for instance in answer.reservations().iter().flat_map(|r| r.instances()) {
        let stack = instance.tags().iter().find(|tag| tag.key() == Some("imagecrud:stack")).and_then(|tag| tag.value());
        let (Some(id), Some(stack)) = (instance.instance_id(), stack) else { continue };
        if instance.state().and_then(|state| state.name()).is_none_or(|name| name.as_str() != "running") {
            continue;
        }
        // A stack's bucket is its name and ten digits.
        let its = |name: &&str| name.strip_prefix(&format!("{stack}-")).is_some_and(|rest| rest.len() == 10);
        let Some(bucket) = buckets.buckets().iter().filter_map(|b| b.name()).find(its) else { return false };
        let json = serde_json::json!({ "instance_id": id, "url": "mysql://euca:secret@10.0.0.1:3306/eucapp" });
        let put = clients.s3.put_object().bucket(bucket).key("config/database.json");
        if put.body(json.to_string().into_bytes().into()).send().await.is_err() {
            return false;
        }
        published = true;
    }
    published
}

/// Plays the web VMs behind the load balancer, whose name nobody resolves: a proxy that answers 200 to all.
pub(crate) fn web_servers() -> String {
    use std::io::{Read, Write};
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
            }
        }
    });
    address
}

/// What a run said.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
